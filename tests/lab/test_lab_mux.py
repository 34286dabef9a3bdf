"""Flows that share connections (smux, yamux, h2mux, mux.cool) against sing-box and Xray."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from hashlib import sha256
from typing import NamedTuple

import pytest
from bench.netlab.namespaces import SERVER4, SITE4, SITE6, Process
from bench.netlab.peers import UDP_ECHO_PORT
from bench.netlab.proxy_peers import make_certificate, start_sing_box, start_xray, xray_server, xray_stream_inbound
from lab_support import Contents, Tunnel, client

pytestmark = pytest.mark.lab

USER = "01234567-89ab-cdef-0123-456789abcdef"
PASSWORD = "lab-password"
TROJAN, VLESS, VMESS, SS, PADDED = range(8500, 8505)
XRAY_VLESS, XRAY_VMESS, XRAY_TROJAN = range(8506, 8509)
METHOD = "aes-128-gcm"
SIZES = ("1", "100", "1200", "2000")


class Peer(NamedTuple):
    """The servers run: sing-box's log, and the fingerprint of the certificate."""

    sing_box: Process
    pin: str


@pytest.fixture(scope="module")
def peer(tunnel: Tunnel) -> Iterator[Peer]:
    certificate, key = make_certificate(tunnel.lab)
    files = {"enabled": True, "certificate_path": str(certificate), "key_path": str(key)}
    common = {"listen": "::", "multiplex": {"enabled": True}}
    vless = {**common, "type": "vless", "users": [{"uuid": USER}]}
    inbounds = [
        {**common, "type": "trojan", "listen_port": TROJAN, "users": [{"password": PASSWORD}], "tls": files},
        {**vless, "listen_port": VLESS},
        {**common, "type": "vmess", "listen_port": VMESS, "users": [{"uuid": USER}]},
        {**common, "type": "shadowsocks", "listen_port": SS, "method": METHOD, "password": PASSWORD},
        {**vless, "listen_port": PADDED, "multiplex": {"enabled": True, "padding": True}},
    ]
    xray = [
        xray_stream_inbound(XRAY_VLESS, "vless", USER),
        xray_stream_inbound(XRAY_VMESS, "vmess", USER),
        xray_stream_inbound(XRAY_TROJAN, "trojan", PASSWORD),
    ]
    pin = sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest()
    with start_sing_box(tunnel.lab, "mux", inbounds) as sing_box, start_xray(tunnel.lab, "mux", xray_server(xray)):
        yield Peer(sing_box, pin)


LINKS = {
    "trojan-h2mux": f"trojan://{PASSWORD}@{SERVER4}:{TROJAN}?mux=h2mux&pcs=PIN",
    "vless-smux": f"vless://{USER}@{SERVER4}:{VLESS}?mux=smux&mux-connections=2&mux-min-streams=4",
    "vless-yamux-padding": f"vless://{USER}@{SERVER4}:{PADDED}?mux=yamux&mux-padding=yes",
    "vmess-yamux": f"vmess://{USER}@{SERVER4}:{VMESS}?mux=yamux&mux-streams=32",
    "ss-smux-padding": f"ss://{METHOD}:{PASSWORD}@{SERVER4}:{SS}?mux=smux&mux-padding=yes",
    "vless-cool": f"vless://{USER}@{SERVER4}:{XRAY_VLESS}?mux=mux.cool",
    "vmess-cool": f"vmess://{USER}@{SERVER4}:{XRAY_VMESS}?mux=mux.cool",
    "trojan-cool": f"trojan://{PASSWORD}@{SERVER4}:{XRAY_TROJAN}?security=none&mux=mux.cool",
}


@pytest.mark.parametrize("name", LINKS)
def test_tcp_and_udp(tunnel: Tunnel, contents: Contents, peer: Peer, name: str) -> None:
    echo = " ".join(client("udp_sizes", SITE4, UDP_ECHO_PORT, *SIZES))
    others = " ".join(client("udp", UDP_ECHO_PORT, 500, SITE4, SITE6))
    script = f"""
        curl -sS --fail http://{SITE4}/1m http://site.lab/1k | head -c 1000000 | sha256sum
        curl -sS --fail 'http://site.lab/1k?[1-20]' --parallel | wc -c
        {echo}; {others}"""
    done = tunnel.ok(["sh", "-c", script], server=LINKS[name].replace("PIN", peer.pin)).split()
    assert done == [contents.million_sha256, "-", "20480", str(sum(map(int, SIZES))), "ok"]


def test_flows_share_a_connection_which_a_refused_one_does_not_end(tunnel: Tunnel, peer: Peer) -> None:
    before = peer.sing_box.output().count("inbound connection from")
    script = f"""
        for i in 1 2 3 4 5 6; do curl -sS --fail http://{SITE4}/1k | wc -c; done
        curl -sS -m 9 http://{SITE4}:9/ || curl -sS --fail http://{SITE4}/1k | wc -c"""
    done = tunnel.run(["sh", "-c", script], server=LINKS["vless-smux"].partition("&")[0])
    assert done.stdout.decode().split() == ["1024"] * 7
    assert peer.sing_box.output().count("inbound connection from") == before + 1
