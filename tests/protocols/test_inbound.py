from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import BadPacket
from tunflow.inbound.client_request import Inbound, Wish
from tunflow.protocols.codec import ProxyRefused, Refusal
from tunflow.protocols.http.answers import local_page
from tunflow.protocols.http.connect import HTTPConnectClient, basic
from tunflow.protocols.http.target import LONGEST_HEADER
from tunflow.protocols.socks import socks5
from tunflow.protocols.socks.client4 import Socks4Client
from tunflow.protocols.socks.client5 import Socks5Client
from tunflow.protocols.socks.socks5 import Credentials

NAME = Endpoint("example.com", 443)
ADDRESS = endpoint("192.0.2.1", 80)
SIX = endpoint("2001:db8::1", 8080)
KNOWN = ("me", "p:ss")


def feed(inbound, data, step=None):
    """The flow's first bytes."""
    out = b""
    for at in range(0, len(data), step or max(1, len(data))):
        pieces, used = inbound.open_untrusted(memoryview(data[at : at + (step or len(data))]))
        assert used == len(data[at : at + (step or len(data))])
        out += b"".join(pieces)
    return out


def shake(client, inbound, step):
    """Let our own client talk to it until it has said what it wants."""
    while inbound.wish is None:
        feed(inbound, b"".join(client.seal([])), step)
        answer = b"".join(inbound.say)
        inbound.say.clear()
        client.open_untrusted(memoryview(answer))


CLIENTS = [
    (Socks5Client, None, (NAME, ADDRESS, SIX)),
    (lambda target: Socks5Client(target, Credentials(b"me", b"p:ss")), KNOWN, (NAME,)),
    (lambda target: Socks4Client(target, names=True), None, (NAME, ADDRESS)),
    (HTTPConnectClient, None, (NAME, ADDRESS, SIX)),
    (lambda target: HTTPConnectClient(target, basic(*KNOWN)), KNOWN, (NAME,)),
]


@pytest.mark.parametrize("step", [None, 1, 3])
@pytest.mark.parametrize(("make", "credentials", "targets"), CLIENTS)
def test_our_own_clients_are_understood(make, credentials, targets, step):
    for target in targets:
        client, inbound = make(target), Inbound(credentials)
        shake(client, inbound, step)
        assert (inbound.wish, inbound.target) == (Wish.CONNECT, target)
        assert client.open_untrusted(memoryview(inbound.accepted() + b"flow"))[0] == [b"flow"]
        assert client.established
        assert feed(inbound, b"upwards") == b"upwards"

        client, inbound = make(target), Inbound(credentials)
        shake(client, inbound, step)
        with pytest.raises(ProxyRefused):
            client.open_untrusted(memoryview(inbound.refused(Refusal.REFUSED, "no")))


@pytest.mark.parametrize(
    ("head", "target"),
    [
        (b"\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50", ADDRESS),
        (b"\x04\x01\x00\x50\xc0\x00\x02\x01me\0", ADDRESS),
        (b"\x04\x01\x01\xbb\0\0\0\x01\0example.com\0", NAME),
        (b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n", NAME),
        (b"\x05\x01\x00\x05\x01\x00\x03\x09192.0.2.1\x00\x50", ADDRESS),  # an address as text
    ],
)
@pytest.mark.parametrize("step", [None, 1])
def test_what_stands_behind_the_header_is_the_flows(head, target, step):
    inbound = Inbound()
    assert feed(inbound, head + b"first", step) == b"first"
    assert (inbound.wish, inbound.target) == (Wish.CONNECT, target)


@pytest.mark.parametrize("step", [None, 1, 3])
@pytest.mark.parametrize(
    "line", [b"GET http://example.com/ HTTP/1.1\r\n", b"GET /proxy.pac HTTP/1.0\n", b"GET * HTTP/2.0\n"]
)
def test_whole_requests_are_left_for_the_forwarder(line, step):
    """Nothing is lost, and nothing is looked at but the line."""
    inbound = Inbound(KNOWN)
    assert feed(inbound, line + b"Host: x\r\n\r\nbody", step) == line + b"Host: x\r\n\r\nbody"
    assert (inbound.wish, inbound.target) == (Wish.FORWARD, None)


def test_pages_of_ours_and_an_association():
    assert b"SOCKS5 127.0.0.1:1080" in local_page("127.0.0.1:1080", "/proxy.pac?x")
    assert local_page("127.0.0.1:1080", "/other").startswith(b"HTTP/1.1 404 ")
    inbound = Inbound()
    feed(inbound, b"\x05\x01\x00" + socks5.request(socks5.UDP_ASSOCIATE, socks5.ANYWHERE))
    assert inbound.wish is Wish.ASSOCIATE
    assert inbound.accepted(ADDRESS) == bytes.fromhex("05000001 c0000201 0050")


@pytest.mark.parametrize(
    ("credentials", "head", "said"),
    [
        (KNOWN, b"\x05\x01\x00", b"\x05\xff"),
        (None, b"\x05\x01\x02", b"\x05\xff"),
        (KNOWN, b"\x05\x01\x02\x01\x02me\x03bad", b"\x05\x02\x01\x01"),
        (None, b"\x05\x01\x00\x05\x02\x00\x01\xc0\x00\x02\x01\x00\x50", b"\x05\x00\x05\x07"),  # BIND
        (None, b"\x05\x01\x00\x05\x01\x00\x09\xc0\x00\x02\x01\x00\x50", b"\x05\x00\x05\x08"),
        (None, b"\x05\x01\x00\x05\x01\x00\x03\x00\x00\x50", b"\x05\x00\x05\x01"),
        (None, b"\x05\x01\x00\x05\x01\x00\x03\x03a b\x00\x50", b"\x05\x00\x05\x01"),
        (KNOWN, b"\x04\x01\x00\x50\xc0\x00\x02\x01me\0", b"\x00\x5b"),
        (KNOWN, b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"HTTP/1.1 407 "),
        (KNOWN, b"CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Basic bWU6YmFk\r\n\r\n", b"HTTP/1.1 407 "),
        (KNOWN, b"CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Basic %%%\r\n\r\n", b"HTTP/1.1 407 "),
        (None, b"NONSENSE\r\n\r\n", b"HTTP/1.1 400 "),
        (None, b"CONNECT a HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
        (None, b"CONNECT a:0 HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
        (None, b"CONNECT []:1 HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
        (None, b"\x16\x03\x01", b""),
        (None, b"\x04\x01\x00\x50\0\0\0\x01\0a b\0", b"\x00\x5b"),
        (None, b"\x04\x01\x00\x50\0\0\0\x01\0\xff\0", b"\x00\x5b"),
        (None, b"\x04\x01\x00\x50\0\0\0\x01\0\0", b"\x00\x5b"),
    ],
)
def test_what_is_refused_and_what_the_client_hears(credentials, head, said):
    inbound = Inbound(credentials)
    with pytest.raises(BadPacket):
        feed(inbound, head)
    assert b"".join(inbound.say).startswith(said)
    assert bool(inbound.say) == bool(said)
    assert inbound.wish is None


def test_a_header_without_end_is_given_up():
    with pytest.raises(BadPacket, match="no end"):
        feed(Inbound(), b"CONNECT a:1 HTTP/1.1\r\n" + b"X: y\r\n" * (LONGEST_HEADER // 5), 1000)


@given(st.sampled_from([b"", b"\x05\x01\x00\x05", b"\x04\x01", b"GET ", b"CONNECT "]), st.binary(max_size=200))
def test_any_bytes_are_understood_or_refused(start, data):
    words = ""
    try:
        feed(Inbound(), start + data, 7)
    except BadPacket as error:
        words = str(error)
    assert words.isprintable()
