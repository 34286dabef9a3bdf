"""The states of a TCP connection and the moves between them.

Read RFC 9293 §3.3.2 first. The table holds the legal edges; the guards stay in the code that moves. What is absent
is a bug and raises. One state is ours: a SYN is *held*, unanswered, until the far side of the flow has answered, so
that refusal and time-out reach the client as they would without us. LISTEN does not occur: the stack listens on
everything. `OPENINGS` names the two states that a connection can begin in.
"""

from __future__ import annotations

from enum import IntEnum


class State(IntEnum):
    """RFC 9293 §3.3.2, and SYN_HELD. The order matters: from ESTABLISHED on, the connection is synchronized."""

    CLOSED = 0
    SYN_HELD = 1
    SYN_SENT = 2
    SYN_RECEIVED = 3
    ESTABLISHED = 4
    FIN_WAIT_1 = 5
    FIN_WAIT_2 = 6
    CLOSE_WAIT = 7
    CLOSING = 8
    LAST_ACK = 9
    TIME_WAIT = 10


CLOSED = State.CLOSED
SYN_HELD = State.SYN_HELD
SYN_SENT = State.SYN_SENT
SYN_RECEIVED = State.SYN_RECEIVED
ESTABLISHED = State.ESTABLISHED
FIN_WAIT_1 = State.FIN_WAIT_1
FIN_WAIT_2 = State.FIN_WAIT_2
CLOSE_WAIT = State.CLOSE_WAIT
CLOSING = State.CLOSING
LAST_ACK = State.LAST_ACK
TIME_WAIT = State.TIME_WAIT
"""The members by themselves: a look-up in an enum costs several times one in a module, and a short connection needs
thirty."""

OPENINGS: dict[State, str] = {
    State.SYN_HELD: "SYN received",
    State.SYN_SENT: "connect / send SYN",
}

TRANSITIONS: dict[State, dict[State, str]] = {
    State.SYN_HELD: {
        State.SYN_RECEIVED: "far side answered / send SYN,ACK",
        State.CLOSED: "far side refused / send RST or ICMP; or RST received",
    },
    State.SYN_SENT: {
        State.ESTABLISHED: "SYN,ACK received / send ACK",
        State.SYN_RECEIVED: "SYN received / send SYN,ACK",
        State.CLOSED: "RST received, abort or time-out",
    },
    State.SYN_RECEIVED: {
        State.ESTABLISHED: "ACK of SYN received",
        State.FIN_WAIT_1: "close / send FIN",
        State.CLOSED: "RST received, abort or time-out",
    },
    State.ESTABLISHED: {
        State.FIN_WAIT_1: "close / send FIN",
        State.CLOSE_WAIT: "FIN received / send ACK",
        State.CLOSED: "RST received, abort or time-out",
    },
    State.FIN_WAIT_1: {
        State.FIN_WAIT_2: "ACK of FIN received",
        State.CLOSING: "FIN received / send ACK",
        State.TIME_WAIT: "FIN and ACK of FIN received / send ACK",
        State.CLOSED: "RST received, abort or time-out",
    },
    State.FIN_WAIT_2: {
        State.TIME_WAIT: "FIN received / send ACK",
        State.CLOSED: "RST received, abort or time-out",
    },
    State.CLOSE_WAIT: {
        State.LAST_ACK: "close / send FIN",
        State.CLOSED: "RST received, abort or time-out",
    },
    State.CLOSING: {
        State.TIME_WAIT: "ACK of FIN received",
        State.CLOSED: "RST received, abort or time-out",
    },
    State.LAST_ACK: {
        State.CLOSED: "ACK of FIN received, RST received or time-out",
    },
    State.TIME_WAIT: {
        State.CLOSED: "2 MSL passed, or a new SYN took the place",
    },
    State.CLOSED: {},
}


def check_move(old: State, new: State) -> None:
    """Raise AssertionError unless the table has an edge from `old` to `new`."""
    if new not in TRANSITIONS[old]:
        raise AssertionError(f"no TCP transition from {old.name} to {new.name}")
