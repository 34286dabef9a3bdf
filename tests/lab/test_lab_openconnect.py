"""AnyConnect against ocserv: run, a chain, wrong words, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bench.netlab.namespaces import SITE4, Lab
from bench.netlab.tunnel import TUNFLOW, shadowsocks_url
from lab_support import Contents, Tunnel
from ocserv_peer import INSIDE4, Ocserv, ocserv
from test_lab_wireguard import run

pytestmark = pytest.mark.lab

DIGEST = f"curl -sS --fail http://{SITE4}/10m | sha256sum"


@pytest.fixture(scope="module")
def server(lab: Lab) -> Iterator[Ocserv]:
    """It runs."""
    with ocserv(lab) as made:
        yield made


def test_run_and_sign_out(lab: Lab, server: Ocserv, contents: Contents) -> None:
    script = f"ping -c 2 -i 0.2 -W 3 {INSIDE4}; {DIGEST}; cat /etc/resolv.conf"
    done = run(lab, [TUNFLOW, "run", "--server", server.link(), "--", "sh", "-c", script])
    assert " 0% packet loss" in done.stdout, (done.stdout, done.stderr)
    assert done.stdout.split()[-4:] == [contents.medium_sha256, "-", "nameserver", SITE4], done.stderr
    assert "openconnect --config" not in lab.client.run(["ps", "-eo", "args"]).stdout


def test_a_chain(lab: Lab, tunnel: Tunnel, server: Ocserv, contents: Contents) -> None:
    assert tunnel.lab is lab
    command = [TUNFLOW, "run", "--server", shadowsocks_url(), "--server", server.link(), "--", "sh", "-c", DIGEST]
    done = run(lab, command)
    assert done.stdout.split()[:1] == [contents.medium_sha256], done.stderr


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("password", "user or password is wrong"),
        ("pin", "certificate"),
        ("unpinned", "add pin=pin-sha256:"),
        ("no password", "no terminal"),
    ],
)
def test_wrong_words(lab: Lab, server: Ocserv, wrong: str, said: str) -> None:
    links = {
        "password": server.link(password="another"),
        "pin": server.link(pin=f"sha256:{'0' * 64}"),
        "unpinned": server.unpinned,
        "no password": server.link(password=None),
    }
    done = run(lab, ["setsid", "-w", TUNFLOW, "run", "--server", links[wrong], "--", "true"])
    assert done.returncode != 0
    assert said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
