"""Who may see what, when: lists with scopes, schedules, exceptions, allow-lists and closed doors."""

from __future__ import annotations

from datetime import UTC, datetime, time
from ipaddress import ip_address
from zoneinfo import ZoneInfo

import pytest

from tunflow.filter.block_list import BlockList
from tunflow.filter.judge import Door, Judge, ListUse, Subject, host_text
from tunflow.filter.schedule import Schedule
from tunflow.flow import ProcessInfo
from tunflow.rules.cidr import CIDRSet

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)  # a Monday
BERLIN = ZoneInfo("Europe/Berlin")


def use(name, *lines, **more):
    return ListUse(BlockList(name, lines), **more)


def subject(host, port=443, **more):
    return Subject(host, port, more.pop("protocol", "tcp"), **more)


def test_the_list_and_line_that_decide_are_named():
    judge = Judge((use("ads", "! x", "ads.example"), use("games", "games.example", category="play")))
    ruling = judge.judge(subject("www.games.example"), NOON)
    assert (ruling.blocked, ruling.list, ruling.line, ruling.category) == (True, "games", 1, "play")
    assert not judge.judge(subject("other.example"), NOON).blocked


def test_an_exception_of_one_list_counts_for_all():
    judge = Judge((use("ads", "example"), use("mine", "good.example", allows=True)))
    assert judge.judge(subject("bad.example"), NOON).blocked
    assert not judge.judge(subject("good.example"), NOON).blocked


def test_only_what_is_allowed():
    judge = Judge((use("school", "school.example", allows=True),), only_allowed=True)
    assert not judge.judge(subject("www.school.example"), NOON).blocked
    assert judge.judge(subject("elsewhere.example"), NOON).why == "no list allows it"


def test_lists_for_some_only():
    curl = ProcessInfo(executable="/usr/bin/curl", name="curl", uid=1000)
    judge = Judge(
        (
            use("by path", "a.example", apps=frozenset({"/usr/bin/curl"})),
            use("by name", "b.example", apps=frozenset({"wget"})),
            use("by user", "c.example", uids=frozenset({1000})),
            use("by device", "d.example", clients=CIDRSet(["192.168.1.0/24"])),
        )
    )
    assert judge.judge(subject("a.example", process=curl), NOON).blocked
    assert not judge.judge(subject("b.example", process=curl), NOON).blocked
    assert judge.judge(subject("b.example"), NOON).blocked  # nobody knows whose it is
    assert judge.judge(subject("c.example", process=curl), NOON).blocked
    tablet, elsewhere = ip_address("192.168.1.7").packed, ip_address("192.168.2.7").packed
    assert judge.judge(subject("d.example", client=tablet), NOON).blocked
    assert not judge.judge(subject("d.example", client=elsewhere), NOON).blocked


MINE, YOURS = bytes.fromhex("3c22fb010203"), bytes.fromhex("3c22fb040506")


@pytest.mark.parametrize(
    ("hardware", "blocked", "allowed"),
    [
        (MINE, True, True),
        (YOURS, False, False),
        (b"", False, False),  # this host itself
        (None, True, False),  # nobody knows: the stricter way
    ],
)
@pytest.mark.parametrize("clients", [None, CIDRSet(["192.168.1.0/24"])])
def test_lists_for_devices_by_hardware_address(hardware, blocked, allowed, clients):
    scope = {"hardware": frozenset({MINE}), "clients": clients}
    elsewhere = {"client": ip_address("192.168.2.7").packed, "hardware": hardware}
    judge = Judge((use("block", "x.example", **scope),))
    assert judge.needs_hardware
    assert judge.judge(subject("x.example", **elsewhere), NOON).blocked is blocked
    judge = Judge((use("allow", "x.example", allows=True, **scope),), only_allowed=True)
    assert judge.judge(subject("x.example", **elsewhere), NOON).blocked is not allowed
    if clients is not None:
        near = {**elsewhere, "client": ip_address("192.168.1.7").packed}
        assert not judge.judge(subject("x.example", **near), NOON).blocked


def test_what_is_allowed_to_some_is_not_to_strangers():
    """A block for all, and an exception for one program: nobody knows whose flow it is, so it stays blocked."""
    judge = Judge((use("all", "x.example"), use("teacher", "x.example", allows=True, apps=frozenset({"t"}))))
    assert judge.judge(subject("x.example"), NOON).blocked
    assert not judge.judge(subject("x.example", process=ProcessInfo(name="t")), NOON).blocked
    assert not judge.judge(subject("x.example"), NOON, strict=False).blocked


@pytest.mark.parametrize(
    ("at", "holds"),
    [
        ("2026-03-02T15:00", True),  # Monday
        ("2026-03-02T14:59", False),
        ("2026-03-02T17:59", True),
        ("2026-03-02T18:00", False),
        ("2026-03-07T16:00", False),  # Saturday
        ("2026-03-30T15:00", True),  # the day after summer time began
    ],
)
def test_hours_of_weekdays(at, holds):
    schedule = Schedule(frozenset(range(5)), time(15), time(18), BERLIN)
    assert schedule.holds(datetime.fromisoformat(at).replace(tzinfo=BERLIN)) is holds
    assert schedule.holds(datetime.fromisoformat(at).replace(tzinfo=BERLIN).astimezone(UTC)) is holds


@pytest.mark.parametrize(
    ("at", "holds"),
    [("2026-03-06T21:59", False), ("2026-03-06T22:00", True), ("2026-03-07T05:59", True), ("2026-03-07T06:00", False),
     ("2026-03-07T23:00", False), ("2026-03-06T03:00", False)],
)  # fmt: skip
def test_a_night_belongs_to_the_day_it_begins_on(at, holds):
    friday_night = Schedule(frozenset({4}), time(22), time(6), BERLIN)
    assert friday_night.holds(datetime.fromisoformat(at).replace(tzinfo=BERLIN)) is holds


@pytest.mark.parametrize(
    ("door", "flow"),
    [
        (Door.QUIC, subject("x.example", protocol="udp")),
        (Door.ENCRYPTED_DNS, subject("dns.google")),
        (Door.ENCRYPTED_DNS, subject("x.example", port=853)),
        (Door.ENCRYPTED_DNS, subject(None, address=ip_address("1.1.1.1").packed)),
        (Door.VPN, subject("x.example", port=51820, protocol="udp")),
    ],
)
def test_doors(door, flow):
    assert Judge(doors=frozenset({door})).judge(flow, NOON).blocked
    assert not Judge().judge(flow, NOON).blocked


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("WWW.Example.COM.", "www.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("3232235777", "192.168.1.1"),
        ("0xC0.0xA8.1.1", "192.168.1.1"),
        ("0300.0250.1.1", "192.168.1.1"),
        ("192.168.257", "192.168.1.1"),
        ("[::ffff:192.168.1.1]", "192.168.1.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("1.example", "1.example"),
    ],
)
def test_every_spelling_of_a_host_is_one(written, meant):
    assert host_text(written) == meant
