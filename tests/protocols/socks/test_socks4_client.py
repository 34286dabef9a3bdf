from __future__ import annotations

import pytest
from talk import converse, hear

from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.codec import ProxyRefused, Refusal
from tunflow.protocols.socks.client4 import Socks4Client

ADDRESS = endpoint("192.0.2.1", 80)
NAME = Endpoint("example.com", 80)
YES = bytes.fromhex("005a 0000 00000000")


# The examples of the SOCKS4 memo's field table
def test_an_address():
    for names in (False, True):
        said = bytes.fromhex("0401 0050 c0000201") + b"me\0"
        converse(lambda names=names: Socks4Client(ADDRESS, "me", names=names), [(said, YES)])


# SOCKS 4A: 0.0.0.x and the name behind the user id
def test_a_name():
    said = bytes.fromhex("0401 0050 00000001") + b"\0example.com\0"
    converse(lambda: Socks4Client(NAME, names=True), [(said, YES)])


@pytest.mark.parametrize(
    ("target", "names", "refusal"),
    [
        (NAME, False, Refusal.HOST_UNREACHABLE),
        (endpoint("2001:db8::1", 80), True, Refusal.NET_UNREACHABLE),
        (Endpoint("a\0b", 80), True, Refusal.HOST_UNREACHABLE),
        (Endpoint("", 80), True, Refusal.HOST_UNREACHABLE),
    ],
)
def test_what_it_has_no_words_for(target, names, refusal):
    with pytest.raises(ProxyRefused) as caught:
        Socks4Client(target, names=names)
    assert caught.value.refusal is refusal


@pytest.mark.parametrize(
    ("code", "refusal"),
    [(0x5B, Refusal.REFUSED), (0x5C, Refusal.CREDENTIALS), (0x5D, Refusal.CREDENTIALS), (0, Refusal.FAILED)],
)
def test_refusals(code, refusal):
    with pytest.raises(ProxyRefused) as caught:
        hear(Socks4Client(ADDRESS, names=False), bytes((0, code)) + bytes(6), 1)
    assert caught.value.refusal is refusal


def test_what_is_no_socks4_server():
    with pytest.raises(BadPacket, match="not a SOCKS4 server"):
        hear(Socks4Client(ADDRESS, names=False), b"\x05")
