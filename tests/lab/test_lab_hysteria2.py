"""Hysteria2, TUIC and AnyTLS against sing-box: sessions that flows share, alone and in chains, lost and found again."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, NamedTuple

import pytest
from bench.netlab.namespaces import SERVER4, SITE4, SITE6
from bench.netlab.peers import UDP_ECHO_PORT
from bench.netlab.proxy_peers import make_certificate, start_sing_box
from bench.netlab.tunnel import shadowsocks_url
from lab_support import Contents, Tunnel, client

pytestmark = pytest.mark.lab

PORT = 8460
SALTED = 8461
TUIC = 8462
ANYTLS = 8463
AGAIN = 8465
USER = "01234567-89ab-cdef-0123-456789abcdef"
PASSWORD = "lab password"
SIZES = ("1", "100", "1200", "1400", "2000")


class Peer(NamedTuple):
    """A server that runs, the file of its certificate, and what pins that in a link."""

    certificate: str
    pin: str
    asking: subprocess.Popen[str]
    """Asks in a tunnel whose server was killed without a goodbye and started anew, until there is an answer."""


@pytest.fixture(scope="module")
def peer(tunnel: Tunnel) -> Iterator[Peer]:
    certificate, key = make_certificate(tunnel.lab)
    common = {
        "type": "hysteria2",
        "listen": "::",
        "users": [{"password": PASSWORD}],
        "tls": {"enabled": True, "certificate_path": str(certificate), "key_path": str(key)},
    }
    inbounds = [
        {**common, "listen_port": PORT},
        {
            **common,
            "type": "tuic",
            "listen_port": TUIC,
            "users": [{"uuid": USER, "password": PASSWORD}],
            "tls": {**common["tls"], "alpn": ["h3"]},
        },
        {**common, "type": "anytls", "listen_port": ANYTLS},
        {**common, "listen_port": SALTED, "obfs": {"type": "salamander", "password": "salt"}},
    ]
    again = [{**common, "listen_port": AGAIN}]
    pin = f"?insecure=1&pinSHA256={sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest()}"
    first = start_sing_box(tunnel.lab, "again", again)
    with start_sing_box(tunnel.lab, "hysteria2", inbounds), tunnel.held(server=address(pin, AGAIN)) as held:
        ask = f"curl -sS -m 9 -o /dev/null -w %{{http_code}} http://{SITE4}/1k"
        assert held.run(ask.split()).stdout == "200"
        os.killpg(first.pid, signal.SIGKILL)
        first.stop()
        with start_sing_box(tunnel.lab, "again", again):
            asking = held.open(["sh", "-c", f'until [ "$({ask})" = 200 ]; do sleep 0.2; done'])
            yield Peer(str(certificate), pin, asking)


def address(pin: str, port: int) -> str:
    return f"hysteria2://{PASSWORD.replace(' ', '%20')}@{SERVER4}:{port}/{pin}"


def link(peer: Peer, port: int = PORT, more: str = "") -> str:
    return address(peer.pin, port) + more


def salted(peer: Peer) -> str:
    """By Salamander, hopping between two ports, of which one is."""
    return link(peer, SALTED, f"&obfs=salamander&obfs-password=salt&mport={SALTED}&up=100&down=1%20gbps")


def tuic(peer: Peer, more: str = "") -> str:
    return f"tuic://{USER}:{PASSWORD.replace(' ', '%20')}@{SERVER4}:{TUIC}{peer.pin}{more}"


def tuic_by_streams(peer: Peer) -> str:
    """Each datagram in a stream."""
    return tuic(peer, "&udp_relay_mode=quic&congestion_control=bbr")


def anytls(peer: Peer) -> str:
    pin = peer.pin.partition("pinSHA256=")[2]
    return f"anytls://{PASSWORD.replace(' ', '%20')}@{SERVER4}:{ANYTLS}?pcs={pin}"


@pytest.mark.parametrize("made", [link, salted, tuic, tuic_by_streams, anytls])
def test_tcp_and_udp(tunnel: Tunnel, contents: Contents, peer: Peer, made: Any) -> None:
    echo = " ".join(client("udp_sizes", SITE4, UDP_ECHO_PORT, *SIZES))
    others = " ".join(client("udp", UDP_ECHO_PORT, 500, SITE4, SITE6))
    script = f"""
        curl -sS --fail http://{SITE4}/1m http://site.lab/1k | head -c 1000000 | sha256sum
        curl -sS --fail 'http://site.lab/1k?[1-20]' --parallel | wc -c
        dig +short +notcp @{SITE4} site.lab; {echo}; {others}"""
    done = tunnel.ok(["sh", "-c", script], server=made(peer)).split()
    assert done == [contents.million_sha256, "-", "20480", SITE4, str(sum(map(int, SIZES))), "ok"]


@pytest.mark.parametrize("is_first", [True, False])
def test_in_a_chain(tunnel: Tunnel, contents: Contents, peer: Peer, is_first: bool) -> None:
    links = [link(peer), shadowsocks_url()]
    first, last = links if is_first else reversed(links)
    echo = " ".join(client("udp_sizes", SITE4, UDP_ECHO_PORT, "100", "1000"))
    script = f"curl -sS --fail http://{SITE4}/1m | sha256sum; {echo}"
    done = tunnel.ok(["sh", "-c", script], server=first, options=["--server", last])
    assert done.split() == [contents.million_sha256, "-", "1100"]


def test_a_certificate_is_judged(tunnel: Tunnel, peer: Peer) -> None:
    server = f"hy2://{PASSWORD.replace(' ', '%20')}@{SERVER4}:{PORT}"
    ask = ["curl", "-sS", "-m", "30", "-o", "/dev/null", "-w", "%{http_code}", f"http://{SITE4}/1k"]
    assert tunnel.ok(ask, server=server, env={"SSL_CERT_FILE": peer.certificate}) == "200"
    for more in ("", "?insecure=1&pinSHA256=" + "0" * 64):
        done = tunnel.run(ask, server=server + more)
        assert done.returncode
        assert "certificate is not valid" in done.stderr.decode()


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda peer: link(peer).replace("lab%20", "other"), "does not accept the password"),
        (lambda peer: tuic(peer).replace("lab%20", "other"), "check the UUID and password"),
        (lambda peer: link(peer, PORT + 9), "Connection refused"),
        (lambda peer: anytls(peer).replace("lab%20", "other"), "check the password"),
        (lambda peer: anytls(peer).partition("?")[0], "certificate is not valid"),
        (lambda peer: anytls(peer).replace(str(ANYTLS), str(PORT + 9)), "Connection refused"),
    ],
)
def test_what_is_wrong_is_told(tunnel: Tunnel, peer: Peer, made: Any, words: str) -> None:
    done = tunnel.run(["curl", "-sS", "-m", "30", f"http://{SITE4}/1k"], server=made(peer))
    assert done.returncode
    assert words in done.stderr.decode()


def test_refusals_are_the_clients(tunnel: Tunnel, peer: Peer) -> None:
    done = tunnel.run(["curl", "-sS", "-m", "30", f"http://{SITE4}:9/"], server=link(peer))
    assert done.returncode == 7  # could not connect: at once, and not after a time-out
    assert "Connection refused" in done.stderr.decode() or "Couldn't connect" in done.stderr.decode()


def test_a_lost_session_is_dialled_again(peer: Peer) -> None:
    """It was lost when the first test began."""
    assert peer.asking.wait(30) == 0
