from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from talk import converse, hear, refusal_words, said

from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import BadPacket, LocalError
from tunflow.protocols.codec import ProxyRefused, Refusal
from tunflow.protocols.socks import socks5
from tunflow.protocols.socks.client5 import Socks5Client, Socks5Datagrams
from tunflow.protocols.socks.socks5 import Credentials

NAME = Endpoint("example.com", 443)
USER = Credentials(b"user", b"secret")
REQUEST = b"\x05\x01\x00\x03\x0bexample.com\x01\xbb"
SIGN_IN = b"\x01\x04user\x06secret"
YES = bytes.fromhex("05000001 00000000 0000")


# RFC 1928 §3, §4, §6
def test_without_authentication():
    converse(lambda: Socks5Client(NAME), [(b"\x05\x01\x00", b"\x05\x00"), (REQUEST, YES)])


# RFC 1929 §2
def test_with_a_password():
    script = [(b"\x05\x02\x00\x02", b"\x05\x02"), (SIGN_IN, b"\x01\x00"), (REQUEST, YES)]
    converse(lambda: Socks5Client(NAME, USER), script)


def test_a_server_may_do_without_the_password_that_it_was_offered():
    converse(lambda: Socks5Client(NAME, USER), [(b"\x05\x02\x00\x02", b"\x05\x00"), (REQUEST, YES)])


@pytest.mark.parametrize(
    ("target", "encoded"),
    [
        (endpoint("192.0.2.1", 80), bytes.fromhex("01 c0000201 0050")),
        (endpoint("2001:db8::1", 80), bytes.fromhex("04 20010db8000000000000000000000001 0050")),
    ],
)
def test_addresses(target, encoded):
    converse(lambda: Socks5Client(target), [(b"\x05\x01\x00", b"\x05\x00"), (b"\x05\x01\x00" + encoded, YES)])


def test_optimistic_lets_the_flow_follow_the_request_and_learns_of_a_refusal_later():
    codec = Socks5Client(NAME, optimistic=True)
    assert said(codec) == b"\x05\x01\x00"
    assert not codec.established
    hear(codec, b"\x05\x00")
    assert codec.established
    assert not codec.transparent
    assert b"".join(codec.seal([b"hello"])) == REQUEST + b"hello"
    assert b"".join(codec.seal([b" again"])) == b" again"
    assert hear(codec, YES + b"answer") == b"answer"
    assert codec.transparent
    late = Socks5Client(NAME, optimistic=True)
    with pytest.raises(ProxyRefused) as caught:
        hear(late, b"\x05\x00\x05\x05\x00\x01" + bytes(6))
    assert caught.value.refusal is Refusal.REFUSED


def test_the_bound_address_is_told():
    codec = Socks5Client(socks5.ANYWHERE, command=socks5.UDP_ASSOCIATE)
    assert said(codec) == b"\x05\x01\x00"
    hear(codec, b"\x05\x00")
    assert said(codec) == bytes.fromhex("05030001 00000000 0000")
    hear(codec, bytes.fromhex("05000004 20010db8000000000000000000000001 1f90"))
    assert codec.bound == endpoint("2001:db8::1", 8080)


# RFC 1928 §6, and Tor's extended errors
@pytest.mark.parametrize(
    ("code", "refusal"),
    [
        (1, Refusal.FAILED),
        (2, Refusal.PROHIBITED),
        (3, Refusal.NET_UNREACHABLE),
        (4, Refusal.HOST_UNREACHABLE),
        (5, Refusal.REFUSED),
        (6, Refusal.TIMED_OUT),
        (7, Refusal.UNSUPPORTED),
        (8, Refusal.UNSUPPORTED),
        (0xF0, Refusal.HOST_UNREACHABLE),
        (0xF7, Refusal.TIMED_OUT),
        (0x77, Refusal.FAILED),
    ],
)
@pytest.mark.parametrize("rest", ["00 01 00000000 0000", "00 00 00000000 0000", "", "00", "00 01 00", "00 03 00 0000"])
def test_refusals_also_cut_short(code, refusal, rest):
    codec = Socks5Client(NAME)
    hear(codec, b"\x05\x00")
    data = bytes((5, code)) + bytes.fromhex(rest)
    if len(data) < 4:
        assert hear(codec, data) == b""  # may still become whole
        assert not codec.established
        return
    with pytest.raises(ProxyRefused) as caught:
        hear(codec, data)
    assert caught.value.refusal is refusal


@pytest.mark.parametrize(
    ("known", "answers", "words"),
    [
        (None, [b"\x05\xff"], "wants a user name and password"),
        (USER, [b"\x05\xff"], "takes no password"),
        (USER, [b"\x05\x02", b"\x01\x01"], "does not accept the user name and password"),
    ],
)
def test_refused_credentials(known, answers, words):
    codec = Socks5Client(NAME, known)
    for answer in answers[:-1]:
        hear(codec, answer)
    with pytest.raises(ProxyRefused, match=words) as caught:
        hear(codec, answers[-1])
    assert caught.value.refusal is Refusal.CREDENTIALS
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("answer", [b"H", b"HTTP/1.1 400", b"\x04\x00", b"\x05\x01", b"\x05\x02"])
def test_what_is_no_socks5_server_or_chooses_what_was_not_offered(answer):
    codec = Socks5Client(NAME)
    with pytest.raises(BadPacket, match=r"not a SOCKS5 server|not offered"):
        hear(codec, answer)


def test_an_answer_without_end_is_given_up():
    codec = Socks5Client(NAME)
    hear(codec, b"\x05\x00")
    with pytest.raises(BadPacket):
        hear(codec, b"\x05\x00\x00\x09" + bytes(20_000))


# RFC 1928 §7
def test_datagrams():
    codec = Socks5Datagrams()
    wire = codec.seal(endpoint("8.8.8.8", 53), b"hello")
    assert wire == bytes.fromhex("000000 01 08080808 0035") + b"hello"
    assert codec.open_untrusted(wire) == (endpoint("8.8.8.8", 53), b"hello")
    assert codec.open_untrusted(b"\0\0\0\x03\x01a\x00\x01")[1] == b""
    for bad in (b"", b"\0\0\0", b"\0\0\x01" + wire[3:], b"\0\0\0\x02" + wire[4:], wire[:9]):
        with pytest.raises(BadPacket):
            codec.open_untrusted(bad)


def test_what_a_datagram_opens_to_stays_when_its_buffer_is_used_again():
    buffer = bytearray(Socks5Datagrams().seal(NAME, b"hello"))
    _, payload = Socks5Datagrams().open_untrusted(buffer)
    buffer[:] = bytes(len(buffer))
    assert payload == b"hello"


def test_credentials_have_their_lengths():
    assert socks5.credentials("ü", "") == Credentials("ü".encode(), b"")
    for user, password in (("", "x"), ("x" * 256, "x"), ("x", "ü" * 128)):
        with pytest.raises(LocalError, match="255 bytes"):
            socks5.credentials(user, password)


@given(st.binary(max_size=600), st.booleans())
def test_any_answer_is_understood_or_refused(data, optimistic):
    assert refusal_words(Socks5Client(NAME, USER, optimistic=optimistic), data).isprintable()
