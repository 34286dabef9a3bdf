"""Servers that a provider keeps at an address: as they were imported, as they were fetched, and what never opens."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tunflow.errors import LocalError, RemoteError
from tunflow.profiles import file as profile_file
from tunflow.profiles.imports.clash import read_clash
from tunflow.profiles.imports.fetch import ServerReply
from tunflow.profiles.imports.surge import read_surge
from tunflow.profiles.profile import Profile
from tunflow.profiles.redaction import redacted
from tunflow.profiles.store import parse_text
from tunflow.rules.syntax import MissingData
from tunflow.tunnel import rule_update
from tunflow.tunnel.check import check
from tunflow.tunnel.compile import compile_profile
from tunflow.tunnel.list_refresh import ListRefresh
from tunflow.tunnel.outbounds import make_outbounds
from tunflow.tunnel.plan import Plan
from tunflow.tunnel.rule_data import DATA_VARIABLE, server_list_path
from tunflow.tunnel.rule_lists import RuleLists
from tunflow.tunnel.server_lists import sources

URL = "https://p.example/list?token=secret"


def link(address: str, name: str) -> str:
    return f"ss://YWVzLTI1Ni1nY206cA@{address}:8388#{name}"


IMPORTED = f"{link('192.0.2.1', 'HK-1')}\n{link('192.0.2.2', 'US-1')}\n"
FETCHED = f"{link('192.0.2.3', 'HK-1')}\n{link('192.0.2.4', 'HK-2')}\n{link('192.0.2.5', 'expired')}\nwhat://no\n"
CLASH = f"""\
proxies:
- {{name: own, type: ss, server: 192.0.2.9, port: 8388, cipher: aes-256-gcm, password: p}}
proxy-providers:
  sub:
    type: http
    url: "{URL}"
    interval: 600
    exclude-filter: expired
    override: {{additional-prefix: "s "}}
proxy-groups:
- {{name: HK, type: url-test, use: [sub], filter: HK}}
- {{name: US, type: fallback, use: [sub], filter: US, proxies: [DIRECT]}}
- {{name: all, type: select, proxies: [DIRECT, own], use: [sub]}}
rules:
- DOMAIN-SUFFIX,us.example,US
- MATCH,HK
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    return tmp_path


def imported() -> Profile:
    draft = read_clash(CLASH, "c.yaml", lambda _: IMPORTED.encode())
    return draft.profile("p")


def put(folder: Path, content: str, when: str = "2100-01-01T00:00:00+00:00") -> None:
    """Have a list there as if it had been fetched."""
    path = folder / server_list_path(URL)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    record = {"url": URL, "fetched": when, "sha256": hashlib.sha256(content.encode()).hexdigest()}
    path.with_name(path.name + ".json").write_text(json.dumps(record))


def members(plan: Plan) -> dict[str, tuple[str, ...]]:
    assert plan.rules is not None
    return {group.name: group.members for group in plan.rules.groups}


def hops(plan: Plan) -> dict[str, str]:
    return {name: str(chain[0].first_hop[0]) for name, chain in plan.chains.items() if chain[0].first_hop}


def test_an_import_keeps_where_servers_come_from_and_the_servers() -> None:
    profile = imported()
    section = profile.server_lists["sub"]
    assert (section.url, section.interval, section.prefix, section.servers) == (URL, 600, "s ", ("s HK-1", "s US-1"))
    assert profile.groups["HK"].lists == ("sub",)
    assert members(compile_profile(profile)) == {
        "HK": ("s HK-1",),
        "US": ("DIRECT", "s US-1"),
        "all": ("DIRECT", "own", "s HK-1", "s US-1"),
    }


def test_what_was_fetched_stands_in_its_place_and_a_group_without_servers_never_opens(folder: Path) -> None:
    put(folder, FETCHED)
    told: list[str] = []
    profile = imported()
    plan = compile_profile(profile, RuleLists(profile, told.append))
    assert members(plan) == {
        "HK": ("s HK-1", "s HK-2"),
        "US": ("REJECT",),
        "all": ("DIRECT", "own", "s HK-1", "s HK-2"),
    }
    assert hops(plan) == {"own": "192.0.2.9", "s HK-1": "192.0.2.3", "s HK-2": "192.0.2.4"}
    assert any("group 'US' has no server left: it is REJECT" in line for line in told)
    assert any("what" in line for line in told), "a server that is not understood"
    again = compile_profile(plan.profile)
    assert (members(again), hops(again)) == (members(plan), hops(plan)), "twice is as once"


def test_an_import_that_is_newer_than_the_fetched_list_counts(folder: Path) -> None:
    put(folder, FETCHED, "2001-01-01T00:00:00+00:00")
    assert set(hops(compile_profile(imported()))) == {"own", "s HK-1", "s US-1"}


def test_a_list_that_nobody_fetched_names_the_command_that_does(folder: Path) -> None:
    profile = parse_text(CLASH, "c.yaml")
    with pytest.raises(MissingData, match=r"server list 'sub' was not fetched yet: tunflow rules update c\.yaml"):
        compile_profile(profile, RuleLists(profile))
    assert check(profile, lambda _: None) == ["c.yaml: server list 'sub' was not fetched yet: tunflow rules update c"]
    put(folder, FETCHED)
    assert members(compile_profile(profile))["HK"] == ("s HK-1", "s HK-2")


OWN = f"""\
rules = ["DOMAIN,a.example,HK-1", "MATCH,g"]
[servers.entry]
url = "{link("192.0.2.8", "entry")}"
[groups.g]
type = "url-test"
lists = ["sub"]
exclude_type = "trojan"
[server_lists.sub]
url = "{URL}"
through = "entry"
rename = {{ "^HK" = "Hong Kong" }}
filter = "HK"
"""


def test_a_profile_of_ones_own_may_have_nothing_but_a_list(folder: Path) -> None:
    put(folder, FETCHED + "trojan://p@192.0.2.7:443#HK-T\n")
    plan = compile_profile(profile_file.parse(OWN.replace(",HK-1", ",Hong Kong-1"), "own.toml"))
    assert members(plan) == {"g": ("Hong Kong-1", "Hong Kong-2")}
    assert [server.first_hop[0] for server in plan.chains["Hong Kong-2"]] == ["192.0.2.8", "192.0.2.4"]
    assert "Hong Kong-T" in plan.chains


def test_a_rule_whose_server_left_its_list_is_refused(folder: Path) -> None:
    put(folder, FETCHED)
    profile = profile_file.parse(OWN.replace("rename", "#").replace('filter = "HK"\n', ""), "own.toml")
    plan = compile_profile(profile)
    put(folder, link("192.0.2.6", "HK-9"), "2100-01-02T00:00:00+00:00")
    told: list[str] = []
    after = compile_profile(plan.profile, RuleLists(plan.profile, told.append))
    assert after.profile.rules[0] == "DOMAIN,a.example,REJECT"
    assert told == ["own.toml:1: 'HK-1' left its list: the rule is REJECT"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('lists = ["sub"]', 'lists = ["other"]'), "own.toml:4: there is no server list 'other'"),
        (('through = "entry"', 'through = "nobody"'), "own.toml:8: through: there is no server 'nobody'"),
        (('filter = "HK"', 'filter = "("'), "must be a regular expression"),
        (
            ('filter = "HK"', 'fetched = "yesterday"'),
            "server_lists.sub.fetched must be a moment with its zone, like 2026",
        ),
        (
            ('filter = "HK"', 'fetched = "2026-03-02T15:30:00"'),
            "server_lists.sub.fetched must be a moment with its zone",
        ),
        (('lists = ["sub"]', ""), "groups.g.servers is missing, and so is lists"),
        (('url = "https', 'url = "file'), "server_lists.sub.url"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, change: tuple[str, str], said: str) -> None:
    put(folder, FETCHED)
    with pytest.raises(LocalError) as caught:
        compile_profile(profile_file.parse(OWN.replace(*change), "own.toml"))
    assert said in str(caught.value)


def test_the_address_is_a_secret() -> None:
    shown = redacted(profile_file.as_data(imported()))
    assert shown["server_lists"]["sub"]["url"] == "https://p.example/(hidden)"
    assert "secret" not in repr(imported().server_lists)


def failing(_url: str) -> bytes:
    raise RemoteError("p.example does not answer")


def test_a_list_that_could_not_be_fetched_at_the_import_comes_in_later(folder: Path) -> None:
    draft = read_clash(CLASH, "c.yaml", failing)
    profile = draft.profile("p")
    assert any("p.example does not answer; its servers come when" in notice.reason for notice in draft.told)
    before = {"HK": ("REJECT",), "US": ("REJECT",), "all": ("DIRECT", "own")}
    assert members(compile_profile(profile)) == before, "and it starts"
    put(folder, FETCHED)
    after = {"HK": ("s HK-1", "s HK-2"), "US": ("REJECT",), "all": ("DIRECT", "own", "s HK-1", "s HK-2")}
    plan = compile_profile(profile)
    assert members(plan) == after
    put(folder, IMPORTED, "2100-01-02T00:00:00+00:00")
    assert members(compile_profile(plan.profile))["US"] == ("s US-1",), "also into a group that a list had closed"


def test_with_nothing_but_a_list_that_cannot_be_fetched_nothing_is_usable() -> None:
    text = CLASH.replace("- {name: own", "# ").replace("DIRECT, own", "DIRECT")
    assert not read_clash(text, "c.yaml", failing).is_usable
    assert read_clash(text, "c.yaml", None).is_usable


def test_what_could_not_be_chosen_from_a_later_list_is_said_now() -> None:
    for wrong in ("filter: '('", "override: {proxy-name: [{pattern: '(', target: x}]}"):
        draft = read_clash(
            CLASH.replace("exclude-filter: expired", wrong).replace(
                'override: {additional-prefix: "s "}', "lazy: true"
            ),
            "c.yaml",
            failing,
        )
        assert not draft.profile("p").server_lists
    draft = read_clash(CLASH.replace("filter: HK", "filter: '('"), "c.yaml", failing)
    assert any("'(' is not a regular expression" in notice.reason for notice in draft.told)
    assert "HK" not in draft.profile("p").groups


SURGE = f"""\
[Proxy]
own = ss, 192.0.2.9, 8388, encrypt-method=aes-256-gcm, password=p
[Proxy Group]
HK = url-test, policy-path={URL}, policy-regex-filter=HK, update-interval=600
US = select, policy-path={URL}, policy-regex-filter=US
[Rule]
FINAL,HK
"""
LINES = "HK-1 = ss, 192.0.2.{}, 8388, encrypt-method=aes-256-gcm, password=p\nold = snell, x, 1\n"


def test_surges_policy_path_is_a_list_that_is_fetched_again(folder: Path) -> None:
    draft = read_surge(SURGE, "s.conf", lambda _: LINES.format(1).encode())
    profile = draft.profile("p")
    section = profile.server_lists["HK"]
    assert list(profile.server_lists) == ["HK"], "groups of one address share it"
    assert (section.url, section.interval, section.servers) == (URL, 600, ("HK-1",))
    assert sum("the name is taken" in notice.reason for notice in draft.told) == 0
    assert members(compile_profile(profile)) == {"HK": ("HK-1",), "US": ("REJECT",)}
    put(folder, LINES.format(2) + "US-1 = ss, 192.0.2.3, 8388, encrypt-method=aes-256-gcm, password=p\n")
    told: list[str] = []
    plan = compile_profile(profile, RuleLists(profile, told.append))
    assert members(plan) == {"HK": ("HK-1",), "US": ("US-1",)}
    assert hops(plan) == {"own": "192.0.2.9", "HK-1": "192.0.2.2", "US-1": "192.0.2.3"}
    assert any("type snell" in line for line in told)
    (source,) = sources(profile)
    assert source.count(LINES.format(2).encode()) == 1


def test_a_policy_path_that_cannot_be_fetched_comes_in_later(folder: Path) -> None:
    profile = read_surge(SURGE, "s.conf", failing).profile("p")
    assert members(compile_profile(profile)) == {"HK": ("REJECT",), "US": ("REJECT",)}
    put(folder, LINES.format(2))
    assert members(compile_profile(profile)) == {"HK": ("HK-1",), "US": ("REJECT",)}
    later = read_surge(SURGE, "s.conf").profile("p")
    assert members(compile_profile(later))["HK"] == ("HK-1",)


class Over(Exception):
    """The script is played."""


def test_a_tunnel_that_is_up_fetches_it_again_and_keeps_the_last_good_one(folder: Path) -> None:
    half = link("192.0.2.3", "HK-1")
    answers: list[str] = ["it does not answer", "<html>", FETCHED, half.replace("HK-1", "expired"), half]
    plans = [compile_profile(imported())]
    said: list[str] = []
    now = datetime.now(UTC).timestamp()

    def fetch(_url: str, _etag: str | None) -> ServerReply:
        answer = answers.pop(0)
        if answer.startswith("it does"):
            raise RemoteError(answer)
        return ServerReply(answer.encode(), None)

    async def pause(seconds: float) -> None:
        nonlocal now
        now += seconds
        if not answers:
            raise Over

    async def reload(plan: Plan) -> None:
        plans.append(plan)

    refresh = ListRefresh(
        lambda: plans[-1],
        reload,
        said.append,
        lambda sources, place: rule_update.update(sources, place, fetch=fetch),
        pause,
        lambda: now,
    )
    with pytest.raises(Over):
        asyncio.run(refresh.run())
    assert [members(plan)["HK"] for plan in plans] == [("s HK-1",), ("s HK-1", "s HK-2"), ("s HK-1",)]
    assert hops(plans[-1])["s HK-1"] == "192.0.2.3"
    failures = [line for line in said if "server list sub stays as it was" in line]
    assert ["does not answer" in failures[0], len(failures)] == [True, 3]
    assert all("what was fetched is not taken" in line for line in failures[1:])
    (file,) = [each for each in (folder / "server-lists").iterdir() if each.suffix == ".list"]
    assert file.stat().st_mode & 0o077 == 0


def test_names_go_through_a_server_where_match_is_refused() -> None:
    direct: list[Any] = []
    for rules, expected in (
        (["DOMAIN,a.example,PROXY", "MATCH,REJECT"], "ss://"),
        (["MATCH,closed"], "ss://"),
        (["DOMAIN,a.example,DIRECT", "MATCH,PROXY"], "ss://"),
        (["DOMAIN,a.example,PROXY", "MATCH,DIRECT"], "direct://"),
    ):
        data = {
            "name": "p",
            "server": link("192.0.2.1", "a"),
            "groups": {"closed": {"type": "select", "servers": ["REJECT"]}},
            "rules": rules,
        }
        made = make_outbounds(compile_profile(Profile.parse(data, "p"))).default
        direct.append((made.label.partition("//")[0] + "//") == expected)
    assert direct == [True] * 4
    without = Profile.parse({"name": "p", "rules": ["DOMAIN,a.example,REJECT-DROP", "MATCH,REJECT"]}, "p")
    assert make_outbounds(compile_profile(without)).default.label.startswith("block")
    straight = Profile.parse({"name": "p", "rules": ["DOMAIN,a.example,DIRECT", "MATCH,REJECT"]}, "p")
    assert make_outbounds(compile_profile(straight)).default.label.startswith("direct")
