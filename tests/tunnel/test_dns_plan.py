"""A profile's [dns]: what it comes to, and what is wrong with one in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunflow.dns.answers import AAAA, A
from tunflow.dns.chinadns import DOMESTIC, FOREIGN, ChinaDNS
from tunflow.dns.chinadns_ng import ChinaDNSNG
from tunflow.dns.config import BOOTSTRAP, SERVERS, DNSConfig
from tunflow.errors import LocalError
from tunflow.profiles.file import load, parse
from tunflow.tunnel.compile import compile_profile
from tunflow.tunnel.dns_plan import dns_config

HEAD = 'server = ["direct://"]\n[dns]\n'
SPLIT = 'domestic = ["223.5.5.5"]\nforeign = ["tcp://8.8.8.8"]\n[dns.chinadns]\ncountry_networks = "cn.txt"\n'


@pytest.fixture
def config(tmp_path: Path):
    (tmp_path / "cn.txt").write_text("1.0.0.0/16  # home\n\n240e::/20\n")
    (tmp_path / "home.txt").write_text("server=/home.test/114.114.114.114\nBÜcher.test\n+.more.test\n")
    (tmp_path / "bad.txt").write_text("1.0.0.0/16\n1.0.0.1/99\n")
    (tmp_path / "bad-names.txt").write_text("good.test\na..b\n")

    def make(dns: str) -> DNSConfig | None:
        path = tmp_path / "p.toml"
        path.write_text(HEAD + dns)
        path.chmod(0o600)
        return dns_config(load(path))

    return make


@pytest.mark.parametrize("dns", ["", 'mode = "udp"', 'mode = "fake"', 'match_domains = ["corp.test"]'])
def test_a_mode_alone_is_not_ours(config, dns):
    assert config(dns) is None


def test_servers(config):
    made = config('servers = ["https://1.1.1.1/dns-query", "9.9.9.9#direct"]\nrace = true')
    group = made.groups[SERVERS]
    assert [each.label for each in group.upstreams] == ["https://1.1.1.1/dns-query", "udp://9.9.9.9"]
    assert (group.race, group.via, made.fake_ip) == (True, "tunnel", None)


def test_the_refined_table(config):
    made = config(SPLIT + 'domestic_names = "home.txt"\nno_aaaa = ["chn"]')
    assert (made.groups[DOMESTIC].via, made.groups[FOREIGN].via) == ("direct", "tunnel")
    selector = made.plan.selector
    assert isinstance(selector, ChinaDNSNG)
    assert [selector.tag(name) for name in ("www.home.test", "xn--bcher-kva.test", "more.test", "else.test")] == [
        "chn", "chn", "chn", "none",
    ]  # fmt: skip
    assert selector.in_country(bytes([1, 0, 0, 1]))
    assert not selector.in_country(bytes([1, 1, 0, 1]))
    assert made.plan.hides("home.test", AAAA)
    assert not made.plan.hides("home.test", A)
    assert not made.plan.hides("else.test", AAAA)


def test_the_original_table(config):
    made = config(SPLIT + 'table = "original"\nbidirectional = true\nmutation = true\ndelay = 0.5')
    selector = made.plan.selector
    assert isinstance(selector, ChinaDNS)
    assert (selector.bidirectional, selector.mutation, selector.delay) == (True, True, 0.5)
    assert made.groups[FOREIGN].mutation
    assert not made.groups[DOMESTIC].mutation
    assert made.groups[DOMESTIC].race


def test_fake_addresses_hosts_and_routes(config):
    made = config(
        'hosts = {"NAS.lan" = ["192.0.2.7"]}\nbootstrap = ["223.5.5.5"]\nhide_aaaa = true\n'
        '[[dns.routes]]\ndomains = ["corp.test"]\nservers = ["10.0.0.53#direct"]\n'
        '[dns.fake_ip]\nreal = ["real.test"]\nnames = 100'
    )
    assert made.fake_ip.names == 100
    assert made.plan.hosts == {"nas.lan": (bytes([192, 0, 2, 7]),)}
    real = made.plan.must_be_real
    assert [real(name) for name in ("a.real.test", "x.corp.test", "ntp.org", "www.else.com")] == [
        True,
        True,
        True,
        False,
    ]
    assert made.plan.selector.select("x.corp.test", A, 0.0).groups == ("routes[0]",)
    assert made.plan.selector.select("else.com", A, 0.0).groups == (SERVERS,)
    assert made.plan.hides("else.com", AAAA)
    assert BOOTSTRAP in made.groups


@pytest.mark.parametrize(
    ("dns", "said"),
    [
        ('servers = ["h3://1.1.1.1"]', "p.toml:3: dns.servers[0] resolver 'h3://1.1.1.1'"),
        ('domestic = ["1.1.1.1"]', "both domestic and foreign"),
        ('domestic = ["1.1.1.1"]\nforeign = ["1.1.1.1"]\nservers = ["1.1.1.1"]', "either servers"),
        ('mode = "udp"\nservers = ["1.1.1.1"]', 'no mode but "fake"'),
        ('server = ["1.1.1.1"]', "did you mean servers?"),
        (SPLIT.replace("cn.txt", "none.txt"), "cannot read"),
        (SPLIT.replace("cn.txt", "bad.txt"), "bad.txt:2: not a network"),
        (SPLIT + 'foreign_names = "bad-names.txt"', "bad-names.txt:2: not a domain"),
        (SPLIT + 'country = "CN"\ndelay = 9.0', "at most 3"),
        ('[dns.fake_ip]\npool4 = "fd00::/64"', "fake-IP pools"),
        ('hosts = {"a..b" = ["192.0.2.1"]}', "hosts"),
        ('hosts = {"a.test" = ["b.test", "192.0.2.1"]}', "has addresses, or one other name"),
        ('hosts = {"a.test" = ["b.test"], "b.test" = ["a.test"]}', "'a.test' stands for itself in the end"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(config, dns, said):
    with pytest.raises(LocalError) as failure:
        config(dns)
    assert said in str(failure.value)
    assert "\n" not in str(failure.value)


def test_onion_gets_a_fake_address_where_a_profile_asks_for_it_and_never_a_real_one() -> None:
    """So that a rule can send it to a Tor that is one server among others."""
    text = """
rules = ["DOMAIN-SUFFIX,onion,T", "MATCH,s"]
[servers.T]
url = "tor://127.0.0.1:9050"
[servers.s]
url = "ss://YWVzLTI1Ni1nY206cA@192.0.2.1:8388"
[dns]
mode = "fake"
servers = ["tcp://1.1.1.1"]
ask_anyway = ["onion"]
"""
    for given, stays in ((text, False), (text.replace("ask_anyway", "#"), True)):
        names = compile_profile(parse(given, "x.toml")).names
        assert names is not None
        assert names.fake_ip is not None
        assert names.plan.stays("a.onion", A) is stays
        assert not names.plan.must_be_real("a.onion")
