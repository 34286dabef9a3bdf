"""Happy eyeballs in virtual time: scripts of what the machine starts when, and of what becomes of it."""

from __future__ import annotations

import errno
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.endpoint import Address
from tunflow.outbound.dial import ATTEMPT_DELAY, Dial
from tunflow.protocols.server_addresses import LOOK_UP_EVERY, ServerAddresses, interleaved

A = Address(socket.AF_INET6, ("2001:db8::1", 443, 0, 0))
B = Address(socket.AF_INET, ("192.0.2.1", 443))
C = Address(socket.AF_INET6, ("2001:db8::2", 443, 0, 0))
D = Address(socket.AF_INET, ("192.0.2.2", 443))
NAMES = {"A": A, "B": B, "C": C, "D": D}
START = 1000.0


def play(script: str, addresses: str, patience: float | None = None) -> Dial:
    """Run a script: `TIME start X …` and `TIME over ERROR` are expected, `TIME X connects|ERROR` and `add X` happen.

    Whatever the machine does that the script does not say, or at another time, fails.
    """
    machine = Dial((NAMES[each] for each in addresses), START, patience)
    lines = [line.split() for line in script.strip().splitlines()]
    for time, *words in lines:
        now = START + float(time)
        due = machine.next_timeout()
        while due is not None and due < now:
            machine.handle_timeout(due)
            assert not machine.starts, f"starts {machine.starts} at {due - START}, not said"
            due = machine.next_timeout()
        if due is not None and due <= now:
            machine.handle_timeout(due)
        match words:
            case ["start", *expected]:
                assert [NAMES[each] for each in expected] == machine.starts, time
                machine.starts.clear()
            case ["over", error]:
                assert machine.error == getattr(errno, error), time
                assert machine.next_timeout() is None
            case [who, "connects"]:
                machine.connected(NAMES[who])
                assert machine.winner == NAMES[who]
            case ["add", *more]:
                machine.add([NAMES[each] for each in more], now)
            case [who, error]:
                machine.failed(NAMES[who], getattr(errno, error), now)
    return machine


SCRIPTS = {
    "the first answers": ("A", "0 start A\n0.03 A connects"),
    "nobody waits for the others": ("AB", "0 start A\n0.2 A connects\n5 start"),
    "a silent one": ("AB", "0 start A\n0.25 start B\n0.28 B connects"),
    "the first is slow but wins": ("ABC", "0 start A\n0.25 start B\n0.4 A connects\n1 start"),
    "one after the other": ("ABCD", "0 start A\n0.25 start B\n0.5 start C\n0.75 start D"),
    "a refusal is not waited for": ("ABC", "0 start A\n0.01 A ECONNREFUSED\n0.01 start B\n0.26 start C"),
    "a family without a route": (
        "ABC",
        "0 start A\n0 A ENETUNREACH\n0 start B\n0.1 B ECONNREFUSED\n"
        "0.1 start C\n0.1 C ENETUNREACH\n0.1 over ECONNREFUSED",
    ),
    "what says most is told": (
        "AB",
        "0 start A\n0.25 start B\n1 B EHOSTUNREACH\n130 A ETIMEDOUT\n130 over ETIMEDOUT",
    ),
    "no address": ("", "0 over EADDRNOTAVAIL"),
    "more come while one is silent": ("A", "0 start A\n2 add A B\n2 start B\n2.01 B connects"),
    "more come in their turn": ("AB", "0 start A\n0.1 add C\n0.25 start B\n0.5 start C"),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_races(name: str) -> None:
    addresses, script = SCRIPTS[name]
    play(script, addresses)


def test_patience_ends_it() -> None:
    machine = play("0 start A\n0.25 start B\n0.3 B ECONNREFUSED\n20 over ECONNREFUSED", "AB", patience=20)
    assert machine.errors == {A: errno.ETIMEDOUT, B: errno.ECONNREFUSED}


@given(
    st.lists(st.sampled_from("ABCD"), unique=True, min_size=1),
    st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.floats(0, 0.6)), max_size=12),
)
def test_every_race_ends_with_a_winner_or_a_reason(order: list[str], fates: list[tuple[int, bool, float]]) -> None:
    machine, now = Dial([NAMES[each] for each in order], 0.0), 0.0
    running: list[Address] = []
    for number, connects, passes in fates:
        running += machine.starts
        machine.starts.clear()
        if running and machine.winner is None:
            fate = running.pop(number % len(running))
            if connects:
                machine.connected(fate)
            else:
                machine.failed(fate, errno.ECONNREFUSED, now)
        now += passes
        if (due := machine.next_timeout()) is not None and due <= now:
            machine.handle_timeout(now)
    while machine.winner is None and machine.error is None:
        running += machine.starts
        machine.starts.clear()
        now += ATTEMPT_DELAY
        machine.handle_timeout(now)
        if running:
            machine.failed(running.pop(), errno.ECONNREFUSED, now)
    assert (machine.winner is None) is (machine.error is not None)
    if machine.error is not None:
        assert machine.errors.keys() == {NAMES[each] for each in order}
    assert not (machine.winner and machine.starts)


# The memory of a server.


def test_families_take_turns() -> None:
    assert interleaved([A, C, B, D, A]) == (A, B, C, D)
    assert interleaved([B, D, A]) == (B, A, D)
    assert interleaved([A, C]) == (A, C)
    assert interleaved([]) == ()


def test_what_worked_is_first() -> None:
    server = ServerAddresses([A, C, B, D])
    server.worked(D)
    assert server.best == D
    assert server.in_order == (D, A, B, C)
    server.worked(Address(socket.AF_INET, ("192.0.2.99", 1)))
    assert server.best == D, "it is no address of the server any more"


def test_names_are_looked_up_again_but_not_all_the_time() -> None:
    asked: list[object] = []
    server = ServerAddresses([A], asked.append)
    for now in (10.0, 11.0, 10.0 + LOOK_UP_EVERY, 10.5 + LOOK_UP_EVERY):
        server.doubted(now)
    assert len(asked) == 2
    ServerAddresses([A]).doubted(0.0)  # an address: there is nothing to look up


def test_new_addresses_take_the_place_of_the_old() -> None:
    server = ServerAddresses([A, B], lambda found: found([B, D]))
    server.worked(B)
    server.doubted(0.0)
    assert (server.in_order, server.best) == ((B, D), B)
    server.use([C])
    assert (server.in_order, server.best) == ((C,), None)
    server.use([])
    assert server.in_order == (C,), "a lookup that finds nothing changes nothing"
