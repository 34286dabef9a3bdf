"""When a filter is asked and what passes: NEFilterDataVerdict's windows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.providers.filter_verdicts import FILTER_FLOW_BYTES_MAX, Action, DataVerdict
from tunflow.providers.filter_window import MAX_PEEK, FilterWindow, NotDecided


class Stream:
    """A direction whose bytes arrive when the test says so; what passes is taken."""

    def __init__(self, answers, peek=1):
        self.asked = []
        self.answers = list(answers)
        self.window = FilterWindow(self.ask, self.complete, peek)
        self.waiting = []
        self.passed = b""

    def ask(self, offset, data):
        self.asked.append((offset, data))
        return self.answers.pop(0)

    def complete(self):
        self.asked.append("complete")
        return self.answers.pop(0)

    def arrive(self, *pieces, ended=False):
        self.waiting += pieces
        data = b"".join(self.waiting)
        count, verdict = self.window.judge(self.waiting, len(data), ended)
        self.passed += data[:count]
        self.waiting = [data[count:]] if data[count:] else []
        return verdict


def data(pass_bytes, peek_bytes):
    return DataVerdict.data(pass_bytes=pass_bytes, peek_bytes=peek_bytes)


def test_the_filter_is_asked_when_enough_is_there_and_not_before():
    stream = Stream([data(4, 3)], peek=4)
    stream.arrive(b"ab")
    assert (stream.asked, stream.passed) == ([], b"")
    stream.arrive(b"cd", b"ef")
    assert (stream.asked, stream.passed) == ([(0, b"abcdef")], b"abcd")
    stream.answers.append(DataVerdict.allow())
    verdict = stream.arrive(b"g")
    assert stream.asked[1:] == [(4, b"efg")]
    assert verdict is not None
    assert verdict.action is Action.ALLOW


def test_bytes_that_may_pass_unseen_pass_as_they_come():
    stream = Stream([data(10, 2)], peek=1)
    stream.arrive(b"abc")
    stream.arrive(b"defgh")
    assert (stream.asked, stream.passed) == ([(0, b"abc")], b"abcdefgh")
    stream.answers.append(DataVerdict.drop())
    verdict = stream.arrive(b"ijkl")
    assert stream.asked[1:] == [(10, b"kl")]
    assert stream.passed == b"abcdefghij"
    assert verdict is not None
    assert verdict.action is Action.DROP


def test_passing_nothing_waits_for_more():
    stream = Stream([data(0, 1), data(0, 5), DataVerdict.drop()], peek=1)
    stream.arrive(b"a")
    stream.arrive()
    assert stream.asked == [(0, b"a")]
    stream.arrive(b"b")
    assert stream.asked[1:] == [(0, b"ab")]
    stream.arrive(b"cd")
    stream.arrive(b"e")
    assert stream.asked[2:] == [(0, b"abcde")]


def test_an_early_end_shows_what_there_is_and_then_says_so():
    stream = Stream([data(0, 100), DataVerdict.allow()], peek=100)
    verdict = stream.arrive(b"abc", ended=True)
    assert stream.asked == [(0, b"abc"), "complete"]
    assert verdict is not None
    assert verdict.action is Action.ALLOW


def test_an_end_without_bytes():
    stream = Stream([DataVerdict.allow()])
    verdict = stream.arrive(ended=True)
    assert stream.asked == ["complete"]
    assert verdict is not None


def test_a_pause_holds_everything():
    stream = Stream([DataVerdict.pause()])
    verdict = stream.arrive(b"abc")
    assert verdict is not None
    assert verdict.action is Action.PAUSE
    assert stream.arrive(b"def") is None
    stream.window.apply(data(2, 1))
    stream.answers.append(data(FILTER_FLOW_BYTES_MAX, 0))
    stream.arrive()
    assert stream.passed == b"abcdef"
    assert stream.window.open


def test_a_filter_that_never_says_anything_is_told_apart():
    stream = Stream([data(0, FILTER_FLOW_BYTES_MAX)], peek=FILTER_FLOW_BYTES_MAX)
    with pytest.raises(NotDecided):
        stream.arrive(bytes(MAX_PEEK))
    assert len(stream.asked) == 1


@given(
    st.lists(st.binary(max_size=6), max_size=12), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=60)
)
def test_nothing_is_lost_reordered_or_passed_unasked(chunks, verdicts):
    stream = Stream([data(*verdict) for verdict in verdicts] + [DataVerdict.allow()] * 100)
    whole = b"".join(chunks)
    arrived = b""
    for chunk in chunks:
        arrived += chunk
        verdict = stream.arrive(chunk)
        if verdict is not None:
            assert verdict.action is Action.ALLOW
            break
        assert stream.passed + b"".join(stream.waiting) == arrived
    assert whole.startswith(stream.passed)
    for offset, shown in (asked for asked in stream.asked if asked != "complete"):
        assert whole[offset : offset + len(shown)] == shown
