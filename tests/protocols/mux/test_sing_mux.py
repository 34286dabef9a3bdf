"""What stands around the sessions of sing-mux: preface, padding, requests, datagrams, and how flows are spread."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.codec import ProxyRefused, Refusal
from tunflow.protocols.contract import CodecRoute
from tunflow.protocols.mux.preface import PADDED, PaddedStream, preface
from tunflow.protocols.mux.request import DATAGRAMS, LONGEST, AddressedFrames, StreamRequest
from tunflow.protocols.mux.smux import SmuxSession
from tunflow.protocols.session_pool import SessionPool, Spread

SITE = Endpoint("site.example", 80)


def random_bytes(size: int) -> bytes:
    return b"\x01" * size


def test_a_connection_begins_with_version_and_protocol() -> None:
    for number, protocol in enumerate(("smux", "yamux", "h2mux")):
        codec = preface(protocol, padding=False, random_bytes=random_bytes)
        assert b"".join(codec.seal([b"frame"])) == bytes((0, number)) + b"frame"
        assert codec.transparent
    padded = b"".join(preface("yamux", padding=True, random_bytes=random_bytes).seal([]))
    assert padded[:3] == b"\x01\x01\x01"
    assert len(padded) == 5 + int.from_bytes(padded[3:5], "big")


def read(data: bytes) -> tuple[list[bytes], bytes]:
    """The padded messages behind a preface, and the rest."""
    data = data[5 + int.from_bytes(data[3:5], "big") :]
    messages = []
    while data and len(messages) < PADDED:
        size, waste = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
        assert 256 <= waste < 768
        messages.append(data[4 : 4 + size])
        data = data[4 + size + waste :]
    return messages, data


@settings(max_examples=40)
@given(
    pieces=st.lists(st.sampled_from([1, 100, 70000]), min_size=1, max_size=20), step=st.sampled_from([97, 4096, 65536])
)
def test_the_first_messages_are_padded_either_way(pieces: list[int], step: int) -> None:
    ours = PaddedStream(b"\x01\x00\x01", random_bytes)
    sent = [bytes((at,)) * size for at, size in enumerate(pieces)]
    wire = b"".join(b"".join(ours.seal([each])) for each in sent)
    messages, rest = read(wire)
    assert b"".join(messages) + rest == b"".join(sent)
    assert len(messages) <= PADDED
    # A server says the same way: what we said is read back behind the preface, however it is cut.
    said = wire[5 + int.from_bytes(wire[3:5], "big") :]
    heard, waiting = b"", b""
    for at in range(0, len(said), step):
        waiting += said[at : at + step]
        made, used = ours.open_untrusted(memoryview(waiting))
        heard += b"".join(made)
        waiting = waiting[used:]
    assert heard == b"".join(sent)
    assert ours.transparent == (len(messages) == PADDED)


def test_a_request_goes_with_the_first_bytes_and_the_answer_with_the_servers() -> None:
    codec = StreamRequest(SITE)
    assert codec.established
    assert b"".join(codec.seal([b"GET"])) == b"\0\0\x03\x0csite.example\0\x50GET"
    assert not codec.transparent
    assert codec.open_untrusted(memoryview(b"\0HTTP")) == ([b"HTTP"], 5)
    assert codec.transparent
    assert codec.seal([b"more"]) == [b"more"]


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        ("dial tcp 192.0.2.1:9: connect: connection refused", Refusal.REFUSED),
        ("dial tcp: i/o timeout", Refusal.TIMED_OUT),
        ("x" * 300, Refusal.FAILED),
    ],
)
def test_the_servers_error_is_told(words: str, refusal: Refusal) -> None:
    size = len(words)
    answer = b"\x01" + (bytes((size & 0x7F | 0x80, size >> 7)) if size > 127 else bytes((size,))) + words.encode()
    codec = StreamRequest(SITE)
    for cut in range(len(answer)):
        assert codec.open_untrusted(memoryview(answer[:cut])) == ([], 0)
    with pytest.raises(ProxyRefused) as told:
        codec.open_untrusted(memoryview(answer))
    assert told.value.refusal is refusal
    assert words[:200] in str(told.value)


@pytest.mark.parametrize("answer", [b"\x02", b"\x01\xff\xff\xff\x01", b"\x01\xff\x7f"])
def test_what_is_no_answer_is_said(answer: bytes) -> None:
    with pytest.raises(BadPacket):
        StreamRequest(SITE).open_untrusted(memoryview(answer))


def test_datagrams_have_their_addresses() -> None:
    request, frames = StreamRequest(SITE, DATAGRAMS), AddressedFrames()
    first = b"".join(request.seal(list(frames.seal(SITE, b"one"))))
    assert first == b"\0\x03\x03\x0csite.example\0\x50" + b"\x03\x0csite.example\0\x50\0\x03one"
    wire = b"".join(b"".join(frames.seal(endpoint("192.0.2.1", 53), data)) for data in (b"a", b"", b"cc"))
    for cut in range(len(wire)):
        before, used = frames.open_untrusted(memoryview(wire[:cut]))
        after, _ = frames.open_untrusted(memoryview(wire[used:]))
        assert [each.payload for each in (*before, *after)] == [b"a", b"", b"cc"]
    with pytest.raises(BadPacket, match=str(LONGEST)):
        frames.seal(SITE, bytes(LONGEST + 1))


class Loop:
    """A carrier that carries nothing by itself."""

    now = 0.0

    def __init__(self) -> None:
        self.carried: list[SmuxSession] = []
        self.soon = []

    def call_soon(self, call) -> None:
        self.soon.append(call)

    def carry(self, _route, session) -> None:
        self.carried.append(session)
        session.connected(0.0)


@pytest.mark.parametrize(
    ("spread", "loads"),
    [(None, [4, 4, 2]), (Spread(2, 3), [5, 5]), (Spread(3, 0), [4, 3, 3]), (Spread(64, 10), [10])],
)
def test_flows_are_spread_as_it_was_asked_for(spread: Spread | None, loads: list[int]) -> None:
    loop = Loop()
    pool = SessionPool(lambda: CodecRoute((), None, ""), lambda: SmuxSession(4 if spread is None else 256), spread)
    for _ in range(10):
        pool.dial(lambda stream, error: None, loop)
        while loop.soon:
            loop.soon.pop()()
    assert [each.load for each in loop.carried] == loads
