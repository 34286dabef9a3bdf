"""Files that went wrong for users, each one standing for a kind, through the command that they typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunflow.cli import main
from tunflow.dns.answers import AAAA
from tunflow.profiles.profile import Profile
from tunflow.profiles.store import load_profile
from tunflow.tunnel.dns_plan import dns_config

A = "{name: a, type: ss, server: 192.0.2.1, port: 8388, cipher: aes-256-gcm, password: p}"
B = A.replace("a, type", "b, type").replace("192.0.2.1", "192.0.2.2")
LOST = "{{name: {}, type: snell, server: 192.0.2.1, port: 443, psk: p}}"


class Desk:
    """What is imported, and what was said."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def imports(self, name: str, content: str | bytes, *options: str) -> Profile | None:
        """The saved profile; None where nothing was."""
        file = self.folder / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        status = main(["profile", "import", str(file), "--name", "made", "--replace", *options])
        self.said = self._capsys.readouterr().err.replace(f"{self.folder}/", "")
        assert status in {0, 2}
        return load_profile("made") if status == 0 else None

    def refuses(self, profile: str) -> str:
        """What `explain --profile` says against a profile's text."""
        file = self.folder / "own.toml"
        file.write_text(profile)
        file.chmod(0o600)
        assert main(["explain", "www.example", "--no-lookup", "--profile", str(file)]) == 2
        return self._capsys.readouterr().err


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TUNFLOW_DATA_DIR", str(tmp_path / "data"))
    return Desk(tmp_path, capsys)


def clash(proxies: list[str], rest: str) -> str:
    return "proxies:\n" + "".join(f"  - {each}\n" for each in proxies) + rest


@pytest.mark.parametrize(
    "kind",
    [
        LOST.format("home"),
        "{name: home, type: vless, server: 192.0.2.1, port: 443, uuid: 00000000-0000-0000-0000-000000000000, "
        "reality-opts: {public-key: x}, tls: true}",
        "{name: home, type: snell, server: 192.0.2.1, port: 443, psk: p}",
    ],
)
def test_a_lost_server_never_opens(desk: Desk, kind: str) -> None:
    rest = (
        "proxy-groups:\n- {name: Proxy, type: select, proxies: [home, DIRECT]}\n"
        "rules:\n- DOMAIN-SUFFIX,s.example,Proxy\n- MATCH,Proxy\n"
    )
    assert desk.imports("open.yaml", clash([kind], rest), "--partial") is None
    assert "group 'Proxy' lost its only server: home" in desk.said
    profile = desk.imports("open.yaml", clash([kind, A], rest), "--partial")
    assert profile is not None
    assert profile.groups["Proxy"].servers == ("REJECT",)
    assert profile.rules == ("DOMAIN-SUFFIX,s.example,Proxy", "MATCH,Proxy")


def test_every_rule_of_a_typical_file_ends_at_a_server_or_is_refused(desk: Desk) -> None:
    user = "01234567-89ab-cdef-0123-456789abcdef"
    proxies = [
        f"{{name: vm, type: vmess, server: h.example, port: 443, uuid: {user}, alterId: 0, cipher: auto, tls: true, "
        "network: ws, ws-opts: {path: /w, headers: {Host: c.example}}}",
        "{name: tr, type: trojan, server: h.example, port: 443, password: p, sni: s.example, udp: true}",
        f"{{name: vl, type: vless, server: h.example, port: 443, uuid: {user}, tls: true, servername: s.example}}",
        f"{{name: re, type: vless, server: h.example, port: 443, uuid: {user}, flow: xtls-rprx-direct, tls: true}}",
        "{name: hy, type: hysteria, server: h.example, port: 443, auth-str: p}",
    ]
    rest = (
        "proxy-groups:\n- {name: Auto, type: url-test, include-all: true, url: 'http://t.example/', interval: 300}\n"
        "- {name: Pick, type: select, proxies: [Auto, vm, hy, DIRECT]}\n"
        "- {name: HK, type: select, proxies: [hy, DIRECT]}\n"
        "rules:\n- DOMAIN-SUFFIX,hk.example,HK\n- DOMAIN,re.example,re\n- DOMAIN,own.example,DIRECT\n- MATCH,Pick\n"
    )
    profile = desk.imports("typical.yaml", clash(proxies, rest), "--partial")
    assert profile is not None
    assert set(profile.servers) == {"vm", "tr", "vl"}
    assert {name: group.servers for name, group in profile.groups.items()} == {
        "Auto": ("vm", "tr", "vl"),
        "Pick": ("Auto", "vm", "DIRECT"),
        "HK": ("REJECT",),
    }
    assert profile.rules == (
        "DOMAIN-SUFFIX,hk.example,HK",
        "DOMAIN,re.example,REJECT",
        "DOMAIN,own.example,DIRECT",
        "MATCH,Pick",
    )
    assert "MATCH -> Pick -> Auto -> vm" in desk.said
    assert "HK -> REJECT" in desk.said


def test_a_chain_without_a_hop_is_none(desk: Desk) -> None:
    rest = "proxy-groups:\n- {name: chain, type: relay, proxies: [a, exit]}\nrules:\n- MATCH,chain\n"
    profile = desk.imports("relay.yaml", clash([A, LOST.format("exit")], rest), "--partial")
    assert profile is not None
    assert set(profile.servers) == {"a"}
    assert profile.rules == ("MATCH,REJECT",)


def test_what_is_not_done_is_told_with_its_line(desk: Desk) -> None:
    text = f"""\
ipv6: false
tun: {{enable: true, route-exclude-address: [192.0.2.0/24], exclude-uid: [1001]}}
sniffer: {{enable: true, sniff: {{TLS: {{ports: [443]}}}}, skip-domain: [Mijia Cloud]}}
proxies:
  - {A.replace("password: p", "password: p, udp: false, tfo: true, ip-version: ipv6")}
  - {B}
proxy-groups:
  - {{name: lb, type: load-balance, strategy: round-robin, proxies: [a, b], url: "http://x.example/204", interval: 300}}
  - {{name: ut, type: url-test, tolerance: 200, lazy: false, proxies: [a, b], expected-status: "200", timeout: 1000}}
dns:
  enable: true
  ipv6: false
  respect-rules: false
  use-hosts: false
  enhanced-mode: fake-ip
  fake-ip-filter-mode: whitelist
  fake-ip-filter: ["*.video.example"]
  nameserver: [tls://1.1.1.1]
  nameserver-policy: {{"*.corp.example": 10.0.0.53}}
hosts: {{nas.example: 192.0.2.9}}
rules:
  - DOMAIN-SUFFIX,x.example,lb
  - MATCH,ut
"""
    profile = desk.imports("silent.yaml", text)
    assert profile is not None
    for start in (
        "silent.yaml:2: tun.exclude-uid", "silent.yaml:3: sniffer.sniff", "silent.yaml:3: sniffer.skip-domain",
        "silent.yaml:5: proxy 'a': tfo", "silent.yaml:5: proxy 'a': ip-version",
        "silent.yaml:13: dns.respect-rules", "silent.yaml:20: hosts",
    ):  # fmt: skip
        assert start in desk.said, start
    config = dns_config(profile)
    assert config is not None
    assert config.plan.hides("x.example", AAAA)
    assert [config.plan.must_be_real(name) for name in ("a.video.example", "video.example")] == [False, True]
    groups = {
        name: config.plan.selector.select(name, AAAA, 0.0).groups for name in ("a.corp.example", "a.b.corp.example")
    }
    assert groups == {"a.corp.example": ("routes[0]",), "a.b.corp.example": ("servers",)}
    assert (profile.groups["lb"].strategy, profile.groups["ut"].tolerance) == ("round-robin", 0.2)
    asked = profile.groups["ut"]
    assert (asked.lazy, asked.timeout, asked.expected_status) == (False, 1.0, "200")
    assert profile.tunnel.excluded_routes == ("192.0.2.0/24",)


def test_harmless_options_do_not_cost_a_server(desk: Desk) -> None:
    def entry(name: str, more: str) -> str:
        return A.replace("a, type", f"{name}, type").replace("password: p", f"password: p, {more}")

    proxies = [
        entry("a", "smux: {enabled: false}"), entry("b", "udp-over-tcp: true"),
        entry("c", "client-fingerprint: chrome"),
        entry("e", "plugin: obfs, plugin-opts: {mode: http}"),
        "{name: d, type: vmess, server: 192.0.2.1, port: 443, uuid: u, alterId: 0, cipher: auto}",
    ]  # fmt: skip
    profile = desk.imports("smux.yaml", clash(proxies, "rules: ['MATCH,a']\n"), "--partial")
    assert profile is not None
    assert set(profile.servers) == {"a", "b", "c", "e"}
    assert "plugin=obfs-local" in profile.servers["e"].url.text
    assert "proxy 'd': the user id is no UUID" in desk.said


def test_a_name_stands_for_one_that_is_not_there(desk: Desk) -> None:
    rest = (
        "hosts: {'old.example': new.example, '*.dev.example': 127.0.0.1}\n"
        "dns: {enable: true, nameserver: [1.1.1.1]}\nrules: ['MATCH,a']\n"
    )
    profile = desk.imports("alias.yaml", clash([A], rest))
    assert profile is not None
    config = dns_config(profile)
    assert config is not None
    assert config.plan.aliases.get("old.example") == "new.example"
    assert config.plan.hosts.get("x.dev.example") == (bytes([127, 0, 0, 1]),)


@pytest.mark.parametrize(
    ("name", "content", "labels"),
    [
        ("one.json", '{"outbounds":[{"type":"shadowsocks","tag":"a","server":"h.example","server_port":8388,'
         '"method":"aes-256-gcm","password":"p"}]}', ["ss://aes-256-gcm@h.example:8388#a"]),
        ("rust.json", '{"servers":[{"address":"192.0.2.1","port":8388,"method":"aes-256-gcm","password":"p"},'
         '{"disabled":true,"server":"192.0.2.2","server_port":8388,"method":"aes-256-gcm","password":"p"}]}',
         ["ss://aes-256-gcm@192.0.2.1:8388"]),
        ("surge.conf", "[General]\nloglevel = notify\n[Proxy]\na = ss, h.example, 8388, encrypt-method=aes-256-gcm, "
         "password=p\n[Rule]\nFINAL,a,dns-failed\n", ["ss://aes-256-gcm@h.example:8388#a"]),
        ("socks.txt", "socks://dXNlcjpwdw==@192.0.2.1:1080#one\nsocks://Og==@192.0.2.2:1080#two\n",
         ["socks5://192.0.2.1:1080#one", "socks5://192.0.2.2:1080#two"]),
    ],
)  # fmt: skip
def test_servers_of_other_programs(desk: Desk, name: str, content: str, labels: list[str]) -> None:
    profile = desk.imports(name, content)
    assert profile is not None
    links = [*profile.server, *(section.url for section in profile.servers.values() if section.url)]
    assert [link.server.label for link in links] == labels


def test_shadowsocks_behind_something_is_never_plain(desk: Desk) -> None:
    user = "ss://YWVzLTI1Ni1nY206cA"
    text = f"{user}@192.0.2.1:443?type=ws&security=tls#ws\n{user}@192.0.2.2:443?shadow-tls=eyJ2ZXJzaW9uIjoiMyJ9#stls\n"
    assert desk.imports("ws.txt", text) is None
    assert "Shadowsocks through ws over TLS" in desk.said
    assert desk.imports("both.txt", f"{text}{user}@192.0.2.3:1#plain\n") is not None
    assert "Shadowsocks through ShadowTLS" in desk.said


def test_a_web_page_is_called_one(desk: Desk) -> None:
    assert desk.imports("page.html", "<!DOCTYPE html><html><head><title>Just a moment</title></head></html>") is None
    assert "page.html is a web page, not a list of servers" in desk.said


def test_rules_that_can_never_hold_name_the_form_that_would(desk: Desk) -> None:
    for rule, form in (
        ("DOMAIN-SUFFIX,*.bank.example,DIRECT", "write DOMAIN-SUFFIX,bank.example"),
        ("DOMAIN-SUFFIX,+.corp.example,DIRECT", "write DOMAIN-SUFFIX,corp.example"),
        ("DOMAIN,*.lan.example,DIRECT", "write DOMAIN-"),
    ):
        assert form in desk.refuses(f'server = "direct://"\nrules = ["{rule}", "MATCH,PROXY"]\n'), rule


def test_a_country_that_is_not_here_names_the_command(desk: Desk) -> None:
    said = desk.refuses('server = "direct://"\nrules = ["GEOIP,US,REJECT", "MATCH,PROXY"]\n')
    assert "there is no country data for US, which is arin's: run tunflow rules update --registry arin" in said


@pytest.mark.parametrize(
    ("content", "behavior", "count"),
    [
        ("\ufeff+.a.example\n", "domain", 1),
        ('payload: # mine\n  - "+.a.example"\n', "domain", 1),
        (
            "# a list\nDOMAIN-SUFFIX,a.example\nUSER-AGENT,MediaApp*\nIP-CIDR,198.51.100.0/24,no-resolve\n",
            "classical",
            2,
        ),
    ],
)
def test_lists_hold_what_is_understood(desk: Desk, capsys, content: str, behavior: str, count: int) -> None:
    (desk.folder / "set.txt").write_text(content)
    file = desk.folder / "own.toml"
    file.write_text(
        'server = "direct://"\nrules = ["RULE-SET,set,REJECT", "MATCH,DIRECT"]\n'
        f'[rule_sets.set]\nbehavior = "{behavior}"\nfile = "set.txt"\n'
    )
    assert main(["explain", "www.a.example", "--no-lookup", "--profile", str(file), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["rule"]["text"] == "RULE-SET,set,REJECT"
    assert err.count("USER-AGENT") == (2 if count == 2 else 0)
