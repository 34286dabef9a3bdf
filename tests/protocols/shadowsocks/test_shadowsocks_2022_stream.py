from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from talk import hear

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket, LocalError
from tunflow.protocols.shadowsocks import keys2022
from tunflow.protocols.shadowsocks.chunks import SaltedSealer
from tunflow.protocols.shadowsocks.methods import METHODS
from tunflow.protocols.shadowsocks.replay import TimedReplayFilter
from tunflow.protocols.shadowsocks.stream2022 import ClientStream2022, ServerStream2022

VECTORS = tomllib.loads((Path(__file__).parents[2] / "vectors" / "shadowsocks_2022.toml").read_text())
TARGET = Endpoint("example.com", 443)
NOW = 1_700_000_000.0
AES = [name for name in VECTORS if METHODS[name].has_identities]
"""SIP023 is for these."""


def salt_of(size):
    return bytes((200 + index) % 256 for index in range(size))


@pytest.fixture(params=VECTORS)
def method(request):
    return METHODS[request.param]


@pytest.fixture
def key(method):
    return bytes(range(method.key_size))


@pytest.fixture
def user_key(method):
    return bytes(range(100, 100 + method.key_size))


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


def counting_rng():
    """Bytes that differ from call to call."""
    calls = 0

    def rng(size):
        nonlocal calls
        calls += 1
        return bytes((calls + index) % 256 for index in range(size))

    return rng


def pair(method, key, clock=None, replay=None):
    clock = clock or Clock()
    rng = counting_rng()
    client = ClientStream2022(method, (key,), TARGET, rng, clock)
    return client, ServerStream2022(method, key, rng, replay or TimedReplayFilter(), clock)


# Vectors: see the file.


def test_subkey(method, key):
    assert keys2022.session_subkey(key, salt_of(method.key_size)).hex() == VECTORS[method.name]["subkey"]


def test_request(method, key):
    client = ClientStream2022(method, (key,), TARGET, salt_of, lambda: NOW)
    wire = b"".join([*client.headers(bytes(3), b"hello"), *client.seal([b"world"])])
    assert wire.hex() == VECTORS[method.name]["tcp"]
    server = ServerStream2022(method, key, salt_of, TimedReplayFilter(), lambda: NOW + 30)
    assert hear(server, wire, 1) == b"helloworld"
    assert server.target == TARGET


@pytest.mark.parametrize("method", AES, indirect=True)
def test_identity_headers(method, key, user_key):
    known = VECTORS[method.name]
    assert keys2022.identity_subkey(key, salt_of(method.key_size)).hex() == known["eih_subkey"]
    assert keys2022.identity(user_key).hex() == known["eih_identity"]
    client = ClientStream2022(method, (key, user_key), TARGET, salt_of, lambda: NOW)
    assert b"".join(client.headers(bytes(3), b"hello")).hex() == known["eih_tcp"]


# Round trips.


@pytest.mark.parametrize("step", [None, 1, 100])
def test_both_ways(method, key, step):
    client, server = pair(method, key)
    big = bytes(range(251)) * 400
    assert hear(server, b"".join(client.seal([b"hello ", big])), step) == b"hello " + big
    assert server.target == TARGET
    assert hear(client, b"".join(server.seal([b"answer", big])), step) == b"answer" + big
    assert hear(server, b"".join(client.seal([b"more"]))) == b"more"
    assert hear(client, b"".join(server.seal([b"more"]))) == b"more"
    assert client.established
    assert not client.transparent
    assert client.finish() == server.finish() == []


# SIP022 §3.1.3: "The padding length MUST be non-zero when there is no initial payload"
def test_a_request_without_payload_is_padded(method, key):
    client, server = pair(method, key)
    wire = b"".join(client.seal([]))
    assert len(wire) > method.salt_size + 27 + 15 + 16 + 2
    assert hear(server, wire) == b""
    assert server.target == TARGET
    assert server.seal([]) == []
    assert hear(server, b"".join(client.seal([b"late"]))) == b"late"


@given(st.lists(st.binary(max_size=300) | st.integers(60_000, 70_000).map(bytes), max_size=5))
def test_any_pieces_arrive(pieces):
    client, server = pair(METHODS["2022-blake3-aes-128-gcm"], bytes(16))
    assert hear(server, b"".join(client.seal(pieces))) == b"".join(pieces)
    if any(pieces):
        assert hear(client, b"".join(server.seal(pieces))) == b"".join(pieces)


# SIP022 §3.1.2: chunks of up to 0xFFFF bytes
def test_chunks_are_as_large_as_they_may_be(method, key):
    client, _ = pair(method, key)
    client.seal([b"x"])
    assert [len(piece) for piece in client.seal([bytes(0x1FFFE)])] == [18, 0xFFFF + 16] * 2


# Refusals.


@pytest.mark.parametrize("skew", [-31, 31])
def test_a_timestamp_that_is_off(method, key, skew):
    clock = Clock()
    client, server = pair(method, key, clock)
    wire = b"".join(client.seal([b"hello"]))
    clock.now += skew
    with pytest.raises(BadPacket, match="timestamp"):
        hear(server, wire)
    client, server = pair(method, key, clock)
    hear(server, b"".join(client.seal([b"hello"])))
    wire = b"".join(server.seal([b"answer"]))
    clock.now += skew
    with pytest.raises(BadPacket, match="timestamp"):
        hear(client, wire)


def test_an_answer_may_come_long_after_the_request(method, key):
    clock = Clock()
    client, server = pair(method, key, clock)
    hear(server, b"".join(client.seal([b"hello"])))
    clock.now += 600
    assert hear(client, b"".join(server.seal([b"answer"]))) == b"answer"


def test_a_replayed_request(method, key):
    replay = TimedReplayFilter()
    client, server = pair(method, key, replay=replay)
    wire = b"".join(client.seal([b"hello"]))
    hear(server, wire)
    _, again = pair(method, key, replay=replay)
    with pytest.raises(BadPacket, match="seen before"):
        hear(again, wire)


def test_a_clock_that_jumps_ahead_and_back_opens_nothing_to_replays(method, key):
    replay, clock = TimedReplayFilter(), Clock()
    clock.now = NOW
    client, server = pair(method, key, clock, replay=replay)
    wire = b"".join(client.seal([b"hello"]))
    hear(server, wire)
    assert replay.admit(b"another", NOW + 80 * 365 * 86_400)
    _, again = pair(method, key, clock, replay=replay)
    with pytest.raises(BadPacket, match="seen before"):
        hear(again, wire)


def test_a_clock_that_was_set_back_lets_the_memory_be_turned_over():
    replay = TimedReplayFilter()
    assert replay.admit(b"old", NOW + 80 * 365 * 86_400)
    for minute in range(4):
        assert replay.admit(b"salt %d" % minute, NOW + 61.0 * minute)
    assert replay.admit(b"old", NOW + 61.0 * 3)  # it is forgotten


def test_what_does_not_authenticate_is_not_remembered(method, key):
    replay = TimedReplayFilter()
    client, server = pair(method, key, replay=replay)
    wire = b"".join(client.seal([b"hello"]))
    with pytest.raises(BadPacket, match="authenticate"):
        hear(server, wire[: method.salt_size] + bytes(27))
    _, server = pair(method, key, replay=replay)
    assert hear(server, wire) == b"hello"


def test_an_answer_to_somebody_else(method, key):
    client, server = pair(method, key)
    client.seal([b"a"])
    other = ClientStream2022(method, (key,), TARGET, bytes, lambda: NOW)
    hear(server, b"".join(other.seal([b"b"])))
    with pytest.raises(BadPacket, match="another request"):
        hear(client, b"".join(server.seal([b"answer"])))


def test_a_request_sent_back_is_no_answer(method, key):
    client, _ = pair(method, key)
    wire = b"".join(client.seal([bytes(100)]))
    with pytest.raises(BadPacket):
        hear(client, wire)


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        (b"\x03\x0bexample.com\x01\xbb\x00\x00", "0 bytes of padding and 0 of payload"),
        (b"\x03\x0bexample.com\x01\xbb\x00\x09xx", "9 bytes of padding"),
        (b"\x03\x0bexample.com\x01\xbb\x03\x85" + bytes(901), "901 bytes of padding"),
        (b"\x03\x0bexample.com\x01\xbb\x00", "ends inside its address"),
        (b"\x03\x0bexam", "ends inside its address"),
        (b"\x02abc", "address type"),
    ],
)
def test_variable_headers_that_are_none(variable, words):
    method, key = METHODS["2022-blake3-aes-128-gcm"], bytes(16)
    salt = bytes(16)
    sealer = SaltedSealer(method, key, salt, behind_header=True)
    fixed = bytes((0,)) + int(NOW).to_bytes(8, "big") + len(variable).to_bytes(2, "big")
    _, server = pair(method, key)
    with pytest.raises(BadPacket, match=words):
        hear(server, salt + sealer.record(fixed) + sealer.record(variable))


# Keys.


def test_keys():
    one, two = bytes(16), bytes(range(16))
    assert keys2022.parse_keys("AAAAAAAAAAAAAAAAAAAAAA==", 16, many=False) == (one,)
    assert keys2022.parse_keys("AAAAAAAAAAAAAAAAAAAAAA==:AAECAwQFBgcICQoLDA0ODw==", 16, many=True) == (one, two)


@pytest.mark.parametrize(
    ("password", "many", "words"),
    [
        ("hunter2", True, "16 bytes in base64, as `openssl rand -base64 16` makes one"),
        ("aHVudGVyMg==", True, "has 7 bytes; it must have 16"),
        ("AAAAAAAAAAAAAAAAAAAAAA==:", True, "has 0 bytes"),
        ("AAAAAAAAAAAAAAAAAAAAAA==:AAAAAAAAAAAAAAAAAAAAAA==", False, "one key only"),
    ],
)
def test_keys_that_are_none(password, many, words):
    with pytest.raises(LocalError, match=words) as caught:
        keys2022.parse_keys(password, 16, many=many)
    assert password not in str(caught.value)


def test_salts_are_remembered_for_a_minute_and_not_for_ever():
    replay = TimedReplayFilter()
    assert replay.admit(b"a", 1000.0)
    assert not replay.admit(b"a", 1059.9)
    assert replay.admit(b"b", 1059.9)
    assert not replay.admit(b"b", 1119.8)
    assert replay.admit(b"a", 1181.0)
    assert replay.admit(b"b", 1181.0)
