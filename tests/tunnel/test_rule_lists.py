"""What rules refer to: read once, when a rule asks, and checked before a profile is saved."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
import zstandard
from tests.rules.test_geo_data import SITES, packed, tree

from tunflow.cli import main
from tunflow.errors import LocalError
from tunflow.profiles import file as profile_file
from tunflow.rules.conditions import Facts
from tunflow.rules.rule_set import parse_rule_set
from tunflow.rules.table import RuleTable
from tunflow.rules.targets import BUILT_IN
from tunflow.tunnel import rule_data
from tunflow.tunnel.compile import compile_profile
from tunflow.tunnel.rule_data import DATA_VARIABLE
from tunflow.tunnel.rule_lists import RuleLists
from tunflow.tunnel.rule_table import make_table

LINK = "ss://YWVzLTI1Ni1nY206cA@192.0.2.1:8388"


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    monkeypatch.delenv("TUNFLOW_SERVER", raising=False)


def table_of(tmp_path: Path, text: str, tell=lambda _: None) -> RuleTable:
    (tmp_path / "p.toml").write_text(text)
    profile = profile_file.load(tmp_path / "p.toml")
    return make_table(profile, {*BUILT_IN}, RuleLists(profile, tell))


def target(table: RuleTable, name: str) -> str:
    verdict = table.match(Facts("tcp", bytes(4), 1, 443, None, name, address_sought=True))
    return verdict.target if isinstance(verdict, tuple) else str(verdict)


def test_a_list_is_read_when_a_rule_asks_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    real = rule_data.list_text

    def counted(data: bytes, file: str, behavior: str) -> str:
        reads.append(Path(file).name)
        return real(data, file, behavior)

    monkeypatch.setattr(rule_data, "list_text", counted)
    (tmp_path / "a.txt").write_text("+.a.example\n")
    rules = '"RULE-SET,a,REJECT", "AND,((RULE-SET,a),(NETWORK,udp)),DIRECT", "MATCH,DIRECT"'
    unused = '[rule_sets.unused]\nbehavior = "domain"\nfile = "none.txt"\n'
    table = table_of(tmp_path, f'rules = [{rules}]\n[rule_sets.a]\nbehavior = "domain"\nfile = "a.txt"\n{unused}')
    assert target(table, "x.a.example") == "REJECT"
    assert reads == ["a.txt"]


def test_a_line_of_a_list_that_is_not_understood_is_told_and_the_others_hold(tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / "m.list").write_text("DOMAIN-SUFFIX,media.example\nUSER-AGENT,MediaApp*\nIP-CIDR,198.51.100.0/24\n")
    sets = '[rule_sets.media]\nbehavior = "classical"\nfile = "m.list"\n'
    table = table_of(tmp_path, f'rules = ["RULE-SET,media,REJECT", "MATCH,DIRECT"]\n{sets}', told.append)
    assert target(table, "a.media.example") == "REJECT"
    (line,) = told
    assert line.startswith(f"{tmp_path}/m.list:2: USER-AGENT ")


def test_a_list_may_stand_in_the_profile_and_may_be_packed(tmp_path: Path) -> None:
    (tmp_path / "p.mrs").write_bytes(packed(0, tree(["+.packed.example"])))
    table = table_of(
        tmp_path,
        'rules = ["RULE-SET,own,REJECT", "RULE-SET,p,REJECT-DROP", "MATCH,DIRECT"]\n'
        '[rule_sets.own]\nbehavior = "domain"\nlines = ["+.own.example"]\n'
        '[rule_sets.p]\nbehavior = "domain"\nfile = "p.mrs"\n',
    )
    assert [target(table, f"a.{each}.example") for each in ("own", "packed", "x")] == [
        "REJECT",
        "REJECT-DROP",
        "DIRECT",
    ]


def test_lists_that_contain_themselves_are_told(tmp_path: Path) -> None:
    sets = '[rule_sets.a]\nbehavior = "classical"\nlines = ["RULE-SET,a"]\n'
    with pytest.raises(LocalError, match="rule set 'a' contains itself"):
        table_of(tmp_path, f'rules = ["RULE-SET,a,REJECT", "MATCH,DIRECT"]\n{sets}')


def test_names_by_topic(tmp_path: Path) -> None:
    (tmp_path / "geosite.dat").write_bytes(SITES)
    table = table_of(tmp_path, 'geosite = "geosite.dat"\nrules = ["GEOSITE,google,REJECT", "MATCH,DIRECT"]\n')
    assert [target(table, name) for name in ("a.google.com", "x.example")] == ["REJECT", "DIRECT"]
    with pytest.raises(LocalError, match=r"geosite\.dat has no topic 'nobody'"):
        table_of(tmp_path, 'geosite = "geosite.dat"\nrules = ["GEOSITE,nobody,REJECT", "MATCH,DIRECT"]\n')


def test_saved_means_that_it_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = tmp_path / "c.yaml"
    head = "proxies:\n- {name: a, type: ss, server: 192.0.2.1, port: 8388, cipher: aes-256-gcm, password: p}\n"
    loop = "proxy-groups:\n- {name: g, type: select, proxies: [h]}\n- {name: h, type: select, proxies: [g, a]}\n"
    given.write_text(f"{head}{loop}rules: ['MATCH,g']\n")
    assert main(["profile", "import", str(given)]) == 2
    assert "group 'g' contains itself" in capsys.readouterr().err
    assert not list((tmp_path / "config").rglob("*.toml"))

    given.write_text(
        f"{head}rule-providers: {{l: {{type: http, behavior: domain, url: 'https://h.example/l'}}}}\n"
        "rules: ['RULE-SET,l,a', 'GEOIP,US,DIRECT', 'MATCH,a']\n"
    )
    assert main(["profile", "import", str(given)]) == 0
    said = capsys.readouterr().err
    assert "before it can come up: " in said
    assert "rule set 'l' was not fetched yet: tunflow rules update c" in said
    assert "no country data for US, which is arin's: run tunflow rules update --registry arin" in said
    assert main(["profile", "import", "--replace", "--json", str(given)]) == 0
    assert len(json.loads(capsys.readouterr().out)["missing"]) == 2


def test_a_million_names_of_a_list_are_kept_apart_from_the_rules(tmp_path: Path) -> None:
    names = "\n".join(f"+.{number:x}.example.com" for number in range(30_000))
    (tmp_path / "a.txt").write_text(f"{names}\n*.wild.example\n")
    table = table_of(
        tmp_path,
        'rules = ["DOMAIN,1.example.com,DIRECT", "RULE-SET,a,REJECT", "DOMAIN-SUFFIX,example.com,REJECT-DROP", '
        '"MATCH,DIRECT"]\n[rule_sets.a]\nbehavior = "domain"\nfile = "a.txt"\n',
    )
    found = [target(table, f"{each}.com") for each in ("1.example", "x.1.example", "ff.example", "zz.example", "x")]
    assert found == ["DIRECT", "REJECT", "REJECT", "REJECT-DROP", "DIRECT"]
    assert target(table, "a.wild.example") == "REJECT"
    assert table.indexed_names < 100, "the names were copied into the table"


def test_a_name_of_a_list_takes_at_most_150_bytes(tmp_path: Path) -> None:
    """So that a million take 150 MB, also while they are read: by the allocator's own count."""
    numbers = range(30_000)
    text = "".join(f"+.{each * 7919 % 1000003:x}.name{each % 977}.example-{each % 13}.com\n" for each in numbers)
    context = RuleLists(profile_file.parse('server = "direct://"\n', "p.toml")).context
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        made = parse_rule_set(text, "domain", "a.txt", context)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(made.domains) == 30_000
    assert after - before < 150 * 30_000
    assert peak - before < 150 * 30_000


def test_the_extra_is_named_where_packed_lists_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    (tmp_path / "p.mrs").write_bytes(zstandard.ZstdCompressor().compress(b"MRS\x01"))
    sets = '[rule_sets.p]\nbehavior = "domain"\nfile = "p.mrs"\n'
    with pytest.raises(LocalError, match=r"pip install 'tunflow\[mrs\]'"):
        table_of(tmp_path, f'rules = ["RULE-SET,p,REJECT", "MATCH,DIRECT"]\n{sets}')


def test_a_profile_that_rules_go_wrong_in_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "never.toml").write_text(
        f'server = "{LINK}"\nrules = ["DOMAIN-SUFFIX,*.bank.example,DIRECT", "MATCH,PROXY"]\n'
    )
    with pytest.raises(LocalError, match=r"never\.toml:2: no name ends in .*write DOMAIN-SUFFIX,bank\.example"):
        compile_profile(profile_file.load(tmp_path / "never.toml"))
