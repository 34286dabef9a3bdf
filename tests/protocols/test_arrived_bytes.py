"""The queue between what a session brings and what a stream's owner takes."""

from __future__ import annotations

import pytest

from tunflow.protocols.arrived_bytes import ArrivedBytes


@pytest.fixture
def arrived():
    made = ArrivedBytes()
    for piece in (b"abc", b"defg", b"h"):
        made.add(piece)
    return made


def test_pieces_stay_whole_where_they_fit(arrived):
    assert arrived.take(100) == [b"abc", b"defg", b"h"]
    assert not arrived
    assert arrived.take(1) == []


@pytest.mark.parametrize("limit", range(1, 9))
def test_whatever_is_taken_at_a_time_nothing_is_lost_or_repeated(arrived, limit):
    taken = []
    while arrived:
        waited = len(arrived)
        pieces = arrived.take(limit)
        assert sum(map(len, pieces)) == waited - len(arrived) == min(limit, waited)
        taken += pieces
    assert b"".join(taken) == b"abcdefgh"


def test_what_nobody_wants_is_gone(arrived):
    arrived.clear()
    assert len(arrived) == 0
    assert arrived.take(10) == []
