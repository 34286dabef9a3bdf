"""A plan that another process made means what it meant there."""

from __future__ import annotations

import pickle
from itertools import product
from pathlib import Path

import pytest

from tunflow.dns.answers import AAAA, HTTPS, PTR, A
from tunflow.profiles.file import load
from tunflow.rules.conditions import Facts
from tunflow.tunnel.compile import compile_profile
from tunflow.tunnel.plan import Plan

NAMES = (
    "a.example", "b.a.example", "cn.example", "abroad.example", "fake.example", "real.example", "routed.example",
    "host.lan", "7.2.0.192.in-addr.arpa", "printer.local", "hidden.onion",
)  # fmt: skip
ADDRESSES = (bytes([1, 0, 0, 1]), bytes([1, 0, 1, 1]), bytes([192, 168, 0, 1]), bytes([9, 9, 9, 9]))
SPLIT = """
[dns]
domestic = ["223.5.5.5"]
foreign = ["tcp://8.8.8.8"]
hosts = { "+.nas.example" = ["192.0.2.9"], "other.example" = ["a.example"] }
ask_anyway = ["asked.lan"]
[dns.chinadns]
country_networks = "cn.txt"
blacklist = "cn.txt"
domestic_names = "names.txt"
foreign_names = "names.txt"
foreign_domains = ["+.abroad.example"]
distrusted = ["1.0.1.0/24"]
"""
DNS = {
    **{mode: f"[dns]\nmode = '{mode}'" for mode in ("off", "tcp", "fake", "tor", "cache,tls://9.9.9.9")},
    "the refined table": SPLIT,
    "the original table": SPLIT.replace("[dns.chinadns]", "[dns.chinadns]\ntable = 'original'"),
    "fake but": "[dns.fake_ip]\nreal = ['+.real.example', 'rule-set:list']",
    "fake only": "[dns.fake_ip]\nonly = ['+.fake.example']\nreal = ['real.example']",
    "routes": "[[dns.routes]]\ndomains = ['+.routed.example']\nservers = ['192.0.2.53']",
    "validated": "[dns]\nservers = ['tcp://9.9.9.9']\ndnssec = 'validate'\nblock_encrypted = true",
}
PROFILE = """
server = ["socks5://192.0.2.1:1080", "ss://aes-256-gcm:secret@192.0.2.7:8388"]
rules = [
  "DOMAIN,a.example,two",
  "DOMAIN-KEYWORD,cn,DIRECT",
  "DOMAIN-REGEX,^fake,REJECT",
  "RULE-SET,list,auto",
  "AND,((DST-PORT,443),(NETWORK,udp)),REJECT",
  "IP-CIDR,192.168.0.0/16,DIRECT,no-resolve",
  "PROCESS-NAME,curl,two",
  "MATCH,PROXY",
]
[servers.two]
url = "direct://"
[groups.auto]
type = "url-test"
servers = ["two", "PROXY"]
[rule_sets.list]
behavior = "domain"
file = "names.txt"
"""


@pytest.fixture(params=list(DNS))
def plan(request: pytest.FixtureRequest, tmp_path: Path) -> Plan:
    (tmp_path / "cn.txt").write_text("1.0.0.0/16\n")
    (tmp_path / "names.txt").write_text("cn.example\n")
    file = tmp_path / "p.toml"
    file.write_text(PROFILE + DNS[request.param])
    file.chmod(0o600)
    return compile_profile(load(file), lasting=True)


def facts(plan: Plan) -> list[object]:
    """What can be asked of a plan without opening its profile."""
    found: list[object] = [
        plan.labels, plan.first_hops, plan.goes_direct, plan.outer_resolvers, plan.host, plan.file, plan.has_rules,
        plan.group_memory, plan.fake_addresses, plan.asks_for_processes, plan.chains, plan.portal_probes,
    ]  # fmt: skip
    assert plan.rules is not None
    found += [plan.rules.groups, plan.rules.default]
    for network, port in (("tcp", 80), ("udp", 443)):
        for name, address in product((None, *NAMES), ADDRESSES):
            flow = Facts(network, ADDRESSES[0], 40000, port, address, name, name_sought=True, address_sought=True)
            found.append(plan.rules.table.match(flow))
    if plan.names is not None:
        made, scope = plan.names.plan, plan.names.scope
        for name in NAMES:
            found += [made.must_be_real(name), made.hidden(name), made.hosts.get(f"x.{name}"), made.aliases.get(name)]
            found += [(made.hides(name, kind), made.stays(name, kind)) for kind in (A, AAAA, HTTPS, PTR)]
            found.append(made.selector.select(name, A, 0.0).groups)
        found += [scope is not None and scope(address) for address in ADDRESSES]
        for test in ("inside", "in_country", "blacklisted"):
            if (asks := getattr(made.selector, test, None)) is not None:
                found += [asks(address) for address in ADDRESSES]
    return found


def test_it_means_the_same(plan: Plan):
    assert facts(pickle.loads(pickle.dumps(plan))) == facts(plan)


def test_its_profile_is_there_for_who_asks(plan: Plan):
    copy = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(plan))))
    assert copy.profile == plan.profile
    assert copy.at("servers", "two") == plan.at("servers", "two") != ""
