"""The life of a network under hotspot helpers, as a table: which state follows, and which command is given.

Read first: NEHotspotHelper.h (its picture of the states). Pure.

- A join has every helper asked (EVALUATE). The highest confidence wins, the first that is HIGH ends the poll.
- Who won is asked to AUTHENTICATE; that succeeds, wants a user (PRESENT_UI), or fails for now or for good.
- Once authenticated it is asked again and again (MAINTAIN), and may find that it must authenticate anew.
- LOGOFF comes when the network is left on purpose. FILTER_SCAN_LIST may come at any time and changes nothing.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import NamedTuple


class HotspotHelperCommandType(IntEnum):
    """NEHotspotHelperCommandType, by its numbers."""

    NONE = 0
    FILTER_SCAN_LIST = 1
    EVALUATE = 2
    AUTHENTICATE = 3
    PRESENT_UI = 4
    MAINTAIN = 5
    LOGOFF = 6


class HotspotHelperResult(IntEnum):
    """NEHotspotHelperResult, by its numbers."""

    SUCCESS = 0
    FAILURE = 1
    UI_REQUIRED = 2
    """To AUTHENTICATE only."""
    COMMAND_NOT_RECOGNIZED = 3
    AUTHENTICATION_REQUIRED = 4
    """To MAINTAIN only."""
    UNSUPPORTED_NETWORK = 5
    """To AUTHENTICATE and PRESENT_UI only: another helper is asked."""
    TEMPORARY_FAILURE = 6
    """To AUTHENTICATE and PRESENT_UI only: the network is left."""


class HotspotState(Enum):
    """Where a network stands."""

    IDLE = "not joined"
    EVALUATING = "evaluating"
    AUTHENTICATING = "authenticating"
    PRESENTING_UI = "waiting for somebody to log in"
    MAINTAINING = "maintaining"
    AUTHENTICATED = "authenticated"
    FAILED = "failed"


class HotspotEvent(Enum):
    """What happens to it."""

    JOINED = "joined"
    TAKEN = "a helper takes it"
    UNTAKEN = "no helper takes it"
    SUCCESS = "success"
    UI_REQUIRED = "ui required"
    UNSUPPORTED = "unsupported network"
    FAILURE = "failure"
    REQUIRED = "authentication required"
    PERIOD = "the time to look again"
    LEFT = "left"


class HotspotStep(NamedTuple):
    """What follows."""

    state: HotspotState
    command: HotspotHelperCommandType = HotspotHelperCommandType.NONE


_S, _E, _C = HotspotState, HotspotEvent, HotspotHelperCommandType

TABLE: dict[tuple[HotspotState, HotspotEvent], HotspotStep] = {
    (_S.IDLE, _E.JOINED): HotspotStep(_S.EVALUATING, _C.EVALUATE),
    (_S.FAILED, _E.JOINED): HotspotStep(_S.EVALUATING, _C.EVALUATE),
    (_S.EVALUATING, _E.TAKEN): HotspotStep(_S.AUTHENTICATING, _C.AUTHENTICATE),
    (_S.EVALUATING, _E.UNTAKEN): HotspotStep(_S.AUTHENTICATED),
    (_S.AUTHENTICATING, _E.SUCCESS): HotspotStep(_S.AUTHENTICATED),
    (_S.AUTHENTICATING, _E.UI_REQUIRED): HotspotStep(_S.PRESENTING_UI, _C.PRESENT_UI),
    (_S.AUTHENTICATING, _E.UNSUPPORTED): HotspotStep(_S.EVALUATING, _C.EVALUATE),
    (_S.AUTHENTICATING, _E.FAILURE): HotspotStep(_S.FAILED),
    (_S.PRESENTING_UI, _E.SUCCESS): HotspotStep(_S.AUTHENTICATED),
    (_S.PRESENTING_UI, _E.UNSUPPORTED): HotspotStep(_S.EVALUATING, _C.EVALUATE),
    (_S.PRESENTING_UI, _E.FAILURE): HotspotStep(_S.FAILED),
    (_S.AUTHENTICATED, _E.JOINED): HotspotStep(_S.MAINTAINING, _C.MAINTAIN),
    (_S.AUTHENTICATED, _E.PERIOD): HotspotStep(_S.MAINTAINING, _C.MAINTAIN),
    (_S.MAINTAINING, _E.SUCCESS): HotspotStep(_S.AUTHENTICATED),
    (_S.MAINTAINING, _E.REQUIRED): HotspotStep(_S.AUTHENTICATING, _C.AUTHENTICATE),
    (_S.MAINTAINING, _E.FAILURE): HotspotStep(_S.FAILED),
    (_S.FAILED, _E.LEFT): HotspotStep(_S.IDLE),
    (_S.EVALUATING, _E.LEFT): HotspotStep(_S.IDLE),
    (_S.AUTHENTICATING, _E.LEFT): HotspotStep(_S.IDLE),
    (_S.PRESENTING_UI, _E.LEFT): HotspotStep(_S.IDLE),
    (_S.MAINTAINING, _E.LEFT): HotspotStep(_S.IDLE),
    (_S.AUTHENTICATED, _E.LEFT): HotspotStep(_S.IDLE),
}
"""What is not here changes nothing."""

_EVENTS = {
    HotspotHelperResult.SUCCESS: _E.SUCCESS,
    HotspotHelperResult.UI_REQUIRED: _E.UI_REQUIRED,
    HotspotHelperResult.AUTHENTICATION_REQUIRED: _E.REQUIRED,
    HotspotHelperResult.UNSUPPORTED_NETWORK: _E.UNSUPPORTED,
}


def after(state: HotspotState, event: HotspotEvent) -> HotspotStep:
    """What follows on an event."""
    return TABLE.get((state, event), HotspotStep(state))


def event_of(command: HotspotHelperCommandType, result: HotspotHelperResult) -> HotspotEvent:
    """What a helper's result means; one that does not belong to the command is a failure."""
    event = _EVENTS.get(result, _E.FAILURE)
    allowed = {
        _C.AUTHENTICATE: {_E.SUCCESS, _E.UI_REQUIRED, _E.UNSUPPORTED},
        _C.PRESENT_UI: {_E.SUCCESS, _E.UNSUPPORTED},
        _C.MAINTAIN: {_E.SUCCESS, _E.REQUIRED},
    }.get(command, set())
    return event if event in allowed else _E.FAILURE
