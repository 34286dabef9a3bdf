"""smux, yamux and mux.cool as machines against simple servers: cuts, windows, ends, bounds, silence."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mux_twins import CoolTwin, SmuxTwin, Twin, YamuxTwin

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.mux import cool, smux, yamux
from tunflow.protocols.mux.frame_session import IDLE, LINGER, PATIENCE, UNREAD
from tunflow.protocols.shared_stream import QUEUE

TARGET = Endpoint("site.example", 443)
KINDS = {
    "smux": lambda most=8: SmuxTwin(smux.SmuxSession(most)),
    "yamux": lambda most=8: YamuxTwin(yamux.YamuxSession(most)),
    "mux.cool": lambda most=8: CoolTwin(cool.CoolSession(most)),
}
every = pytest.mark.parametrize("kind", KINDS)
without_windows = pytest.mark.parametrize("kind", ["smux", "mux.cool"])


def begun(kind: str, most: int = 8) -> Twin:
    return KINDS[kind](most)


def opened(twin: Twin):
    """A stream, whose target was said."""
    stream = twin.session.open(twin.now)
    if stream is not None and isinstance(twin, CoolTwin):
        stream.send(cool.cool_target(TARGET).seal([]), twin.now)
    twin.turn()
    return stream


OPS = st.lists(
    st.tuples(
        st.sampled_from(["say", "answer", "take", "finish", "grant"]),
        st.integers(0, 2),
        st.sampled_from([1, 7, 100, 8192, 40000, 200000]),
    ),
    max_size=40,
)


@every
@settings(max_examples=25)
@given(ops=OPS, step=st.sampled_from([1000, 4099, 65536]))
def test_what_is_said_comes_out_whole_however_it_is_cut(kind: str, ops, step: int) -> None:
    twin = begun(kind)
    streams = [opened(twin) for _ in range(3)]
    said, answered, took = [b""] * 3, [b""] * 3, [b""] * 3
    granted = [yamux.WINDOW] * 3
    for op, which, size in ops:
        stream, fill = streams[which], bytes((which, size & 0xFF)) * (size // 2 + 1)
        if op == "say" and not stream.finishing and stream.send_room:
            stream.send([fill], 0.0)
            said[which] += fill
        elif op == "answer":
            if isinstance(twin, YamuxTwin):
                fill = fill[: twin.window(stream.number) - len(answered[which])]
            for at in range(0, len(fill), 60000):
                twin.hear(twin.data(stream.number, fill[at : at + 60000]), step)
            answered[which] += fill
        elif op == "take":
            took[which] += b"".join(stream.take(size))
        elif op == "finish":
            stream.close_write(0.0)
        elif op == "grant" and kind == "yamux":
            granted[which] += size
            twin.hear(yamux.frame(yamux.WINDOW_UPDATE, 0, stream.number, size))
        twin.turn()
        if kind == "yamux":
            assert all(len(twin.of(each.number)) <= granted[at] for at, each in enumerate(streams))
    for which, stream in enumerate(streams):
        if kind == "yamux":
            twin.hear(yamux.frame(yamux.WINDOW_UPDATE, 0, stream.number, 1 << 24))
        twin.turn()
        took[which] += b"".join(stream.take(1 << 30))
        assert twin.of(stream.number) == said[which]
        assert took[which] == answered[which]
        assert twin.has_ended(stream.number) == (stream.finishing and kind == "yamux")
    assert not twin.session.is_full


@every
def test_an_end_of_the_servers_is_the_streams(kind: str) -> None:
    twin = begun(kind)
    stream = opened(twin)
    twin.hear(twin.data(stream.number, b"last") + twin.end(stream.number), 1)
    assert not stream.at_eof
    assert b"".join(stream.take(10)) == b"last"
    assert stream.at_eof
    assert not stream.was_reset


def test_yamux_ends_each_direction_for_itself() -> None:
    twin = begun("yamux")
    stream = opened(twin)
    stream.close_write(0.0, [b"all"])
    twin.turn()
    assert twin.frames()[-2:] == [("data", 1, b""), ("end", 1, b"")]
    twin.hear(twin.data(1, b"and back"))
    assert b"".join(stream.take(99)) == b"and back"
    twin.hear(twin.end(1))
    assert (stream.at_eof, stream.closed, twin.session.load) == (True, True, 0)


@without_windows
def test_an_end_that_would_end_both_waits_for_the_servers_silence(kind: str) -> None:
    twin = begun(kind)
    stream = opened(twin)
    stream.close_write(0.0, [b"all"])
    twin.turn()
    assert twin.of(stream.number) == b"all"
    twin.now = LINGER - 1
    twin.hear(twin.data(stream.number, b"still here"))
    twin.now = LINGER + 1
    twin.session.handle_timeout(twin.now)
    assert not twin.has_ended(stream.number)
    twin.now = 2 * LINGER
    assert twin.session.next_timeout() <= twin.now
    twin.session.handle_timeout(twin.now)
    twin.turn()
    assert twin.has_ended(stream.number)
    assert stream.closed
    assert b"".join(stream.take(99)) == b"still here"


@every
def test_an_aborted_stream_is_told_and_gives_its_place_back(kind: str) -> None:
    twin = begun(kind, 1)
    stream = opened(twin)
    twin.hear(twin.data(stream.number, b"x" * 1000))
    assert not twin.session.has_room
    stream.abort()
    twin.turn()
    assert twin.has_ended(stream.number)
    assert twin.session.has_room
    twin.hear(twin.data(stream.number, b"late"))  # it was on its way
    assert opened(twin) is not None


@every
def test_what_the_server_does_not_take_waits_and_is_bounded(kind: str) -> None:
    twin = begun(kind)
    stream = opened(twin)
    twin.session.block(True)
    assert stream.send_room == 0
    stream.send([bytes(QUEUE)], 0.0)
    twin.turn()
    assert twin.of(stream.number) == b""
    twin.session.block(False)
    assert stream in twin.session.take_changed()
    stream.send([b"x"], 0.0)
    twin.turn()
    assert len(twin.of(stream.number)) == (QUEUE if kind == "yamux" else QUEUE + 1)  # yamux: a window of that size


@without_windows
def test_nothing_more_is_read_behind_a_bound(kind: str) -> None:
    twin = begun(kind)
    slow, other = opened(twin), opened(twin)
    while not twin.session.is_full:
        twin.hear(twin.data(slow.number, bytes(60000)))
    assert UNREAD <= slow.readable < UNREAD + 60000
    twin.hear(twin.data(other.number, bytes(60000)))
    slow.take(200000)
    assert not twin.session.is_full
    twin.hear(twin.data(slow.number, bytes(60000)) * 4)
    assert twin.session.is_full
    slow.abort()  # what nobody will take counts no more
    assert not twin.session.is_full


def test_a_yamux_server_that_passes_a_window_is_no_server() -> None:
    twin = begun("yamux")
    stream = opened(twin)
    for _ in range(yamux.OURS // 65536):
        twin.hear(twin.data(stream.number, bytes(65536)))
    with pytest.raises(BadPacket, match="more than a window"):
        twin.hear(twin.data(stream.number, b"x"))


def test_yamux_grants_what_owners_take() -> None:
    twin = begun("yamux")
    stream = opened(twin)
    assert twin.window(1) == yamux.OURS
    twin.hear(twin.data(1, bytes(yamux.OURS // 2)) + twin.data(1, bytes(100)))
    stream.take(yamux.OURS)
    twin.turn()
    assert twin.window(1) == yamux.OURS + yamux.OURS // 2 + 100


def test_yamux_answers_and_asks_for_signs_of_life() -> None:
    twin = begun("yamux")
    opened(twin)
    twin.hear(yamux.frame(yamux.PING, yamux.SYN, 0, 77))
    assert twin.frames()[-1] == ("answer", 0, (77).to_bytes(4, "big"))
    twin.now = yamux.QUIET
    other = opened(twin)
    assert "ask" in [kind for kind, _, _ in twin.frames()]
    twin.now += PATIENCE
    twin.session.handle_timeout(twin.now)
    assert twin.session.is_over
    assert "no sign of life" in str(twin.session.failure)
    assert other.was_reset


def test_yamux_leaves_with_its_server_and_refuses_its_streams() -> None:
    twin = begun("yamux")
    stream = opened(twin)
    twin.hear(yamux.frame(yamux.DATA, yamux.SYN, 2, 0) + yamux.frame(yamux.GO_AWAY, 0, 0, 0))
    assert ("reset", 2, b"") in twin.frames()
    assert (twin.session.has_room, twin.session.open(0.0), twin.session.is_over) == (False, None, False)
    twin.hear(twin.data(1, b"goes on") + yamux.frame(yamux.WINDOW_UPDATE, yamux.RST, 1, 0))
    assert stream.was_reset
    assert twin.session.is_over


@pytest.mark.parametrize("wrong", [(yamux.GO_AWAY, 0, 1), (yamux.DATA, 0, 1 << 30), (9, 0, 0)])
def test_what_is_no_yamux_is_said(wrong) -> None:
    twin = begun("yamux")
    kind, flags, length = wrong
    with pytest.raises(BadPacket):
        twin.hear(yamux.frame(kind, flags, 0, length))


@every
def test_what_answers_in_other_words_is_said(kind: str) -> None:
    with pytest.raises(BadPacket, match=f"{kind} server"):
        begun(kind).hear(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@every
def test_a_server_that_has_us_answer_and_reads_nothing_is_left(kind: str) -> None:
    if kind != "yamux":
        return  # nothing else asks
    twin = begun(kind)
    with pytest.raises(BadPacket, match="reads nothing"):
        twin.session.receive_untrusted(yamux.frame(yamux.PING, yamux.SYN, 0, 1) * 5000, 0.0)


@every
def test_a_session_ends_with_what_it_stands_on(kind: str) -> None:
    twin, told = begun(kind), []
    stream = opened(twin)
    twin.session.waiting.append(lambda: told.append(True))
    twin.session.end(BadPacket("gone"))
    assert (twin.session.is_over, stream.was_reset, told) == (True, True, [True])
    assert twin.session.outgoing(0.0) == b""


@every
def test_one_without_streams_is_closed_after_a_while(kind: str) -> None:
    twin = begun(kind)
    stream = opened(twin)
    twin.hear(twin.data(stream.number, b"x"))
    twin.now = 5.0
    twin.hear(twin.data(stream.number, b"x"))
    stream.abort()
    twin.turn()
    twin.hear(twin.data(stream.number, b"late"))
    assert twin.session.next_timeout() == 5.0 + IDLE
    twin.session.handle_timeout(5.0 + IDLE)
    assert twin.session.is_over


@without_windows
def test_new_streams_avoid_one_whose_server_may_be_gone(kind: str) -> None:
    twin = begun(kind)
    stream = opened(twin)
    twin.now = PATIENCE
    twin.session.handle_timeout(twin.now)
    assert (twin.session.has_room, twin.session.is_over) == (False, False)
    twin.hear(twin.data(stream.number, b"here"))
    assert twin.session.has_room


def test_a_connection_of_mux_cool_has_so_many_streams_and_is_left() -> None:
    twin = begun("mux.cool")
    for number in range(1, 129):
        stream = opened(twin)
        assert stream.number == number
        twin.hear(twin.end(number))
    assert twin.session.open(0.0) is None
    assert twin.session.is_over


def test_mux_cool_says_the_target_with_the_first_bytes() -> None:
    twin = begun("mux.cool")
    stream = twin.session.open(0.0)
    twin.turn()
    assert twin.said == b""
    stream.send(cool.cool_target(TARGET).seal([b"GET /"]), 0.0)
    twin.turn()
    assert twin.frames() == [("new", 1, b"\x01\x01\xbb\x02\x0csite.example"), ("data", 1, b"GET /")]
    other = twin.session.open(0.0)
    other.abort()  # of which the server never heard
    twin.turn()
    assert len(twin.frames()) == 2
    twin.hear(cool.frame(1, cool.ALIVE, data=b"dropped") + cool.frame(1, cool.END, error=True))
    assert stream.was_reset
    assert not stream.readable
