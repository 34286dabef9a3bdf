"""Driving a codec until the servers agree, with a socket that is a list of what it gives."""

from __future__ import annotations

import errno

import pytest

from tunflow.endpoint import Endpoint
from tunflow.outbound.agreement import agree
from tunflow.outbound.refusals import errno_of, refusal_of
from tunflow.protocols.codec import ProxyRefused, Refusal
from tunflow.protocols.sealed_reader import SealedReader
from tunflow.protocols.socks.client5 import Socks5Client
from tunflow.protocols.socks.socks5 import Credentials

TARGET = Endpoint("example.com", 443)
GRANTED = b"\x05\x00\x00\x01" + bytes(6)


class Wire:
    """Gives what it has, one piece a call; b"" is the end, and nothing more would block."""

    def __init__(self, codec: Socks5Client, *pieces: bytes) -> None:
        self.codec = codec
        self.pieces = list(pieces)
        self.said: list[bytes] = []
        self.reader = SealedReader(codec.open_untrusted)

    def send(self, pieces: list) -> None:
        self.said += [bytes(each) for each in pieces]

    def receive(self, size: int) -> bytes:
        if not self.pieces:
            raise BlockingIOError
        assert len(self.pieces[0]) <= size
        return self.pieces.pop(0)

    def agree(self, *, is_readable: bool = True) -> list:
        return agree(self.codec, self.reader, self.send, self.receive, is_readable)


def test_all_is_said_and_heard_in_one_go() -> None:
    wire = Wire(Socks5Client(TARGET, Credentials(b"u", b"p")), b"\x05\x02", b"\x01\x00", GRANTED + b"flow")
    assert b"".join(map(bytes, wire.agree())) == b"flow"
    assert wire.codec.established
    assert wire.said[0].startswith(b"\x05")
    assert wire.said[-1].startswith(b"\x05\x01\x00\x03\x0bexample.com")


def test_it_goes_on_where_it_would_block() -> None:
    wire = Wire(Socks5Client(TARGET))
    assert wire.agree(is_readable=False) == []
    assert len(wire.said) == 1
    for piece in (b"\x05", b"\x00", GRANTED[:4], GRANTED[4:]):
        assert not wire.codec.established
        wire.pieces.append(piece)
        wire.agree()
    assert wire.codec.established


def test_an_end_before_the_agreement_is_one() -> None:
    with pytest.raises(ConnectionResetError):
        Wire(Socks5Client(TARGET), b"\x05\x00", b"").agree()


def test_a_refusal_is_told() -> None:
    with pytest.raises(ProxyRefused) as refused:
        Wire(Socks5Client(TARGET), b"\x05\x00", b"\x05\x05\x00\x01" + bytes(6)).agree()
    assert refused.value.refusal is Refusal.REFUSED


def test_refusals_and_errors_are_the_same_both_ways() -> None:
    for refusal in Refusal:
        assert refusal_of(errno_of(refusal)) in {refusal, Refusal.REFUSED, Refusal.PROHIBITED}
    assert refusal_of(errno.EHOSTUNREACH) is Refusal.HOST_UNREACHABLE
    assert refusal_of(errno.EMFILE) is Refusal.FAILED
    assert errno_of(Refusal.FAILED) == errno.ECONNREFUSED
