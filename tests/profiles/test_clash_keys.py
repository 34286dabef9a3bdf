"""What a Clash file says beside its servers and rules: each key is done, told or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunflow.dns.answers import AAAA
from tunflow.errors import LocalError
from tunflow.profiles import file as profile_file
from tunflow.profiles.imports import keys
from tunflow.profiles.imports.clash import read_clash
from tunflow.profiles.profile import Profile
from tunflow.rules.groups import Group, Groups, Health
from tunflow.tunnel.dns_plan import dns_config
from tunflow.tunnel.rule_data import DATA_VARIABLE

ROOT = Path(__file__).parents[2]
SERVER = "{{name: {}, type: ss, server: 192.0.2.{}, port: 8388, cipher: aes-256-gcm, password: p{}}}"
A, B = SERVER.format("a", 1, ""), SERVER.format("b", 2, "")


def taken(text: str, fetch=None) -> tuple[Profile, list[str], list[str]]:
    """The profile, what was lost, and what was only told."""
    draft = read_clash(text, "c.yaml", fetch)
    profile = draft.profile("c")
    said = {lost: [f"{e.place} {e.reason}" for e in draft.told if e.is_lost is lost] for lost in (True, False)}
    return profile, said[True], said[False]


def with_dns(dns: str, more: str = "") -> str:
    return f"proxies: [{A}]\n{more}dns: {{enable: true, nameserver: [1.1.1.1], {dns}}}\nrules: ['MATCH,a']\n"


def test_include_all_takes_the_servers_that_the_filter_names() -> None:
    names = [SERVER.format(name, 1, "") for name in ("HK-01", "US-01", "HK-old")]
    groups = (
        "- {name: Proxy, type: select, proxies: [HK, DIRECT]}\n"
        "- {name: HK, type: url-test, include-all: true, filter: '(?i)hk', exclude-filter: old}\n"
        "- {name: None, type: select, include-all: true, exclude-type: Shadowsocks}\n"
    )
    profile, lost, _ = taken(f"proxies: [{', '.join(names)}]\nproxy-groups:\n{groups}rules: ['MATCH,Proxy']\n")
    assert {name: group.servers for name, group in profile.groups.items()} == {
        "Proxy": ("HK", "DIRECT"),
        "HK": ("HK-01",),
        "None": ("REJECT",),
    }
    assert lost == ["c.yaml:5 group 'None' has no server left: it is REJECT"]


def test_a_server_behind_another_is_a_chain() -> None:
    behind = SERVER.format("b", 2, ", dialer-proxy: a")
    profile, lost, _ = taken(f"proxies: [{behind}, {A}]\nrules: ['MATCH,b']\n")
    assert not lost
    assert [link.server.first_hop for link in profile.servers["b"].chain] == [
        ("192.0.2.1", 8388),
        ("192.0.2.2", 8388),
    ]


@pytest.mark.parametrize("before", ["gone", "b", "vm"])
def test_a_chain_is_never_shortened(before: str) -> None:
    behind = SERVER.format("b", 2, f", dialer-proxy: {before}")
    profile, lost, _ = taken(f"proxies: [{behind}, {A}, {{name: vm, type: snell}}]\nrules: ['MATCH,b']\n")
    assert set(profile.servers) == {"a"}
    assert profile.rules == ("MATCH,REJECT",)
    assert any("proxy 'b': dialer-proxy" in each for each in lost)


def test_a_file_of_proxies_only_is_a_group_to_choose_from() -> None:
    profile, lost, _ = taken(f"proxies: [{A}, {B}]\n")
    assert not lost
    assert profile.groups["servers"].servers == ("a", "b")
    assert profile.rules == ("MATCH,servers",)


def test_providers_are_read_from_files_addresses_and_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(f"proxies:\n- {A}\n")
    fetched = {"https://p.example/list": b"ss://YWVzLTI1Ni1nY206cA@192.0.2.9:8388#far\n"}
    text = (
        "proxy-providers:\n"
        f"  file: {{type: file, path: {tmp_path}/own.yaml, override: {{additional-prefix: 'x '}}}}\n"
        "  web: {type: http, url: 'https://p.example/list', interval: 3600, health-check: {enable: true,\n"
        "    url: 'http://h.example/', interval: 60, timeout: 2000, lazy: false, expected-status: 204}}\n"
        f"  own: {{type: inline, payload: [{B}], filter: nothing}}\n"
        "  gone: {type: http, url: 'https://g.example/list'}\n"
        "proxy-groups:\n"
        "- {name: all, type: select, include-all: true}\n"
        "- {name: lost, type: select, use: [gone], proxies: [DIRECT]}\n"
        "rules: ['MATCH,all']\n"
    )

    def fetch(url: str) -> bytes:
        from tunflow.errors import RemoteError

        if url not in fetched:
            raise RemoteError("g.example does not answer")
        return fetched[url]

    profile, lost, told = taken(text, fetch)
    assert set(profile.servers) == {"x a", "far"}
    assert profile.groups["all"].servers == ("x a", "far")
    assert profile.groups["lost"].servers == ("REJECT",)
    assert any("provider 'gone': g.example does not answer" in each for each in lost)
    assert profile.groups["all"].expected_status == "204"
    assert not any("interval" in each for each in told)


def test_sub_rules_are_their_rules_with_the_condition_before_them() -> None:
    rules = "['SUB-RULE,(NETWORK,udp),s', 'MATCH,a']"
    profile, lost, _ = taken(
        f"proxies: [{A}]\nsub-rules: {{s: ['DOMAIN,x.example,REJECT', 'MATCH,DIRECT']}}\nrules: {rules}\n"
    )
    assert not lost
    assert profile.rules == (
        "AND,((NETWORK,udp),(DOMAIN,x.example)),REJECT",
        "AND,((NETWORK,udp)),DIRECT",
        "MATCH,a",
    )


def test_rules_that_need_data_name_where_it_is_fetched(tmp_path: Path) -> None:
    rules = "rules: ['GEOSITE,cn,DIRECT', 'IP-ASN,13335,a', 'GEOIP,telegram,a', 'MATCH,a']\n"
    profile, lost, _ = taken(f"proxies: [{A}]\ngeox-url: {{geosite: 'https://h.example/g.dat'}}\n{rules}")
    assert not lost
    assert profile.geosite == "https://h.example/g.dat"
    assert profile.asn.endswith("GeoLite2-ASN.mmdb")
    assert profile.geoip.endswith("geoip.metadb")
    (tmp_path / "GeoSite.dat").write_bytes(b"")
    draft = read_clash(f"proxies: [{A}]\n{rules}", str(tmp_path / "c.yaml"))
    assert draft.profile("c").geosite == str(tmp_path / "GeoSite.dat")


def names_with_real_addresses(profile: Profile, *names: str) -> list[bool]:
    config = dns_config(profile)
    assert config is not None
    return [config.plan.must_be_real(name) for name in names]


def test_fake_addresses_for_listed_names_only() -> None:
    dns = "ipv6: false, enhanced-mode: fake-ip, fake-ip-filter-mode: whitelist, fake-ip-filter: ['+.youtube.com']"
    profile, lost, _ = taken(with_dns(dns))
    assert not lost
    assert names_with_real_addresses(profile, "www.youtube.com", "youtube.com", "x.example") == [False, False, True]
    config = dns_config(profile)
    assert config is not None
    assert config.plan.hides("x.example", AAAA)


def test_fake_addresses_by_rules() -> None:
    rules = "['DOMAIN-SUFFIX,lan.example.com,real-ip', 'DOMAIN,one.example.com,real-ip', 'MATCH,fake-ip']"
    profile, lost, _ = taken(with_dns(f"enhanced-mode: fake-ip, fake-ip-filter-mode: rule, fake-ip-filter: {rules}"))
    assert not lost
    names = ("a.lan.example.com", "one.example.com", "a.one.example.com", "x.example.com")
    assert names_with_real_addresses(profile, *names) == [True, True, False, False]


def test_names_with_stars_have_their_depth() -> None:
    listed = "['*.video.example.com', '+.stun.*.*', 'exact.example.com', '.below.example.com']"
    profile, lost, _ = taken(with_dns(f"enhanced-mode: fake-ip, fake-ip-filter: {listed}"))
    assert not lost
    for name, is_real in {
        "a.video.example.com": True, "video.example.com": False, "a.b.video.example.com": False,
        "x.y.stun.a.b": True, "x.stun.a.b": True, "x.stun.a": False,
        "exact.example.com": True, "a.exact.example.com": False,
        "below.example.com": False, "a.b.below.example.com": True,
    }.items():  # fmt: skip
        assert names_with_real_addresses(profile, name) == [is_real], name


def a_file_of_topics(path: Path) -> Path:
    """V2Ray's file: two topics, of a name each."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    topics = b""
    for topic, name in ((b"CN", b"home.example.com"), (b"GFW", b"wall.example.com")):
        domain = bytes([1 << 3, 2]) + field(2, name)
        topics += field(1, field(1, topic) + field(2, domain))
    path.write_bytes(topics)
    return path


def test_names_by_topic_have_resolvers_and_real_addresses(tmp_path: Path) -> None:
    a_file_of_topics(tmp_path / "geosite.dat")
    text = with_dns(
        "enhanced-mode: fake-ip, fake-ip-filter: ['geosite:cn', '*.lan.example.com'], "
        "nameserver-policy: {'geosite:cn,gfw': 10.0.0.53, 'www.plain.example.com': 10.0.0.54}"
    )
    draft = read_clash(text, str(tmp_path / "c.yaml"))
    profile = draft.profile("c")
    assert not [each for each in draft.told if each.is_lost]
    assert profile.geosite == str(tmp_path / "geosite.dat")
    assert profile.dns.routes[0].domains == ("geosite:cn", "geosite:gfw")
    config = dns_config(profile)
    assert config is not None
    assert config.plan.must_be_real("a.home.example.com")
    groups = {
        name: config.plan.selector.select(name, AAAA, 0.0).groups for name in ("wall.example.com", "x.example.com")
    }
    assert groups == {"wall.example.com": ("routes[0]",), "x.example.com": ("servers",)}
    again = Profile.parse({**profile_file.as_data(profile), "geosite": None}, "c")
    with pytest.raises(LocalError, match=r"dns: geosite:cn: there are no names"):
        dns_config(again)


def test_topics_of_a_fallback_filter_are_asked_abroad_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_file_of_topics(tmp_path / "geosite.dat")
    (tmp_path / "cn.txt").write_text("1.0.0.0/8\n")
    text = with_dns("fallback: ['tls://8.8.8.8'], fallback-filter: {geosite: [gfw], domain: ['+.google.com']}")
    draft = read_clash(text, str(tmp_path / "c.yaml"))
    assert not [each for each in draft.told if each.is_lost]
    draft.dns["chinadns"]["country_networks"] = str(tmp_path / "cn.txt")
    config = dns_config(draft.profile("c"))
    assert config is not None
    selector = config.plan.selector
    assert [selector.tag(name) for name in ("a.wall.example.com", "www.google.com", "x.example")] == [
        "gfw",
        "gfw",
        "none",
    ]


def test_names_that_nobody_is_asked_for_are_refused_by_rules() -> None:
    text = with_dns(
        "nameserver-policy: {'+.ads.example,one.example': 'rcode://success', '*.x.example': 'rcode://refused'}"
    )
    profile, lost, _ = taken(text)
    assert profile.rules == ("DOMAIN,one.example,REJECT", "DOMAIN-SUFFIX,ads.example,REJECT", "MATCH,a")
    assert [each.partition(": ")[2] for each in lost] == [
        "*.x.example is not refused: rules are about names, and all below"
    ]
    assert not profile.dns.routes


def test_rules_about_clashs_own_ports_never_hold_and_cost_nothing() -> None:
    profile, lost, told = taken(f"proxies: [{A}]\nrules: ['IN-TYPE,SOCKS,a', 'IN-PORT,7890,DIRECT', 'MATCH,DIRECT']\n")
    assert not lost
    assert profile.rules == ("MATCH,DIRECT",)
    assert len(told) == 2


def test_resolvers_of_two_sides_are_chinadns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    (tmp_path / "delegated").mkdir()
    (tmp_path / "delegated" / "ripencc.txt").write_text(
        "2|ripencc|20260101|2|19830613|20260101|+0000\nripencc|IR|ipv4|5.22.0.0|65536|20110414|allocated\n"
        "ripencc|IR|ipv4|240.0.0.0|65536|20110414|allocated\n"
    )
    filters = "{geoip: true, geoip-code: IR, ipcidr: [240.0.0.0/4], domain: ['+.google.com']}"
    profile, lost, _ = taken(with_dns(f"fallback: ['tls://8.8.8.8'], fallback-filter: {filters}"))
    assert not lost
    assert profile.dns.chinadns.country == "IR"
    config = dns_config(profile)
    assert config is not None
    selector = config.plan.selector
    assert selector.in_country(bytes([5, 22, 0, 1]))
    assert not selector.in_country(bytes([240, 0, 0, 1])), "believed though it is told not to be"
    assert [selector.tag(name) for name in ("www.google.com", "x.example")] == ["gfw", "none"]


def test_a_resolver_is_asked_through_the_server_that_it_names() -> None:
    text = (
        f"proxies: [{A}]\ndns: {{enable: true, nameserver: ['https://8.8.8.8/dns-query#a&h3=true',\n"
        "'https://8.8.8.8/dns-query#RULES', 'https://9.9.9.9/dns-query#gone', 'tls://1.1.1.1#skip-cert-verify=true',\n"
        "system, 'dhcp://en0']}\nrules: ['MATCH,a']\n"
    )
    profile, lost, told = taken(text)
    assert profile.dns.servers == ("https://8.8.8.8/dns-query#a", "https://8.8.8.8/dns-query")
    assert told == ["c.yaml:2 dns.nameserver: h3: asked by HTTP/2"]
    assert [each.partition(": ")[2][:40] for each in lost] == [
        "there is no server or group 'gone' to as",
        "tls://1.1.1.1: skip-cert-verify is not s",
        "system: resolvers have an address, and a",
        "dhcp://en0: resolvers have an address, a",
    ]


def test_names_of_the_file_itself() -> None:
    names = (
        "old.example: new.example, new.example: 192.0.2.7, '*.dev.example': 127.0.0.1, "
        "x.example: y.example, z.example: x.example, two.example: [y.example, 192.0.2.1]"
    )
    more = f"hosts: {{{names}}}\n"
    profile, lost, _ = taken(with_dns("", more))
    config = dns_config(profile)
    assert config is not None
    hosts, aliases = config.plan.hosts, config.plan.aliases
    assert hosts.get("old.example") == hosts.get("new.example") == (bytes([192, 0, 2, 7]),)
    assert hosts.get("a.dev.example") == (bytes([127, 0, 0, 1]),)
    assert hosts.get("dev.example") is None
    assert [aliases.get(name) for name in ("x.example", "z.example", "y.example")] == ["y.example", "y.example", None]
    assert [each.partition("hosts: ")[2] for each in lost] == ["two.example: must have addresses, or one other name"]
    off, _, told = taken(with_dns("use-hosts: false", more))
    assert not off.dns.hosts
    assert any("use-hosts is false" in each for each in told)


def test_what_is_not_done_is_told_with_its_line() -> None:
    text = f"""\
ipv6: false
tun: {{enable: true, route-exclude-address: [192.0.2.0/24], exclude-uid: [1001]}}
sniffer: {{enable: true, skip-domain: [x]}}
proxies:
  - {SERVER.format("a", 1, ", udp: false, tfo: true, ip-version: ipv6, smux: {enabled: false}")}
  - {SERVER.format("b", 2, ", smux: {enabled: true}, udp-over-tcp: true, client-fingerprint: chrome")}
proxy-groups:
  - {{name: lb, type: load-balance, strategy: round-robin, proxies: [a, b], interval: 300}}
  - {{name: ut, type: url-test, tolerance: 200, lazy: false, proxies: [a, b], timeout: 1000, expected-status: 200/204}}
  - {{name: nt, type: url-test, interval: 0, proxies: [a, b]}}
rules: ["MATCH,ut"]
"""
    profile, lost, told = taken(text)
    assert not lost
    assert profile.dns.hide_aaaa
    assert profile.tunnel.excluded_routes == ("192.0.2.0/24",)
    assert profile.groups["lb"].strategy == "round-robin"
    assert profile.groups["ut"].tolerance == 0.2
    assert (profile.groups["ut"].lazy, profile.groups["ut"].timeout) == (False, 1.0)
    assert profile.groups["ut"].expected_status == "200/204"
    for start in (
        "c.yaml:2 tun.exclude-uid: ", "c.yaml:3 sniffer.skip-domain: ",
        "c.yaml:5 proxy 'a': tfo: ", "c.yaml:5 proxy 'a': ip-version: ",
        "c.yaml:6 proxy 'b': client-fingerprint: ",
        "c.yaml:10 group 'nt': interval: ",
    ):  # fmt: skip
        assert any(each.startswith(start) for each in told), (start, told)
    assert not any("smux" in each or "udp" in each for each in told)
    assert "mux=h2mux" in profile.servers["b"].url.text
    assert "udp=no" in profile.servers["a"].url.text
    assert "udp-over-tcp-version=1" in profile.servers["b"].url.text


def test_one_server_after_the_other() -> None:
    groups = Groups([Group("g", "load-balance", ("a", "b"), strategy="round-robin")], ("a", "b"), Health(lambda: 0.0))
    assert [groups.way("g", "same")[-1] for _ in range(4)] == ["a", "b", "a", "b"]


@pytest.mark.parametrize("name", keys.FORMATS)
def test_the_docs_show_the_tables_of_keys(name: str) -> None:
    page = (ROOT / "docs" / "rules.md").read_text()
    assert keys.markdown(name) in page, f"docs/rules.md must hold keys.markdown({name!r})"


@pytest.mark.parametrize(
    ("more", "api"),
    [
        ("external-controller: 127.0.0.1:9090\nsecret: s3\n", ("127.0.0.1:9090", "s3")),
        ("external-controller: ':9090'\n", ("127.0.0.1:9090", None)),
        ("external-controller: '[::1]:9090'\n", ("[::1]:9090", None)),
        ("external-controller: 0.0.0.0:9090\nsecret: s3\n", None),
        ("external-controller: 127.0.0.1\n", None),
        ("external-controller: 192.0.2.7:9090\n", None),
    ],
)
def test_the_dashboards_api_is_taken_where_nobody_else_can_use_it(
    more: str, api: tuple[str, str | None] | None
) -> None:
    profile, lost, told = taken(f"proxies: [{A}]\n{more}rules: ['MATCH,a']\n")
    assert lost == []
    if api is None:
        assert profile.api is None
        assert any("external-controller is open to others" in line for line in told)
    else:
        assert profile.api is not None
        assert (profile.api.listen, profile.api.secret) == api


@pytest.mark.parametrize(
    ("interval", "seconds"), [("86400", 86400.0), ("5", 60.0), ("0", None), ("x", None), ("9" * 30, None)]
)
def test_lists_are_fetched_again_as_the_file_says(interval: str, seconds: float | None) -> None:
    sets = f"{{l: {{type: http, behavior: domain, url: 'https://l.example/l', interval: {interval}}}}}"
    profile, lost, _ = taken(f"proxies: [{A}]\nrule-providers: {sets}\nrules: ['RULE-SET,l,REJECT', 'MATCH,a']\n")
    assert not lost
    assert profile.rule_sets["l"].interval == seconds
