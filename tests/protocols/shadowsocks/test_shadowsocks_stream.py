from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import BadPacket, LocalError
from tunflow.protocols.shadowsocks.chunks import SaltedSealer
from tunflow.protocols.shadowsocks.keys import master_key
from tunflow.protocols.shadowsocks.methods import METHODS
from tunflow.protocols.shadowsocks.replay import ReplayFilter
from tunflow.protocols.shadowsocks.stream import ClientStream, ServerStream

EXAMPLE = endpoint("example.com", 443)
AES = METHODS["aes-128-gcm"]
KEY = master_key("test", AES.key_size)
SALT = bytes(range(AES.salt_size))
REPLY_SALT = bytes(range(100, 100 + AES.salt_size))


def client(target: Endpoint = EXAMPLE, salt: bytes = SALT) -> ClientStream:
    return ClientStream(AES, KEY, target, salt)


def server(replay: ReplayFilter | None = None, salt: bytes = REPLY_SALT) -> ServerStream:
    return ServerStream(AES, KEY, salt, ReplayFilter() if replay is None else replay)


def feed(codec: ClientStream | ServerStream, data: bytes, cuts: list[int]) -> bytes:
    """What comes out of `codec` when `data` arrives cut at the given offsets."""
    out: list[bytes] = []
    waiting = b""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        waiting += data[start:end]
        pieces, used = codec.open_untrusted(memoryview(waiting))
        waiting = waiting[used:]
        out += pieces
    assert waiting == b""
    return b"".join(out)


def test_client_makes_the_vector(vector):
    codec = ClientStream(vector.method, vector.key, EXAMPLE, vector.salt)
    assert b"".join(codec.seal([b"hello"]) + codec.seal([b"world"])) == vector.tcp


@pytest.mark.parametrize("step", [1, 2, 7, 33, 1000])
def test_server_opens_the_vector(vector, step):
    codec = ServerStream(vector.method, vector.key, vector.salt, ReplayFilter())
    assert feed(codec, vector.tcp, list(range(0, len(vector.tcp), step))) == b"helloworld"
    assert codec.target == EXAMPLE


@given(st.data())
def test_server_opens_the_vector_cut_anywhere(data):
    wire = b"".join(client().seal([b"hello"]) + client().seal([]))[: 16 + 18 + 20 + 16]
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=5))
    codec = server()
    assert feed(codec, wire, cuts) == b"hello"
    assert codec.target == EXAMPLE


@given(
    st.sampled_from([EXAMPLE, endpoint("192.0.2.1", 80), endpoint("2001:db8::1", 65535), Endpoint("x" * 255, 0)]),
    st.lists(st.integers(0, 40_000), max_size=4),
    st.lists(st.integers(0, 40_000), max_size=4),
    st.lists(st.integers(0, 200_000), max_size=6),
)
def test_both_ways(target, up, down, cuts):
    for method in METHODS.values():
        key = master_key("secret", method.key_size)
        ours = ClientStream(method, key, target, bytes(method.salt_size))
        theirs = ServerStream(method, key, b"s" * method.salt_size, ReplayFilter())
        asked = [bytes((index,)) * size for index, size in enumerate(up)]
        assert feed(theirs, b"".join(ours.seal(asked)), cuts) == b"".join(asked)
        assert theirs.target == target
        answered = [bytes((index,)) * size for index, size in enumerate(down)]
        assert feed(ours, b"".join(theirs.seal(answered)), cuts) == b"".join(answered)


def test_target_is_known_before_there_is_payload():
    codec = server()
    assert feed(codec, b"".join(client().seal([])), []) == b""
    assert codec.target == EXAMPLE


@pytest.mark.parametrize("cut", range(1, 20))
def test_address_cut_into_chunks(cut):
    plain = b"\x03\x0bexample.com\x01\xbbhello"
    sealer = SaltedSealer(AES, KEY, SALT)
    wire = b"".join(sealer.seal([plain[:cut]]) + sealer.seal([plain[cut:]]))
    for cuts in ([], list(range(len(wire)))):
        codec = server()
        assert feed(codec, wire, cuts) == b"hello"
        assert codec.target == EXAMPLE


def test_server_is_silent_without_payload_and_sends_its_salt_once():
    codec = server()
    assert codec.seal([]) == []
    first = b"".join(codec.seal([b"a"]))
    assert first.startswith(REPLY_SALT)
    assert len(b"".join(codec.seal([b"a"]))) == len(first) - AES.salt_size


def test_wrong_key_is_refused_and_leaves_no_trace():
    replay = ReplayFilter()
    codec = ServerStream(AES, master_key("other", AES.key_size), REPLY_SALT, replay)
    with pytest.raises(BadPacket, match="authenticate"):
        feed(codec, b"".join(client().seal([b"hello"])), [])
    assert len(replay) == 0


def test_wrong_key_is_not_noticed_before_the_first_record_is_whole():
    codec = ServerStream(AES, master_key("other", AES.key_size), REPLY_SALT, ReplayFilter())
    wire = b"".join(client().seal([b"hello"]))
    assert codec.open_untrusted(memoryview(wire[: 16 + 17])) == ([], 16)


def test_replayed_stream_is_refused():
    replay = ReplayFilter()
    wire = b"".join(client().seal([b"hello"]))
    assert feed(server(replay), wire, []) == b"hello"
    again = server(replay)
    with pytest.raises(BadPacket, match="seen before"):
        feed(again, wire, [])
    assert again.target is None


def test_junk_does_not_fill_the_replay_memory():
    replay = ReplayFilter()
    for n in range(50):
        with pytest.raises(BadPacket):
            server(replay).open_untrusted(memoryview(n.to_bytes(16, "big") + bytes(100)))
    assert len(replay) == 0


def test_servers_own_answer_is_no_request():
    replay = ReplayFilter()
    answer = b"".join(server(replay).seal([b"\x01\x7f\x00\x00\x01\x00\x50"]))
    with pytest.raises(BadPacket, match="seen before"):
        server(replay).open_untrusted(memoryview(answer))


def test_clients_own_request_is_no_answer():
    codec = client()
    request = b"".join(codec.seal([b"hello"]))
    with pytest.raises(BadPacket, match="seen before"):
        codec.open_untrusted(memoryview(request))


def test_bad_address_is_refused():
    wire = b"".join(SaltedSealer(AES, KEY, SALT).seal([b"\x09hello"]))
    codec = server()
    with pytest.raises(BadPacket, match="address type 9"):
        feed(codec, wire, [])
    assert codec.target is None


def test_target_that_cannot_be_sent():
    with pytest.raises(LocalError):
        client(Endpoint("a" * 256, 80))
