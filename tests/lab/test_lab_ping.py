"""ping in a tunnel: straight out an answer is the target's own, through a proxy it says that the server is there."""

from __future__ import annotations

import pytest
from bench.netlab.namespaces import SITE4, SITE6
from bench.netlab.tunnel import shadowsocks_url
from lab_support import Tunnel

pytestmark = pytest.mark.lab
PING = ["ping", "-c", "2", "-i", "0.2", "-W", "3"]


@pytest.mark.parametrize("host", [SITE4, SITE6])
def test_answer_of_a_target_that_is_there(tunnel: Tunnel, host: str) -> None:
    assert " 0% packet loss" in tunnel.ok([*PING, "-W", "30", host], server="direct://")


@pytest.mark.parametrize("host", ["10.98.0.1", "fd98::1"])
def test_no_answer_of_a_target_that_is_not(tunnel: Tunnel, host: str) -> None:
    assert tunnel.run([*PING, host], server="direct://").returncode == 1


@pytest.mark.parametrize("host", [SITE4, SITE6])
def test_answer_of_a_server_that_is_there(tunnel: Tunnel, host: str) -> None:
    assert " 0% packet loss" in tunnel.ok([*PING, "-W", "30", host])


@pytest.mark.parametrize("host", [SITE4, SITE6])
def test_no_answer_of_a_server_that_is_not(tunnel: Tunnel, host: str) -> None:
    assert tunnel.run([*PING, host], server=shadowsocks_url(port=1)).returncode == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_loopback_inside(tunnel: Tunnel, host: str) -> None:
    assert " 0% packet loss" in tunnel.ok([*PING, "-W", "30", host])
