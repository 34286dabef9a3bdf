from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tunflow.protocols.shadowsocks.replay import ReplayFilter

CAPACITY = 5


def test_second_time_is_a_replay():
    replay = ReplayFilter()
    assert replay.admit(b"salt")
    assert not replay.admit(b"salt")
    assert replay.admit(b"other")


def test_remembers_capacity_and_forgets_after_twice_that():
    replay = ReplayFilter(CAPACITY)
    assert replay.admit(b"first")
    for n in range(CAPACITY):
        assert replay.admit(bytes((n,)))
    assert not replay.admit(b"first")
    for n in range(CAPACITY, 2 * CAPACITY):
        replay.admit(bytes((n,)))
    assert replay.admit(b"first")


@given(st.lists(st.binary(min_size=1, max_size=1), max_size=200))
def test_exact_within_the_last_capacity_and_bounded(salts):
    replay = ReplayFilter(CAPACITY)
    admitted: list[bytes] = []
    for salt in salts:
        fresh = replay.admit(salt)
        if salt in admitted[-CAPACITY:]:
            assert not fresh
        if salt not in admitted:
            assert fresh
        if fresh:
            admitted.append(salt)
        assert len(replay) <= 2 * CAPACITY
