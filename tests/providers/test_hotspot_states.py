"""The life of a network under hotspot helpers is the picture of Apple's header."""

from __future__ import annotations

from itertools import product

import pytest

from tunflow.providers.hotspot_states import (
    TABLE,
    HotspotEvent,
    HotspotHelperCommandType,
    HotspotHelperResult,
    HotspotState,
    after,
    event_of,
)

S, E, C, R = HotspotState, HotspotEvent, HotspotHelperCommandType, HotspotHelperResult


@pytest.mark.parametrize(
    ("events", "states", "commands"),
    [
        ([E.JOINED, E.UNTAKEN], [S.EVALUATING, S.AUTHENTICATED], [C.EVALUATE, C.NONE]),
        (
            [E.JOINED, E.TAKEN, E.UI_REQUIRED, E.SUCCESS, E.PERIOD, E.REQUIRED, E.SUCCESS, E.LEFT],
            [
                S.EVALUATING, S.AUTHENTICATING, S.PRESENTING_UI, S.AUTHENTICATED, S.MAINTAINING, S.AUTHENTICATING,
                S.AUTHENTICATED, S.IDLE,
            ],
            [C.EVALUATE, C.AUTHENTICATE, C.PRESENT_UI, C.NONE, C.MAINTAIN, C.AUTHENTICATE, C.NONE, C.NONE],
        ),
    ],
)  # fmt: skip
def test_a_life(events: list[E], states: list[S], commands: list[C]) -> None:
    state = S.IDLE
    for event, expected, command in zip(events, states, commands, strict=True):
        state, given = after(state, event)
        assert (state, given) == (expected, command)


def test_what_is_not_in_the_table_changes_nothing() -> None:
    for state, event in product(S, E):
        if (state, event) not in TABLE:
            assert after(state, event) == (state, C.NONE)


def test_every_state_is_reached_and_left() -> None:
    assert {step.state for step in TABLE.values()} == set(S)
    assert {state for state, _ in TABLE} == set(S)


@pytest.mark.parametrize(
    ("command", "result", "event"),
    [
        (C.AUTHENTICATE, R.SUCCESS, E.SUCCESS), (C.AUTHENTICATE, R.UI_REQUIRED, E.UI_REQUIRED),
        (C.AUTHENTICATE, R.AUTHENTICATION_REQUIRED, E.FAILURE), (C.PRESENT_UI, R.UI_REQUIRED, E.FAILURE),
        (C.MAINTAIN, R.AUTHENTICATION_REQUIRED, E.REQUIRED), (C.MAINTAIN, R.UNSUPPORTED_NETWORK, E.FAILURE),
        (C.PRESENT_UI, R.TEMPORARY_FAILURE, E.FAILURE), (C.LOGOFF, R.SUCCESS, E.FAILURE),
    ],
)  # fmt: skip
def test_results(command: C, result: R, event: E) -> None:
    assert event_of(command, result) is event
