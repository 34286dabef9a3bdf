from __future__ import annotations

import json
from functools import partial

import pytest

from cost import lines_executed
from tunflow.cli import main
from tunflow.errors import LocalError
from tunflow.profiles.imports.clash import read_clash
from tunflow.profiles.imports.clash_proxies import server_of
from tunflow.profiles.imports.importer import is_clash
from tunflow.profiles.imports.yaml_lines import YAMLDocument
from tunflow.profiles.store import load_profile
from tunflow.protocols.registry import parse_server

CLASH = """\
mixed-port: 7890
allow-lan: false
mode: rule
log-level: info
common: &common
  cipher: aes-256-gcm
  password: 0123
proxies:
  - {name: "Tōkyō 1", type: ss, server: 192.0.2.1, port: 8388, cipher: aes-256-gcm, password: "p@ss:word", udp: true}
  - name: two
    type: ss
    server: 2001:db8::1
    port: 443
    <<: *common
  - {name: home, type: socks5, server: h.example, port: 1080, username: u, password: p}
  - {name: office, type: http, server: o.example, port: 443, tls: true}
proxy-groups:
  - name: PROXY
    type: select
    proxies: [auto, "Tōkyō 1", DIRECT]
  - name: auto
    type: url-test
    proxies:
      - Tōkyō 1
      - two
    url: http://www.gstatic.com/generate_204
    interval: 300
  - {name: hops, type: relay, proxies: [home, two]}
rule-providers:
  ads: {type: http, behavior: domain, url: "https://l.example/ads.yaml", path: ./ads.yaml, interval: 86400}
  mine: {type: file, behavior: classical, path: mine.yaml}
rules:
  - RULE-SET,ads,REJECT
  - DOMAIN-SUFFIX,example.com,hops
  - GEOIP,CN,DIRECT,no-resolve
  - MATCH,PROXY
"""


OK = "{name: ok, type: ss, server: 192.0.2.1, port: 1, cipher: aes-256-gcm, password: p}"


def parse_clash(text, file, name):
    draft = read_clash(text, file)
    return draft.profile(name), draft.told


def line_of(*parts: str) -> int:
    lines = CLASH.splitlines(keepends=True)
    return next(number for number, line in enumerate(lines, 1) if all(part in line for part in parts))


def test_a_configuration_becomes_a_profile_that_names_its_lines():
    profile, skipped = parse_clash(CLASH, "c.yaml", "c")
    assert [(each.place, each.reason, each.is_lost) for each in skipped] == [
        ("c.yaml:1", "mixed-port: Clash's own ports: tunflow listen opens one", False),
        ("c.yaml:4", "log-level: how Clash itself logs, keeps and fetches: group choices are kept anyway", False),
        ("c.yaml:5", "common is not a key of Clash: it is passed over", False),
    ]
    assert list(profile.servers) == ["Tōkyō 1", "two", "home", "office", "hops"]
    tokyo = profile.servers["Tōkyō 1"].url.server
    assert (tokyo.host, tokyo.port, tokyo.password, tokyo.tag) == ("192.0.2.1", 8388, "p@ss:word", "Tōkyō 1")
    assert profile.servers["two"].url.server.password == "0123"  # not what YAML would make of it
    assert [link.server.label for link in profile.servers["hops"].chain] == [
        "socks5://h.example:1080#home",
        "ss://aes-256-gcm@[2001:db8::1]:443#two",
    ]
    assert profile.servers["office"].url.server.scheme == "https"
    assert profile.groups["PROXY"].servers == ("auto", "Tōkyō 1", "DIRECT")
    assert profile.groups["auto"].type == "url-test"
    assert profile.rule_sets["ads"].url == "https://l.example/ads.yaml"
    assert profile.rule_sets["ads"].interval == 86400.0
    assert profile.rule_sets["mine"].file.endswith("/mine.yaml")
    assert profile.rules[-1] == "MATCH,PROXY"
    assert profile.at("rules", 1) == f"c.yaml:{line_of('DOMAIN-SUFFIX')}"
    assert profile.at("servers", "two") == f"c.yaml:{line_of('- name: two')}"


def told(text):
    return {each.reason: each.place for each in parse_clash(text, "c.yaml", "c")[1]}


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("{name: v, type: snell, server: a, port: 1, uuid: x}", "proxy 'v': type snell is not supported; "),
        ("{name: v, type: ss, server: a, port: 1, cipher: rc4-md5, password: x}", "proxy 'v': "),
        (
            "{name: v, type: ss, server: a, port: 1, cipher: aes-256-gcm, password: x, plugin: shadow-tls}",
            "proxy 'v': the plugin 'shadow-tls' would be a program of this machine",
        ),
        ("{name: v, type: ss, server: a, cipher: aes-256-gcm, password: x}", "proxy 'v': port is missing"),
        ("{name: v, type: ss, server: a, port: 99999, cipher: aes-256-gcm, password: x}", "proxy 'v': "),
        ("{name: v, type: ss, server: [a], port: 1, cipher: x, password: x}", "proxy 'v': server must be text"),
        ("{name: v, type: {a: b}}", "proxy 'v': type {"),
        ("{name: DIRECT, type: direct}", "proxy 'DIRECT': the name is taken"),
        ("{name: 'a,b', type: direct}", "an entry of proxies is a mapping with a name that has no comma"),
        ("[a]", "an entry of proxies is a mapping"),
    ],
)
def test_a_proxy_that_we_do_not_have_is_told_with_its_line(entry, why):
    text = f'proxies:\n  - {{name: ok, type: direct}}\n  - {entry}\nrules: ["MATCH,ok"]\n'
    ((reason, place),) = told(text).items()
    assert reason.startswith(why)
    assert place == "c.yaml:3"


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ("filter: [a]", "filter must be a text"),
        ("exclude-filter: {a: b}", "exclude-filter must be a text"),
        ("interval: [30]", "interval must be a text"),
        ("use: {a: b}", "use must be a list of names"),
        ("use: [[a]]", "use must be a list of names"),
    ],
)
def test_a_groups_value_of_the_wrong_kind_is_not_as_good_as_none(keys, why):
    text = (
        f"proxies:\n- {OK}\nproxy-groups:\n- {{name: a, type: select, proxies: [ok], {keys}}}\n"
        "- {name: b, type: select, proxies: ok, use: , filter: 1}\nrules:\n- MATCH,ok\n"
    )
    _, skipped = parse_clash(text, "c.yaml", "c")
    assert [each.reason for each in skipped if each.is_lost] == [f"group 'a': {why}"]


def test_what_depends_on_what_is_left_out_is_told_too():
    text = (
        f"proxies:\n- {{name: v, type: snell}}\n- {OK}\n"
        "proxy-groups:\n- {name: a, type: select, proxies: [v, ok]}\n- {name: b, type: select, proxies: [v]}\n"
        "- {name: c, type: fallback, proxies: [b]}\n- {name: d, type: smart, proxies: [ok]}\n"
        "- {name: e, type: select, use: [x], proxies: [ok]}\n"
        "rules:\n- DOMAIN,x.com,v\n- NONSENSE,cn,DIRECT\n- DOMAIN,x.com,c\n- MATCH,a\n"
        "script: {a: b}\nmode: global\n"
    )
    profile, skipped = parse_clash(text, "c.yaml", "c")
    said = [f"{each.place} {each.reason}" for each in skipped]
    for line, part in (
        (2, "type snell"),
        (5, "group 'a' lost members: v"),
        (6, "group 'b' lost its only server: v"),
        (6, "group 'b' has no server left: it is REJECT"),
        (7, "group 'c' has no server left: it is REJECT"),
        (8, "type 'smart'"),
        (9, "group 'e' lost members: provider x"),
        (11, "there is no server or group 'v': the rule is REJECT"),
        (12, "'NONSENSE' is not a rule type"),
        (15, "script: ports and programs beside the rules"),
        (16, "mode global"),
    ):
        assert any(each.startswith(f"c.yaml:{line} ") and part in each for each in said), (line, said)
    assert profile.groups["a"].servers == ("ok",)
    assert {name: group.servers for name, group in profile.groups.items()} == {
        "a": ("ok",), "b": ("REJECT",), "c": ("REJECT",), "e": ("ok",),
    }  # fmt: skip
    assert profile.rules == ("DOMAIN,x.com,REJECT", "DOMAIN,x.com,c", "MATCH,a")


def test_flows_that_no_rule_is_about_are_refused():
    profile, told = parse_clash("rules: ['DOMAIN,a.b,REJECT']\n", "c", "c")
    assert profile.rules[-1] == "MATCH,REJECT"
    assert told[-1].reason == "there is no MATCH: what no rule is about is REJECT"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [", "c.yaml:2: not valid YAML"),
        ("a: b\n", "c.yaml: not a Clash configuration"),
        ("- a\n", "c.yaml: not a Clash configuration"),
        ("", "c.yaml: not a Clash configuration"),
        ("rules: null\nproxies: null\n", "c.yaml: not a Clash configuration"),
        ("rules: x\n", "c.yaml:1: rules must be a list"),
        ("proxies: x\n", "c.yaml:1: proxies must be a list"),
        ("? [a]\n: b\n", "c.yaml:1: a key must be a text"),
        ("rules: " + "[" * 40 + "]" * 40, "too deep, or too much"),
        ("rules: " + "[" * 5000, "not valid YAML|nested"),
        ("x: &x [*x]\nrules: []\n", "too deep|not valid YAML"),
        ("x: &x { <<: *x}\nrules: []\n", r"c\.yaml:1: too deep"),
        ("x: &x { <<: [{}, *x]}\nrules: []\n", r"c\.yaml:1: too deep"),
        ("x:\n  <<: 5\nrules: []\n", r"c\.yaml:2: << takes a mapping, or a list of mappings"),
        ("x:\n  <<: [{}, [1]]\nrules: []\n", r"c\.yaml:2: << takes a mapping"),
    ],
)
def test_what_is_no_configuration_is_one_line(text, why):
    with pytest.raises(LocalError, match=why) as caught:
        parse_clash(text, "c.yaml", "c")
    assert "\n" not in str(caught.value)


def test_an_anchor_that_is_given_again_is_the_later_one():
    text = "a: &x {type: 1}\nb: *x\nc: &x {type: 2}\nd: *x\ne: {<<: *x, more: 3}\n"
    document = YAMLDocument(text, "c.yaml")
    assert document.data == {
        "a": {"type": "1"}, "b": {"type": "1"}, "c": {"type": "2"}, "d": {"type": "2"}, "e": {"type": "2", "more": "3"},
    }  # fmt: skip
    assert document.at("d") == "c.yaml:4"
    with pytest.raises(LocalError, match=r"c\.yaml:1: not valid YAML: found undefined alias"):
        YAMLDocument("a: *x\n", "c.yaml")


@pytest.mark.parametrize("rule", ["GEOSITE,,DIRECT", "GEOSITE,,gone", "DOMAIN-REGEX,,DIRECT", "AND,((GEOIP,)),DIRECT"])
def test_a_rule_about_nothing_is_lost(rule: str) -> None:
    """`GEOSITE,,gone` was a traceback, and an empty expression was found in every name, which then went direct."""
    draft = read_clash(f"proxies:\n- {OK}\nrules:\n- '{rule}'\n- MATCH,ok\n", "c.yaml")
    assert draft.profile("c").rules == ("MATCH,ok",)
    assert [each.place for each in draft.told if each.is_lost] == ["c.yaml:4"]


def test_aliases_cannot_blow_a_document_up():
    """The "billion laughs": eight levels of ten aliases each."""
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(LocalError, match="too much"):
        YAMLDocument("\n".join(lines), "c.yaml")
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 9)]
    with pytest.raises(LocalError, match="too much"):
        YAMLDocument("\n".join(lines), "c.yaml")


def test_the_first_of_merged_mappings_counts_and_what_stands_there_before_them():
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], z: 3}\n"
    assert YAMLDocument(text, "c.yaml").data["c"] == {"x": "1", "y": "1", "z": "3"}


def test_ten_times_as_many_rules_cost_ten_times_as_much_to_import():
    def text(count):
        rules = "".join(f"- DOMAIN-SUFFIX,d{number}.example,ok\n" for number in range(count))
        return f"proxies:\n- {OK}\nrules:\n{rules}- MATCH,ok\n"

    costs = [lines_executed(partial(parse_clash, text(count), "c.yaml", "c")) for count in (200, 2000)]
    assert costs[1] < 11 * costs[0]


def test_links_hide_nothing_and_quote_everything():
    link, unread = server_of(
        {"name": "a/b", "type": "ss", "server": "h", "port": "1", "cipher": "aes-256-gcm", "password": "#@:/"}
    )
    assert parse_server(link).password == "#@:/"
    assert not unread


def test_the_command_refuses_the_whole_unless_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    file = tmp_path / "c.yaml"
    file.write_text(f"proxies:\n- {{name: v, type: snell}}\n- {OK}\nrules: ['MATCH,ok']\n")
    assert main(["profile", "import", str(file)]) == 2
    said = capsys.readouterr().err
    assert f"{file}:2: proxy 'v': type snell" in said
    assert "1 entries of" in said
    assert "--partial" in said
    assert main(["profile", "import", "--partial", "--json", str(file)]) == 0
    assert len(json.loads(capsys.readouterr().out)["skipped"]) == 1
    assert load_profile("c").rules == ("MATCH,ok",)
    with pytest.raises(LocalError, match=r"c\.yaml:2: proxy 'v'.*--partial"):
        load_profile(str(file))
    file.write_text(f"proxies:\n- {OK}\nrules: ['MATCH,ok']\n")
    assert load_profile(str(file)).name == "c"
    assert main(["explain", "x.org", "--profile", str(file)]) == 0
    assert f"{file}:3: MATCH,ok" in capsys.readouterr().out


def test_other_lists_are_not_taken_for_it():
    assert not is_clash(b"ss://YWVzLTEyOC1nY206dGVzdA@192.168.100.1:8888#Example1\n")
    assert not is_clash(b"\xff\xfe")
