"""Which app's flows go where: the first entry counts, and what cannot be told is another app's."""

from __future__ import annotations

import pytest

from tunflow.flow import ProcessInfo
from tunflow.profiles.file import parse
from tunflow.profiles.profile import Profile
from tunflow.rules.conditions import Facts, Need
from tunflow.tunnel.app_rules import asks_for_processes
from tunflow.tunnel.compile import compile_profile

CURL = ProcessInfo(10, "/usr/bin/curl", "curl", 1000, "/user.slice/app")
WGET = ProcessInfo(11, "/usr/bin/wget", "wget", 0, "/system.slice")
APPS = """
other_apps = "OTHER"
server = "direct://"
rules = ["DOMAIN-SUFFIX,plain.example,DIRECT"]
[[apps]]
path = "/usr/bin/c*"
domains = ["blocked.example"]
action = "block"
[[apps]]
path = "/usr/bin/curl"
[[apps]]
cgroup = "/system.slice"
uid = 0
action = "direct"
"""


def target(process: ProcessInfo | None, name: str | None, other: str = "direct") -> str | Need:
    rules = compile_profile(parse(APPS.replace("OTHER", other), "p.toml")).rules
    known = name != ""
    facts = Facts(
        "tcp", bytes(4), 1, 443, bytes(4), name if known else None, name_sought=known, find_process=lambda: process
    )
    found = rules.table.match(facts)
    return found if isinstance(found, Need) else (found or rules.default).target


@pytest.mark.parametrize(
    ("process", "name", "expected"),
    [
        (CURL, "x.example", "PROXY"),
        (CURL, "www.blocked.example", "REJECT"),
        (CURL, "plain.example", "DIRECT"),  # an app in the tunnel is still subject to the rules
        (CURL, "", Need.NAME),  # only its name tells whether it is blocked
        (WGET, "x.example", "DIRECT"),
        (WGET, "", "DIRECT"),  # no name is looked for where it makes no difference
        (None, "x.example", "DIRECT"),
        (ProcessInfo(uid=1000), "x.example", "DIRECT"),
    ],
)
def test_where_it_goes(process: ProcessInfo | None, name: str, expected: str | Need) -> None:
    assert target(process, name) == expected


@pytest.mark.parametrize(("other", "expected"), [("direct", "DIRECT"), ("block", "REJECT"), ("tunnel", "PROXY")])
def test_other_apps(other: str, expected: str) -> None:
    assert target(None, "x.example", other) == expected


def test_the_entry_is_named_with_its_line() -> None:
    rules = compile_profile(parse(APPS.replace("OTHER", "direct"), "p.toml")).rules
    facts = Facts("tcp", bytes(4), 1, 443, bytes(4), "x.example", find_process=lambda: WGET)
    found = rules.table.match(facts)
    assert not isinstance(found, Need)
    assert found is not None
    assert (found.file, found.line, found.text) == ("p.toml", 11, "apps[2] uid 0, cgroup /system.slice")


def test_without_apps_nothing_is_asked_of_processes() -> None:
    rules = compile_profile(parse('server="direct://"\nother_apps="block"', "p.toml")).rules

    def find() -> ProcessInfo | None:
        pytest.fail("nobody needs to know")

    facts = Facts("tcp", bytes(4), 1, 443, bytes(4), "x.example", find_process=find)
    assert rules.table.match(facts) is None


@pytest.mark.parametrize(
    ("profile", "asks"),
    [
        (Profile(server=["tor://?isolate=program"]), True),
        (Profile(server=["tor://?isolate=flow"]), False),
        (Profile(servers={"onion": {"url": "tor://?isolate=program"}}), True),
        (Profile(server=["ss://aes-256-gcm:secret@host.example:1"]), False),
        (Profile(server=["direct://"], filter={"lists": [{"name": "a", "file": "a"}]}), False),
        (Profile(server=["direct://"], filter={"lists": [{"name": "a", "file": "a", "apps": ["x"]}]}), True),
        (Profile(server=["direct://"], filter={"lists": [{"name": "a", "file": "a", "uids": [1]}]}), True),
        (Profile(server=["direct://"], filter={"privacy": "full"}), True),
        (Profile(server=["direct://"], filter={"enabled": False, "privacy": "full"}), False),
    ],
)
def test_who_asks_for_programs_has_the_rights_for_it(profile: Profile, asks: bool) -> None:
    assert asks_for_processes(profile) is asks
