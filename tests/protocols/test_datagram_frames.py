"""Datagrams in streams: the frames of Trojan, VLESS, VMess and UDP over TCP, and what is chained inside them."""

from __future__ import annotations

import pytest
from test_vmess import answer
from test_vmess import client as vmess_client

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket, LocalError
from tunflow.outbound.chain import make_outbound
from tunflow.protocols.codec import Datagram
from tunflow.protocols.contract import Association, Carries, FramedDatagrams, NoDatagrams
from tunflow.protocols.registry import clash_server, parse_server
from tunflow.protocols.trojan.stream import LONGEST, TrojanFrames
from tunflow.protocols.udp_over_tcp import UDPOverTCP
from tunflow.protocols.vless.stream import VLESSFrames
from tunflow.protocols.vmess.chunks import AES_128_GCM
from tunflow.protocols.vmess.header import DATAGRAMS
from tunflow.protocols.vmess.stream import VMessFrames

HOST = Endpoint(b"\x0a\0\0\x01", 53)
NAME = Endpoint("site.example", 443)
USER = "01234567-89ab-cdef-0123-456789abcdef"
HERE = Endpoint(b"\x7f\0\0\x01", 53)


def heard(frames, data, step):
    """Give the frames bytes, `step` at a time; the datagrams that come out."""
    out, waiting = [], b""
    for at in range(0, len(data), step):
        waiting += data[at : at + step]
        datagrams, used = frames.open_untrusted(memoryview(bytearray(waiting)))
        waiting = waiting[used:]
        out += datagrams
    assert not waiting
    return out


def said(frames, peer, payload):
    return b"".join(frames.seal(peer, payload))


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_trojan_has_an_address_a_size_and_a_lines_end_before_each(step):
    frames = TrojanFrames()
    wire = said(frames, HOST, b"one") + said(frames, NAME, b"") + said(frames, HOST, b"three")
    assert wire.startswith(b"\x01\x0a\0\0\x01\x005\0\x03\r\none\x03\x0csite.example\x01\xbb\0\0\r\n")
    assert heard(frames, wire, step) == [Datagram(HOST, b"one"), Datagram(NAME, b""), Datagram(HOST, b"three")]


def test_what_trojan_cannot_carry():
    with pytest.raises(BadPacket, match="up to 8192"):
        TrojanFrames().seal(HOST, bytes(LONGEST + 1))
    with pytest.raises(BadPacket, match="no line's end"):
        heard(TrojanFrames(), b"\x01\x0a\0\0\x01\x005\0\x03abone", 100)
    with pytest.raises(BadPacket, match="address type 9"):
        heard(TrojanFrames(), b"\x09\x0a\0\0\x01\x005\0\x03\r\none", 100)


@pytest.mark.parametrize("step", [1, 1000])
def test_vless_has_sizes_for_one_target(step):
    frames = VLESSFrames(NAME)
    wire = said(frames, NAME, b"one") + said(frames, NAME, bytes(300))
    assert wire.startswith(b"\0\x03one\x01\x2c")
    assert heard(frames, wire, step) == [Datagram(NAME, b"one"), Datagram(NAME, bytes(300))]
    for peer, payload in ((HOST, b"x"), (NAME, b""), (NAME, bytes(8193))):
        with pytest.raises(BadPacket):
            frames.seal(peer, payload)


@pytest.mark.parametrize("step", [1, 1000])
def test_vmess_has_a_chunk_for_each(step):
    frames = VMessFrames(vmess_client(), NAME)
    one, two = frames.seal(NAME, b"one"), frames.seal(NAME, b"two")
    assert (len(one), len(two)) == (2, 1)  # the request and a chunk; a chunk
    assert heard(frames, answer(AES_128_GCM, [b"three", b"four"]), step) == [
        Datagram(NAME, b"three"),
        Datagram(NAME, b"four"),
    ]
    for peer, payload in ((HOST, b"x"), (NAME, b""), (NAME, bytes(8193))):
        with pytest.raises(BadPacket):
            frames.seal(peer, payload)


# sing-box's documentation, "UDP over TCP": the stream formats
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_udp_over_tcp_has_address_types_of_its_own(version, step):
    frames = UDPOverTCP(version, HOST)
    wire = said(frames, HOST, b"one")
    if version == 2:
        request, wire = wire[:8], wire[8:]
        assert request == b"\0\x01\x0a\0\0\x01\x005"  # for any target, SOCKS5's address of the first
    ipv6 = Endpoint(bytes(15) + b"\x01", 1)
    wire += said(frames, NAME, b"two") + said(frames, ipv6, b"")
    assert wire.startswith(b"\0\x0a\0\0\x01\x005\0\x03one\x02\x0csite.example\x01\xbb\0\x03two\x01")
    assert heard(frames, wire, step) == [Datagram(HOST, b"one"), Datagram(NAME, b"two"), Datagram(ipv6, b"")]
    with pytest.raises(BadPacket, match="none of 0, 1 and 2"):
        heard(frames, b"\x03\x0csite.example\x01\xbb\0\0", 100)


LINKS = {
    "trojan": "trojan://p@127.0.0.1:1?security=none",
    "vless": f"vless://{USER}@127.0.0.1:1",
    "vmess": f"vmess://{USER}@127.0.0.1:1",
    "ss": "ss://aes-128-gcm:p@127.0.0.1:1/?udp-over-tcp=yes&udp-over-tcp-version=2",
    "socks5": "socks5://127.0.0.1:1",
}


@pytest.mark.parametrize("scheme", LINKS)
def test_udp_can_be_refused_by_each(scheme):
    link = LINKS[scheme]
    server = parse_server(link + ("&" if "?" in link else "?") + "udp=no")
    assert parse_server(server.to_link()) == server
    assert Carries.DATAGRAMS not in make_outbound([server]).carries
    with pytest.raises(NoDatagrams, match="carries no UDP"):
        make_outbound([server]).datagrams()
    assert Carries.DATAGRAMS in make_outbound([parse_server(link)]).carries
    if scheme != "socks5":
        with pytest.raises(LocalError, match="yes or no"):
            parse_server(link + ("&" if "?" in link else "?") + "udp=perhaps")


@pytest.mark.parametrize(
    ("more", "udp", "version"),
    [
        ({}, True, 0),
        ({"udp": "true"}, True, 0),
        ({"udp": "false"}, False, 0),
        ({"udp-over-tcp": "true"}, True, 1),
        ({"udp-over-tcp": "true", "udp-over-tcp-version": "2"}, True, 2),
        ({"udp-over-tcp": "false", "udp-over-tcp-version": "2"}, True, 0),
    ],
)
def test_what_a_clash_file_says_of_udp(more, udp, version):
    entry = {"name": "n", "type": "ss", "server": "h", "port": "1", "cipher": "aes-128-gcm", "password": "p"}
    server, unread = clash_server(entry | more)
    assert (server.udp, server.udp_over_tcp, unread) == (udp, version, [])
    assert parse_server(server.to_link()) == server


def test_a_version_of_udp_over_tcp_that_nobody_knows():
    with pytest.raises(LocalError, match="version 3 is not supported; 1 and 2 are"):
        parse_server("ss://aes-128-gcm:p@h:1?udp-over-tcp=true&udp-over-tcp-version=3")


def test_which_streams_carry_what():
    made = {scheme: make_outbound([parse_server(link)]).datagrams() for scheme, link in LINKS.items()}
    per_target = {scheme: way.is_per_target for scheme, way in made.items() if isinstance(way, FramedDatagrams)}
    assert per_target == {"trojan": False, "vless": True, "vmess": True, "ss": False}
    assert isinstance(made["socks5"], Association)
    route, frames = made["vmess"].open(NAME)
    assert route.codec is None  # the frames seal all of it
    assert isinstance(frames, VMessFrames)
    assert DATAGRAMS == 2


@pytest.mark.parametrize("below", ["trojan", "vless", "vmess"])
def test_datagrams_for_a_server_behind_go_in_its_frames(below):
    link = LINKS[below]
    way = make_outbound([parse_server(link), parse_server("ss://aes-128-gcm:p@10.0.0.1:53")]).datagrams()
    assert isinstance(way, FramedDatagrams)
    assert not way.is_per_target  # all of them go to the one server
    route, frames = way.open(NAME)
    if below == "trojan":
        (_, _, _, sealed) = frames.seal(NAME, b"hello")
        wire = said(TrojanFrames(), HOST, sealed) + said(TrojanFrames(), HOST, b"garbage")
        opened, used = frames.open_untrusted(memoryview(wire))
        assert used == len(wire)
        assert opened == []  # the first is the client's own salt, the second is sealed by nobody
    below_alone = make_outbound([parse_server(link)])
    assert below_alone.server is not None
    assert route.addresses == below_alone.server.in_order
    assert way.label == f"{parse_server(link).label} -> ss://aes-128-gcm@10.0.0.1:53"


def test_an_association_behind_frames_goes_in_them():
    way = make_outbound([parse_server(LINKS["trojan"]), parse_server("socks5://10.0.0.1:53")]).datagrams()
    assert isinstance(way, Association)
    (control,) = way.controls
    while not control.codec.established:
        control.codec.seal(())
        control.codec.open_untrusted(memoryview(b"\x05\x00"))
        control.codec.seal(())
        control.codec.open_untrusted(memoryview(b"\x05\0\0\x01\x0a\0\0\x02\x13\x88"))
    settled = way.route_after(control.addresses[0])
    assert isinstance(settled, FramedDatagrams)
    _, frames = settled.open(NAME)
    place = Endpoint(b"\x0a\0\0\x02", 5000)
    assert said(frames, HOST, b"x") == said(TrojanFrames(), place, b"\0\0\0\x01\x0a\0\0\x01\x005x")
