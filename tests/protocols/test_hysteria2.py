"""Hysteria2: its words in streams and datagrams, Salamander, Brutal, links and Clash entries."""

from __future__ import annotations

from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket, LocalError
from tunflow.protocols.codec import ProxyRefused, Refusal
from tunflow.protocols.hysteria2.bandwidth import megabits, ports_of
from tunflow.protocols.hysteria2.messages import (
    TCP_REQUEST,
    TCPRequest,
    UDPMessage,
    format_target,
    fragments,
    open_message_untrusted,
    parse_target_untrusted,
    seal_message,
)
from tunflow.protocols.hysteria2.salamander import Salamander
from tunflow.protocols.hysteria2.settings import Hysteria2Server
from tunflow.protocols.quic import varint
from tunflow.protocols.quic.brutal import Brutal
from tunflow.protocols.quic.fragments import Fragments
from tunflow.protocols.registry import clash_server, parse_server

TARGET = Endpoint("example.com", 443)
PIN = "0f" * 32


# RFC 9000 A.1
@pytest.mark.parametrize(
    ("value", "wire"),
    [(151288809941952652, "c2197c5eff14e88c"), (494878333, "9d7f3e7d"), (15293, "7bbd"), (37, "25")],
)
def test_numbers_are_those_of_the_rfc(value, wire):
    assert varint.encode(value).hex() == wire
    assert varint.read_untrusted(b"x" + bytes.fromhex(wire) + b"y", 1) == (value, 1 + len(wire) // 2)
    for size in range(len(wire) // 2):
        with pytest.raises(BadPacket):
            varint.read_untrusted(bytes.fromhex(wire)[:size], 0)


def test_a_stream_begins_with_its_target_and_padding():
    codec = TCPRequest(TARGET, bytes)
    request = b"".join(codec.seal(()))
    assert request == varint.encode(TCP_REQUEST) + b"\x0fexample.com:443" + varint.encode(64) + bytes(64)
    assert not codec.established
    assert codec.seal(()) == []


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_an_answer_may_be_cut_anywhere_and_the_flow_follows(step):
    codec = TCPRequest(TARGET, bytes)
    wire = b"\x00\x02ok" + varint.encode(100) + bytes(100) + b"flow"
    waiting, flow = b"", b""
    for at in range(0, len(wire), step):
        waiting += wire[at : at + step]
        pieces, used = codec.open_untrusted(memoryview(waiting))
        flow += b"".join(pieces)
        waiting = waiting[used:]
    assert codec.established
    assert codec.transparent
    assert flow == b"flow"


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        ("dial tcp 192.0.2.1:9: connect: connection refused", Refusal.REFUSED),
        ("lookup x: no such host", Refusal.HOST_UNREACHABLE),
        ("dial tcp: i/o timeout", Refusal.TIMED_OUT),
        ("rejected by rule", Refusal.PROHIBITED),
        ("what\nis it", Refusal.FAILED),
    ],
)
def test_a_refusal_is_understood(words, refusal):
    codec = TCPRequest(TARGET, bytes)
    with pytest.raises(ProxyRefused) as caught:
        codec.open_untrusted(memoryview(b"\x01" + varint.encode(len(words)) + words.encode() + b"\x00"))
    assert caught.value.refusal is refusal
    assert "\n" not in str(caught.value)


def test_an_answer_has_bounds():
    with pytest.raises(BadPacket):
        TCPRequest(TARGET, bytes).open_untrusted(memoryview(b"\x00" + varint.encode(5000) + b"x"))


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (TARGET, b"example.com:443"),
        (Endpoint(b"\x7f\0\0\x01", 80), b"127.0.0.1:80"),
        (Endpoint(bytes(15) + b"\x01", 80), b"[::1]:80"),
    ],
)
def test_targets_are_host_and_port(target, text):
    assert format_target(target) == text
    assert parse_target_untrusted(text) == target


@pytest.mark.parametrize("text", [b"", b"x", b"x:", b":1", b"x:99999", b"x:-1"])
def test_what_is_no_target_is_refused(text):
    with pytest.raises(BadPacket):
        parse_target_untrusted(text)


@given(st.binary(max_size=4000), st.integers(60, 1300))
def test_a_datagram_in_pieces_comes_together_again(payload, largest):
    messages = fragments(7, 9, b"192.0.2.1:53", payload, largest)
    assert all(len(each) <= largest for each in messages)
    pieces = Fragments()
    found = None
    for each in reversed(messages):
        message = open_message_untrusted(each)
        assert (message.session, message.packet, message.target) == (7, 9, b"192.0.2.1:53")
        found = pieces.put_untrusted(message.packet, message.piece, message.pieces, message.payload)
    assert found is not None
    assert b"".join(found) == payload


def test_a_message_has_the_fields_of_the_protocol():
    made = seal_message(UDPMessage(1, 2, 0, 1, b"a:1", b"hi"))
    assert made == bytes.fromhex("00000001 0002 00 01 03") + b"a:1hi"
    for size in range(9):
        with pytest.raises(BadPacket):
            open_message_untrusted(made[:size])


def test_pieces_that_fit_nowhere_are_dropped():
    pieces = Fragments()
    assert pieces.put_untrusted(1, 5, 3, b"x") is None
    assert pieces.put_untrusted(1, 0, 2, b"a") is None
    assert pieces.put_untrusted(2, 1, 2, b"d") is None  # another datagram begins
    assert pieces.put_untrusted(1, 1, 2, b"b") is None
    assert pieces.put_untrusted(1, 0, 2, b"a") == [b"a", b"b"]


def test_salamander_mixes_with_the_hash_of_password_and_salt():
    disguise = Salamander("secret", lambda size: bytes(range(size)))
    packet = bytes(100)
    sealed = disguise.seal(packet)
    key = blake2b(b"secret" + bytes(range(8)), digest_size=32).digest()
    assert sealed == bytes(range(8)) + (key * 4)[:100]  # a packet of zeros shows the key
    assert disguise.open_untrusted(sealed) == packet
    assert disguise.open_untrusted(b"12345678") is None


class Packet:
    sent_bytes = 1000


def test_brutal_fills_what_the_user_says_and_makes_up_for_losses():
    control = Brutal(1_000_000, max_datagram_size=1200)
    for _ in range(200):
        control.on_rtt_measurement(now=1.0, rtt=0.2)
    assert control.congestion_window == pytest.approx(200_000, rel=0.01)
    for second in range(3):
        for _ in range(90):
            control.on_packet_acked(now=float(second), packet=Packet)
        control.on_packets_lost(now=float(second), packets=[Packet] * 10)
    control.on_rtt_measurement(now=3.0, rtt=0.2)
    assert control.congestion_window == pytest.approx(200_000 / 0.9, rel=0.01)
    control.on_persistent_congestion()
    assert control.congestion_window == pytest.approx(200_000 / 0.9, rel=0.01)


LINKS = [
    "hysteria2://secret@h.example:443",
    "hysteria2://user%3Apass@[2001:db8::1]:8443#name",
    f"hysteria2://p@h.example:443?obfs=salamander&obfs-password=salty&sni=s.example&insecure=1&pinSHA256={PIN}",
    "hysteria2://p@h.example:443?mport=443%2C5000-6000&hop-interval=10&up=20&down=100&udp=no",
]


@pytest.mark.parametrize("link", LINKS)
def test_links_come_back_as_they_were(link):
    assert parse_server(link).to_link() == link


def test_links_of_other_programs_are_read():
    server = parse_server("hy2://p@h.example:443,5000-5002/?pinSHA256=0F:" + ":".join(["0f"] * 31) + "&upmbps=5#t")
    assert isinstance(server, Hysteria2Server)
    assert (server.port, server.ports, server.pinned, server.up, server.tag) == (443, "443,5000-5002", PIN, 5, "t")
    assert parse_server("hysteria2://p@h.example").first_hop == ("h.example", 443)
    assert "secret" not in repr(parse_server(LINKS[0]))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("?obfs=salt&obfs-password=x", "obfs of hysteria2 is salamander"),
        ("?obfs=salamander", "obfs-password go together"),
        ("?obfs-password=abcd", "obfs-password go together"),
        ("?obfs=salamander&obfs-password=abc", "4 bytes at least"),
        ("?pinSHA256=12", "64 hexadecimal digits"),
        ("?insecure=maybe", "insecure in a hysteria2:// link is 1 or 0"),
        ("?what=1", "unknown parameter 'what'; accepted: allowInsecure, "),
        ("?up=fast", "up is a rate such as 50"),
        ("?mport=0-5", "list of ports from 1 to 65535"),
        ("?mport=9-5", "list of ports from 1 to 65535"),
        ("?hop-interval=1", "a number of seconds, 5 at least"),
        ("?alpn=h2", "alpn of hysteria2 is h3"),
        ("?sni=a%20b", "sni is a host's name"),
    ],
)
def test_links_that_cannot_be_done_are_refused(more, words):
    with pytest.raises(LocalError, match=words) as caught:
        parse_server(f"hysteria2://S3CRET@h.example:443{more}")
    assert "S3CRET" not in str(caught.value)


def test_a_clash_entry_is_the_same_server():
    server, unread = clash_server(
        {
            "name": "n",
            "type": "hysteria2",
            "server": "h.example",
            "port": "443",
            "ports": "443-445",
            "hop-interval": "15",
            "password": "p",
            "up": "30 Mbps",
            "down": "1 gbps",
            "obfs": "salamander",
            "obfs-password": "salty",
            "sni": "s.example",
            "skip-cert-verify": "true",
            "alpn": ["h3"],
        }
    )
    assert not unread
    expected = "hysteria2://p@h.example:443?obfs=salamander&obfs-password=salty&sni=s.example&insecure=1&mport=443-445"
    assert server == parse_server(f"{expected}&hop-interval=15&up=30&down=1000#n")


def test_rates_and_ports():
    assert [megabits("up", text) for text in ("", "5", "5 Mbps", "2 gbps", "500 kbps", "0")] == [0, 5, 5, 2000, 1, 0]
    assert ports_of("ports", "1,3-5/7") == (1, 3, 4, 5, 7)
