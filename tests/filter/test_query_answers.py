"""Rules that depend on who asks and for what, and that say what names are answered with."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tunflow.addresses import ip_address
from tunflow.filter.block_list import BlockList
from tunflow.filter.conditions import TYPES
from tunflow.filter.devices import Devices, KnownDevice
from tunflow.filter.judge import Judge, ListUse, Subject
from tunflow.filter.query_answers import query_ruling
from tunflow.rules.cidr import CIDRSet

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MAC = bytes.fromhex("3c22fb010203")
DEVICES = Devices(
    (
        KnownDevice("tv", frozenset({"device_tv"}), CIDRSet(["192.168.7.20"]), frozenset()),
        KnownDevice("Ann's phone", frozenset({"user_child", "os_android"}), None, frozenset({MAC})),
    )
)


def answered(lines: list[str], kind: str = "A", host: str = "bad.example", client: str = "192.168.7.9") -> object:
    """What a client is told: addresses, a name, a code's name, True for "no such record"; None where no rule says."""
    judge = Judge((ListUse(BlockList("test", lines)),), devices=DEVICES)
    subject = Subject(host, 443, "tcp", client=ip_address(client).packed, hardware=b"")
    found = query_ruling(judge, subject, TYPES[kind], NOW)
    if found is None:
        return None
    if found.alias or found.code:
        return found.alias or found.code
    here = [data for each, data in found.records if each == TYPES[kind]]
    return [str(ip_address(data)) for data in here] if kind in {"A", "AAAA"} and here else here or True


@pytest.mark.parametrize(
    ("lines", "kind", "host", "told"),
    [
        (["||bad.example^$dnsrewrite=192.0.2.1"], "A", "www.bad.example", ["192.0.2.1"]),
        (["|bad.example^$dnsrewrite=192.0.2.1"], "A", "www.bad.example", None),
        (["||bad.example^$dnsrewrite=192.0.2.1"], "AAAA", "bad.example", True),
        (["||bad.example^$dnsrewrite=192.0.2.1"], "HTTPS", "bad.example", True),
        (["||bad.example^$dnsrewrite=NOERROR;A;192.0.2.1"], "A", "bad.example", ["192.0.2.1"]),
        (["||bad.example^$dnsrewrite=noerror;a;192.0.2.1"], "A", "bad.example", ["192.0.2.1"]),
        (["||bad.example^$dnsrewrite=2001:db8::1"], "AAAA", "bad.example", ["2001:db8::1"]),
        (["||bad.example^$dnsrewrite=NOERROR;AAAA;2001:db8::1"], "AAAA", "bad.example", ["2001:db8::1"]),
        (
            ["||bad.example^$dnsrewrite=192.0.2.1", "||bad.example^$dnsrewrite=192.0.2.2"],
            "A",
            "bad.example",
            ["192.0.2.1", "192.0.2.2"],
        ),
        (["||bad.example^$dnsrewrite=other.example"], "A", "bad.example", "other.example"),
        (["||bad.example^$dnsrewrite=NOERROR;CNAME;other.example."], "A", "bad.example", "other.example"),
        (["||bad.example^$dnsrewrite=192.0.2.1", "||bad.example^$dnsrewrite=o.test"], "A", "bad.example", "o.test"),
        (["||bad.example^$dnsrewrite=REFUSED"], "A", "bad.example", 5),
        (["||bad.example^$dnsrewrite=REFUSED;;"], "A", "bad.example", 5),
        (["||bad.example^$dnsrewrite=SERVFAIL"], "A", "bad.example", 2),
        (["||bad.example^$dnsrewrite=NOERROR"], "A", "bad.example", True),
        (["||bad.example^$dnsrewrite=NOERROR;;"], "A", "bad.example", True),
        (["||bad.example^$dnsrewrite=NOERROR;TXT;hello there"], "TXT", "bad.example", [b"\x0bhello there"]),
        (["||bad.example^$dnsrewrite=NOERROR;MX;10 m.example"], "MX", "bad.example", [b"\0\x0a\1m\7example\0"]),
        (["||bad.example^$dnsrewrite=NOERROR;SRV;1 2 443 m.example"], "SRV", "bad.example",
         [b"\0\1\0\2\1\xbb\1m\7example\0"]),
        (["||bad.example^$dnsrewrite=NOERROR;PTR;m.example."], "PTR", "bad.example", [b"\1m\7example\0"]),
        ([r"/^bad\./$dnsrewrite=192.0.2.1"], "A", "bad.example", ["192.0.2.1"]),
        (["||bad.example^$dnsrewrite=192.0.2.1", "@@||bad.example^$dnsrewrite"], "A", "bad.example", None),
        (["||bad.example^$dnsrewrite=192.0.2.1", "@@||bad.example^$dnsrewrite=192.0.2.1"], "A", "bad.example", None),
        (["||bad.example^$dnsrewrite=192.0.2.1", "@@||bad.example^$dnsrewrite=192.0.2.9"], "A", "bad.example",
         ["192.0.2.1"]),
        (["||bad.example^$dnsrewrite=192.0.2.1,important", "@@||bad.example^$dnsrewrite"], "A", "bad.example",
         ["192.0.2.1"]),
        (["||bad.example^$dnsrewrite=192.0.2.1", "||bad.example^$dnsrewrite=192.0.2.1,badfilter"], "A", "bad.example",
         None),
        (["192.0.2.7 bad.example www.bad.example"], "A", "www.bad.example", ["192.0.2.7"]),
        (["192.0.2.7 bad.example"], "A", "x.bad.example", None),
        (["192.0.2.7 bad.example", "2001:db8::7 bad.example"], "AAAA", "bad.example", ["2001:db8::7"]),
        (["||bad.example^$dnstype=AAAA"], "AAAA", "bad.example", True),
        (["||bad.example^$dnstype=AAAA"], "A", "bad.example", None),
        (["||bad.example^$dnstype=https|svcb"], "HTTPS", "bad.example", True),
        (["||bad.example^$dnstype=~A|~AAAA"], "A", "bad.example", None),
        (["||bad.example^$dnstype=~A|~AAAA"], "TXT", "bad.example", True),
        (["||bad.example^$dnstype=TYPE65"], "HTTPS", "bad.example", True),
        (["||bad.example^$dnstype=AAAA", "@@||bad.example^$dnstype=AAAA"], "AAAA", "bad.example", None),
        (["||bad.example^$dnstype=AAAA", "@@||bad.example^"], "AAAA", "bad.example", None),
        (["||bad.example^$dnstype=AAAA,important", "@@||bad.example^"], "AAAA", "bad.example", True),
        (["||bad.example^$dnstype=A,dnsrewrite=192.0.2.1"], "AAAA", "bad.example", None),
        (["*$dnstype=HTTPS,denyallow=good.example"], "HTTPS", "bad.example", True),
        (["*$dnstype=HTTPS,denyallow=bad.example"], "HTTPS", "bad.example", None),
    ],
)  # fmt: skip
def test_what_a_query_is_answered_with(lines: list[str], kind: str, host: str, told: object) -> None:
    assert answered(lines, kind, host) == told


@pytest.mark.parametrize("lines", [["||bad.example^$dnsrewrite=192.0.2.1"], ["||bad.example^$dnstype=AAAA"]])
def test_rules_about_queries_say_nothing_about_flows(lines: list[str]) -> None:
    judge = Judge((ListUse(BlockList("test", lines)),))
    assert not judge.judge(Subject("bad.example", 443, "tcp"), NOW).blocked


@pytest.mark.parametrize(
    ("option", "client", "hardware", "blocked"),
    [
        ("client=192.168.7.9", "192.168.7.9", b"", True),
        ("client=192.168.7.9", "192.168.7.8", b"", False),
        ("client=192.168.7.0/24", "192.168.7.8", b"", True),
        ("client=~192.168.7.0/24", "192.168.7.8", b"", False),
        ("client=~192.168.7.0/24", "192.168.8.8", b"", True),
        ("client=192.168.7.0/24|~192.168.7.8", "192.168.7.8", b"", False),
        ("client=2001:db8::/32", "2001:db8::9", b"", True),
        ("client=tv", "192.168.7.20", b"", True),
        ("client=tv", "192.168.7.21", b"", False),
        ("client='tv'|10.0.0.1", "192.168.7.20", b"", True),
        (r"client='Ann\'s phone'", "192.168.7.30", MAC, True),
        ('client="Ann\'s phone"', "192.168.7.30", MAC, True),
        (r"client=~'Ann\'s phone'", "192.168.7.30", MAC, False),
        (r"client=~'Ann\'s phone'", "192.168.7.31", b"", True),
        (r"client='Ann\'s phone'", "192.168.7.31", None, True),
        ("ctag=device_tv", "192.168.7.20", b"", True),
        ("ctag=device_tv", "192.168.7.21", b"", False),
        ("ctag=~user_child", "192.168.7.30", MAC, False),
        ("ctag=~user_child", "192.168.7.20", b"", True),
        ("ctag=user_child|device_tv", "192.168.7.30", MAC, True),
        ("ctag=user_child,client=192.168.7.30", "192.168.7.30", MAC, True),
        ("ctag=user_child,client=192.168.7.31", "192.168.7.30", MAC, False),
    ],
)
def test_whom_a_rule_is_for(option: str, client: str, hardware: bytes | None, blocked: bool) -> None:
    """Where a device is not known yet, it counts as the one that is meant."""
    judge = Judge((ListUse(BlockList("test", [f"||bad.example^${option}"])),), devices=DEVICES)
    subject = Subject("bad.example", 443, "tcp", client=ip_address(client).packed, hardware=hardware)
    assert judge.looks_at_flows
    assert judge.judge(subject, NOW).blocked is blocked
    about_path = Judge((ListUse(BlockList("test", [f"||bad.example/x${option}"])),), devices=DEVICES)
    asked = subject._replace(port=80, url="http://bad.example/x")
    assert about_path.judge(asked, NOW).blocked is blocked


def test_an_exception_for_one_client_is_for_nobody_else() -> None:
    judge = Judge((ListUse(BlockList("test", ["||bad.example^", "@@||bad.example^$client=192.168.7.9"])),))
    for client, blocked in (("192.168.7.9", False), ("192.168.7.8", True)):
        subject = Subject("bad.example", 443, "tcp", client=ip_address(client).packed)
        assert judge.judge(subject, NOW).blocked is blocked


@pytest.mark.parametrize(
    "line",
    [
        "||bad.example^$dnsrewrite",
        "||bad.example^$dnsrewrite=",
        "||bad.example^$dnsrewrite=NOERROR;A;2001:db8::1",
        "||bad.example^$dnsrewrite=NOERROR;A;x",
        "||bad.example^$dnsrewrite=MAYBE;;",
        "||bad.example^$dnsrewrite=NOERROR;MX;m.example",
        "||bad.example^$dnsrewrite=NOERROR;MX;99999 m.example",
        "||bad.example^$dnsrewrite=NOERROR;NONE;x",
        "||bad.example^$dnstype=",
        "||bad.example^$dnstype=B",
        "||bad.example^$client=",
        "||bad.example^$ctag=|",
    ],
)
def test_what_is_no_condition_is_broken(line: str) -> None:
    made = BlockList("test", [line])
    assert (len(made), made.broken, made.unsupported) == (0, 1, 0), made.not_kept
