"""What an import lost is refused, never sent direct."""

from __future__ import annotations

import json

import pytest

from tunflow.cli import main
from tunflow.profiles.imports.clash import read_clash
from tunflow.profiles.store import load_profile

OURS = "{{name: {}, type: ss, server: 192.0.2.1, port: 8388, cipher: aes-256-gcm, password: p}}"
LOST = "{{name: {}, type: snell, server: 192.0.2.1, port: 443, uuid: 00000000-0000-0000-0000-000000000000}}"


def configuration(proxies: list[str], groups: list[str], rules: list[str]) -> str:
    lines = ["proxies:", *(f"- {each}" for each in proxies), "proxy-groups:", *(f"- {each}" for each in groups)]
    return "\n".join([*lines, "rules:", *(f"- {each}" for each in rules), ""])


def taken(text: str):
    draft = read_clash(text, "c.yaml")
    return draft.profile("c"), [f"{each.place}: {each.reason}" for each in draft.told]


def test_a_group_whose_only_server_is_lost_refuses_and_does_not_go_direct():
    text = configuration(
        [OURS.format("spare"), LOST.format("home")],
        ["{name: Proxy, type: select, proxies: [home, DIRECT]}", "{name: Two, type: select, proxies: [Proxy, DIRECT]}"],
        ["DOMAIN-SUFFIX,secret.example,Proxy", "DOMAIN,x.example,home", "MATCH,Two"],
    )
    profile, told = taken(text)
    assert {name: group.servers for name, group in profile.groups.items()} == {"Proxy": ("REJECT",), "Two": ("REJECT",)}
    assert profile.rules == ("DOMAIN-SUFFIX,secret.example,Proxy", "DOMAIN,x.example,REJECT", "MATCH,Two")
    assert "c.yaml:5: group 'Proxy' lost its only server: home" in told
    assert "c.yaml:6: group 'Two' has no server left: it is REJECT" in told
    assert "c.yaml:9: there is no server or group 'home': the rule is REJECT" in told


@pytest.mark.parametrize(
    ("members", "left"),
    [
        ("[lost, DIRECT, a]", ("a", "DIRECT")),
        ("[DIRECT, lost, a]", ("DIRECT", "a")),
        ("[lost, REJECT, DIRECT]", ("REJECT",)),
        ("[lost, plain, a]", ("a", "plain")),
        ("[plain, DIRECT]", ("plain", "DIRECT")),
        ("[lost, plain]", ("REJECT",)),
        ("[a, lost]", ("a",)),
        ("[]", ("REJECT",)),
    ],
)
def test_a_group_goes_on_with_a_server_and_not_with_a_direct_that_stood_behind(members, left):
    text = configuration(
        [OURS.format("a"), LOST.format("lost"), "{name: plain, type: direct}"],
        [f"{{name: G, type: fallback, proxies: {members}}}"],
        ["MATCH,G"],
    )
    assert taken(text)[0].groups["G"].servers == left


def test_a_chain_that_loses_a_hop_is_dropped():
    text = configuration(
        [OURS.format("entry"), LOST.format("exit")],
        ["{name: chain, type: relay, proxies: [entry, exit]}"],
        ["MATCH,chain"],
    )
    profile, told = taken(text)
    assert set(profile.servers) == {"entry"}
    assert profile.rules == ("MATCH,REJECT",)
    assert "c.yaml:5: group 'chain': a chain without its hop 'exit' would be another one, and that is not there" in told


@pytest.mark.parametrize(
    ("rules", "last"),
    [
        (["DOMAIN,a.example,a"], "MATCH,REJECT"),
        (["NONSENSE,x,a", "MATCH,DIRECT"], "MATCH,REJECT"),
        (["NONSENSE,x,DIRECT", "MATCH,DIRECT"], "MATCH,DIRECT"),
        (["NONSENSE,x,a", "MATCH,a"], "MATCH,a"),
        (["MATCH,nobody"], "MATCH,REJECT"),
        (["MATCH"], "MATCH,REJECT"),
        (["AND,((NONSENSE,x),(NETWORK,tcp)),a", "MATCH,G"], "MATCH,REJECT"),
    ],
)
def test_match_is_what_was_written_or_reject(rules, last):
    text = configuration([OURS.format("a")], ["{name: G, type: select, proxies: [DIRECT, a]}"], rules)
    assert taken(text)[0].rules[-1] == last


def test_nothing_is_saved_without_a_usable_server(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    file = tmp_path / "open.yaml"
    group = "{name: Proxy, type: select, proxies: [home, DIRECT]}"
    file.write_text(configuration([LOST.format("home")], [group], ["MATCH,Proxy"]))
    assert main(["profile", "import", "--partial", str(file)]) == 2
    said = capsys.readouterr().err
    assert f"{file}:4: group 'Proxy' lost its only server: home" in said
    assert "nothing is saved" in said
    assert not list((tmp_path / "config").rglob("*.toml"))


def test_the_summary_says_first_where_flows_end(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    file = tmp_path / "c.yaml"
    groups = ["{name: Proxy, type: select, proxies: [HK, DIRECT]}", "{name: HK, type: url-test, proxies: [a, lost]}"]
    rules = ["DOMAIN,x.example,lost", "MATCH,Proxy"]
    file.write_text(configuration([OURS.format("a"), LOST.format("lost")], groups, rules))
    assert main(["profile", "import", "--partial", str(file)]) == 0
    said = capsys.readouterr().err.splitlines()
    assert [line.removeprefix("tunflow: ") for line in said[:4]] == [
        "MATCH -> Proxy -> HK -> a",
        "Proxy -> HK -> a",
        "HK -> a",
        "1 server, 2 groups, 2 rules, 0 rule sets",
    ]
    assert main(["profile", "import", "--partial", "--replace", "--json", str(file)]) == 0
    assert json.loads(capsys.readouterr().out)["ends"]["MATCH"] == ["Proxy", "HK", "a"]
    assert load_profile("c").rules == ("DOMAIN,x.example,REJECT", "MATCH,Proxy")
