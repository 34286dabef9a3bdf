"""The window of seen packet ids, beside a set that forgets what is too old."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tunflow.protocols.replay_window import WINDOW, ReplayWindow

FIRST = st.sampled_from([0, 1])
IDS = st.one_of(
    st.integers(0, 200),
    st.integers(8000, 8400),
    st.integers(0, 3 * WINDOW),
    st.integers(2**20, 2**20 + 20_000),
    st.sampled_from([0, 63, 64, 65, WINDOW - 1, WINDOW, WINDOW + 1, 8191, 8192, 2**60, 2**64 - 2**13 - 2]),
)


@given(FIRST, st.lists(IDS | st.tuples(st.integers(1, 300)), max_size=80))
def test_it_is_a_set_with_an_edge(first: int, steps: list[int | tuple[int]]) -> None:
    window, seen, highest = ReplayWindow(first), set(range(first)), first - 1
    for step in steps:
        if isinstance(step, tuple):  # that many come in order
            assert window.next == highest + 1
            window.add_next(*step)
            seen |= set(range(highest + 1, highest + 1 + step[0]))
            highest += step[0]
            continue
        expected = step not in seen and highest - step <= WINDOW
        assert window.is_new(step) == expected, step
        if expected:
            window.add(step)
            seen.add(step)
            highest = max(highest, step)


@given(FIRST, st.integers(1, 2**40), st.integers(0, 3 * WINDOW), st.data())
def test_an_id_is_taken_once_after_any_jump(first: int, start: int, ahead: int, data: st.DataObject) -> None:
    window = ReplayWindow(first)
    window.add(start)
    window.add(start + ahead)
    behind = data.draw(st.integers(0, min(start + ahead - first, WINDOW)))
    packet = start + ahead - behind
    assert window.is_new(packet) == (packet not in {start, start + ahead})
    assert not window.is_new(start)
