"""Real programs through Tor: a private network of its own, whose exits reach the site."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bench.netlab.namespaces import SERVER4, SITE4, SITE6
from bench.netlab.peers import UDP_ECHO_PORT
from bench.netlab.tor_network import SOCKS_PORT, TorNetwork
from lab_support import FAR, Tunnel, client

pytestmark = pytest.mark.lab

LINK = f"tor://{SERVER4}:{SOCKS_PORT}"
SIZE = "curl -sS --fail -o /dev/null -w '%{size_download}' "


@pytest.fixture(scope="module")
def tor(tunnel: Tunnel) -> Iterator[TorNetwork]:
    network = TorNetwork(tunnel.lab)
    network.wait()
    yield network
    network.stop()


def through(tunnel: Tunnel, tor: TorNetwork, script: str, options: str = "", dns: str = "tor") -> str:
    done = tunnel.run(["sh", "-c", script], server=LINK + options, dns=dns)
    assert done.returncode == 0, (done, tor.log())
    return done.stdout.decode()


def test_a_site_by_its_name(tunnel: Tunnel, tor: TorNetwork) -> None:
    assert through(tunnel, tor, SIZE + "http://site.lab/1k") == "1024"


def test_tor_answers_for_names_and_nothing_else(tunnel: Tunnel, tor: TorNetwork) -> None:
    script = (
        f"dig +short A four.lab; dig +short AAAA six.lab; dig +short AAAA four.lab; dig +short -x {FAR}; "
        "dig A nowhere.lab | grep -o 'status: [A-Z]*'; dig MX site.lab | grep -o 'status: [A-Z]*'"
    )
    expected = [SITE4, SITE6, "far.lab.", "status: NXDOMAIN", "status: SERVFAIL"]
    assert through(tunnel, tor, script).splitlines() == expected


def test_names_without_an_address_of_their_own(tunnel: Tunnel, tor: TorNetwork) -> None:
    """--dns fake: the name goes to Tor, and nobody looks it up before."""
    assert through(tunnel, tor, SIZE + "http://site.lab/1k", dns="fake") == "1024"


def test_a_refused_connection_is_refused_before_it_opened(tunnel: Tunnel, tor: TorNetwork) -> None:
    done = tunnel.run(["curl", "-sS", "-m", "20", f"http://{SITE4}:9"], server=LINK, dns="tor")
    assert done.returncode == 7, done.stderr


def test_udp_is_refused_at_once(tunnel: Tunnel, tor: TorNetwork) -> None:
    argv = client("udp_refused", SITE4, UDP_ECHO_PORT)
    assert tunnel.run(argv, server=LINK, dns="tor").stdout == b"ECONNREFUSED\n"


@pytest.mark.parametrize(("options", "identities"), [("", 1), ("?isolate=flow", 3), ("?isolate=program", 2)])
def test_isolation(tunnel: Tunnel, tor: TorNetwork, options: str, identities: int) -> None:
    """Tor's own account of which user names its circuits were built for."""
    before = users(tor)
    get = f"curl -sS --fail -o /dev/null http://{SITE4}/1k"
    another = f"busybox wget -q -O /dev/null http://{SITE4}/1k"
    through(tunnel, tor, f"{get} && {get} && {another}", options)
    assert len(users(tor) - before) == identities


def test_optimistic_bytes_arrive(tunnel: Tunnel, tor: TorNetwork) -> None:
    assert through(tunnel, tor, SIZE + f"http://{SITE4}/1k", "?optimistic=yes") == "1024"


def test_an_onion_service(tunnel: Tunnel, tor: TorNetwork) -> None:
    tor.start_onion()
    assert through(tunnel, tor, SIZE + f"-m 30 http://{tor.onion}/1k") == "1024"


def test_an_onion_service_that_is_none_is_unreachable(tunnel: Tunnel, tor: TorNetwork) -> None:
    name = "a" * 55 + "d.onion"
    done = tunnel.run(["curl", "-sS", "-m", "20", f"http://{name}/"], server=LINK, dns="tor")
    assert done.returncode == 7, done.stderr


def users(tor: TorNetwork) -> set[str]:
    words = tor.control("GETINFO circuit-status").split()
    return {word for word in words if word.startswith("SOCKS_USERNAME=")}
