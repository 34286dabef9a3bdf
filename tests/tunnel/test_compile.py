from __future__ import annotations

import lzma
import random
from ipaddress import ip_address
from pathlib import Path
from socket import AF_INET

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from tunflow.dataplane.decision import Refuse
from tunflow.dns.config import SERVERS
from tunflow.endpoint import Address
from tunflow.errors import LocalError
from tunflow.outbound.direct import DirectOutbound
from tunflow.outbound.lookup import NoAddress
from tunflow.profiles.file import load, parse
from tunflow.protocols.block.outbound import BlockOutbound
from tunflow.protocols.server_addresses import ServerAddresses
from tunflow.protocols.server_outbound import ServerOutbound
from tunflow.rules.conditions import Facts
from tunflow.rules.table import Verdict
from tunflow.tunnel.compile import compile_profile, with_dns_mode
from tunflow.tunnel.outbounds import find_hops_now, make_outbounds
from tunflow.tunnel.rule_data import DATA_VARIABLE, Countries, directories, networks, rule_set_path

APNIC = Path(__file__).parent.parent / "vectors" / "delegated-apnic-20210715.txt.xz"
LINK = "ss://aes-256-gcm:secret@192.0.2.7:8388"
PROFILE = f"""\
server = "{LINK}"
rules = [
  "DOMAIN,a.example,two",
  # a comment
  "RULE-SET,list,auto",
  "GEOIP,CN,DIRECT",
  "DST-PORT,25,REJECT",
]

[servers.two]
url = "direct://"

[groups.auto]
type = "fallback"
servers = ["two", "PROXY"]

[rule_sets.list]
behavior = "domain"
file = "list.txt"
"""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "data"
    (place / "delegated").mkdir(parents=True)
    (place / "delegated" / "apnic.txt").write_bytes(lzma.decompress(APNIC.read_bytes()))
    monkeypatch.setenv(DATA_VARIABLE, str(place))
    return place


def routing_of(profile):
    plan = compile_profile(profile)
    find, _ = find_hops_now(plan.first_hops)
    return make_outbounds(plan, find).routing


def facts(name=None, address=None, port=443):
    packed = ip_address(address).packed if address else None
    return Facts("tcp", bytes(4), 1, port, packed, name, name_sought=True, address_sought=True)


def test_a_profile_becomes_rules_groups_and_dialers(tmp_path, data):
    (tmp_path / "list.txt").write_text("+.listed.example\n")
    (tmp_path / "p.toml").write_text(PROFILE)
    routing = routing_of(load(tmp_path / "p.toml"))
    file = str(tmp_path / "p.toml")
    assert routing.table.match(facts("a.example")) == Verdict("two", file, 3, "DOMAIN,a.example,two")
    assert routing.table.match(facts("x.listed.example")).line == 5
    assert routing.table.match(facts(address="114.114.114.114")).target == "DIRECT"
    assert routing.table.match(facts(address="8.8.8.8")) is None
    assert routing.default.target == "PROXY"
    assert routing.groups.way("auto", "x") == ["auto", "two"]
    kinds = {name: type(way) for name, way in routing.ways.items()}
    assert kinds["two"] is kinds["DIRECT"] is DirectOutbound
    assert kinds["PROXY"] is ServerOutbound
    assert routing.ways["REJECT"] is Refuse.RESET
    assert routing.ways["REJECT-DROP"] is Refuse.DROP


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('rules = ["MATCH,home"]', r"p\.toml:1: there is no server or group 'home'; there are: DIRECT, REJECT"),
        ('rules = [\n"DOMAIN,a.b,DIRECT",\n"DOMAIN,a b,DIRECT"]', r"p\.toml:3: a character that no name has"),
        ('rules = ["DOMAIN,a.b,DIRECT"]', r"p\.toml:1: the last rule must be MATCH,TARGET"),
        ("rules = []", r"p\.toml: no server: give one as server = "),
        (f'[servers.DIRECT]\nurl = "{LINK}"', r"p\.toml:1: DIRECT is a built-in target"),
        (
            f'[servers.a]\nurl = "{LINK}"\n[groups.a]\ntype = "select"\nservers = ["a"]',
            r"p\.toml:3: 'a' is a server already",
        ),
        ('[groups.a]\ntype = "select"\nservers = ["b"]', r"p\.toml:1: group 'a': there is no server or group 'b'"),
        (
            'rules = ["RULE-SET,l,DIRECT", "MATCH,DIRECT"]\n[rule_sets.l]\nbehavior = "domain"\nfile = "none.txt"',
            r"cannot read .*none\.txt: No such file",
        ),
        (
            'rules = ["RULE-SET,l,DIRECT", "MATCH,DIRECT"]\n[rule_sets.l]\nbehavior = "domain"\nurl = "https://h.example/l"',
            r"p\.toml:2: rule set 'l' was not fetched yet: tunflow rules update",
        ),
        ('[rule_sets.l]\nbehavior = "domain"', r"p\.toml:1: rule_sets\.l must have either file, url or lines"),
        ('rules = ["GEOIP,ZZ,DIRECT", "MATCH,DIRECT"]', r"p\.toml:1: there is no country data for ZZ, .*--registry"),
        (
            'rules = ["GEOIP,US,DIRECT", "MATCH,DIRECT"]',
            r"p\.toml:1: there is no country data for US, which is arin's: run tunflow rules update --registry arin",
        ),
        ('rules = ["GEOSITE,cn,DIRECT", "MATCH,DIRECT"]', r"p\.toml:1: there are no names for GEOSITE,cn"),
        ('rules = ["IP-ASN,1,DIRECT", "MATCH,DIRECT"]', r"p\.toml:1: there are no addresses for IP-ASN,1"),
        (
            'geosite = "https://h.example/g"\nrules = ["GEOSITE,cn,DIRECT", "MATCH,DIRECT"]',
            r"p\.toml:2: .*p\.toml:1: geosite was not fetched yet: tunflow rules update p",
        ),
        ('rules = ["GEOIP,CHN,DIRECT", "MATCH,DIRECT"]', r"p\.toml:1: 'CHN' is not a country"),
        (
            'geoip = "p.toml"\nrules = ["GEOIP,CN,DIRECT", "MATCH,DIRECT"]',
            r"not a country database \(MMDB or geoip",
        ),
        ('geoip = "none.mmdb"\nrules = ["GEOIP,CN,DIRECT", "MATCH,DIRECT"]', r"cannot read the country database"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, data, text, why):
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(LocalError, match=why):
        compile_profile(load(tmp_path / "p.toml"))


def test_a_server_whose_name_fails_refuses_and_the_others_work():
    profile = parse(
        f'rules = ["MATCH,good"]\n[servers.good]\nurl = "{LINK}"\n'
        f'[servers.bad]\nurl = "{LINK.replace("192.0.2.7", "x.invalid")}"',
        "p.toml",
    )

    def find(host, port):
        if host == "x.invalid":
            raise NoAddress("the server's name 'x.invalid' cannot be resolved")
        return ServerAddresses([Address(AF_INET, (host, port))])

    plan = compile_profile(profile)
    known, failures = find_hops_now(plan.first_hops, find)
    assert failures == ["the server's name 'x.invalid' cannot be resolved"]
    routing = make_outbounds(plan, known).routing
    assert isinstance(routing.ways["bad"], BlockOutbound)
    assert isinstance(routing.ways["good"], ServerOutbound)
    profile = parse(f'server = "{LINK.replace("192.0.2.7", "x.invalid")}"', "p.toml")
    with pytest.raises(NoAddress, match="cannot be resolved"):
        find_hops_now(compile_profile(profile).first_hops, find)


def test_country_data_that_is_missing_or_broken_is_told(tmp_path):
    with pytest.raises(LocalError, match="no country data for CN, which is apnic's: run tunflow rules update"):
        Countries(places=[tmp_path]).addresses("cn")
    (tmp_path / "delegated").mkdir()
    (tmp_path / "delegated" / "apnic.txt").write_text("<html>")
    with pytest.raises(LocalError, match=r"apnic\.txt: line 1: not the version line.*fetches it again"):
        Countries(places=[tmp_path]).addresses("cn")


@pytest.fixture
def database(tmp_path) -> Path:
    """A country database in MaxMind's format."""
    writer = MMDBWriter(6, "Test-Country", languages=["en"], ipv4_compatible=True)
    writer.insert_network(IPSet(["1.0.1.0/24", "2001:250::/35"]), {"country": {"iso_code": "CN"}})
    writer.insert_network(IPSet(["8.8.8.0/24"]), {"registered_country": {"iso_code": "US"}})
    writer.insert_network(IPSet(["9.9.9.0/24"]), {"country": "odd"})
    writer.to_db_file(str(tmp_path / "country.mmdb"))
    return tmp_path / "country.mmdb"


def test_a_country_database_decides(database):
    china, america = Countries(database).test("cn"), Countries(database).test("US")
    for text, where in (("1.0.1.9", china), ("2001:250::1", china), ("8.8.8.8", america)):
        assert ip_address(text).packed in where
    for text in ("8.8.8.8", "9.9.9.9", "192.0.2.1", "2001:db8::1"):
        assert ip_address(text).packed not in china
    text = f'geoip = "{database}"\nrules = ["GEOIP,CN,DIRECT", "MATCH,REJECT"]'
    table = routing_of(parse(text, "p.toml")).table
    assert table.match(facts(address="1.0.1.1")).target == "DIRECT"
    assert table.match(facts(address="1.0.2.1")).target == "REJECT"


def test_a_broken_database_is_no_crash(database):
    """Cut anywhere, or with any byte changed: an error in one line, or a country that nobody is in."""
    whole = database.read_bytes()
    said: list[str] = []
    rng = random.Random(1)
    for _ in range(300):
        broken = bytearray(whole)
        if rng.random() < 0.3:
            del broken[rng.randrange(len(broken)) :]
        else:
            for _ in range(rng.randrange(1, 6)):
                broken[rng.randrange(len(broken))] = rng.randrange(256)
        database.write_bytes(broken)
        try:
            where = Countries(database).test("CN")
        except LocalError as error:
            said.append(str(error))
            continue
        for text in ("1.0.1.9", "2001:250::1", "8.8.8.8"):
            assert (ip_address(text).packed in where) in {True, False}
    assert said
    assert not [line for line in said if "\n" in line]


def test_routes_name_networks_and_countries(data):
    found = networks(["10.0.0.0/8", "cn", "fd00::/8"])
    assert len(found) == 5422 + 1908 + 2
    assert str(found[0]) == "10.0.0.0/8"
    with pytest.raises(LocalError, match=r"'10\.0\.0\.1/8' is neither a network nor a country"):
        networks(["10.0.0.1/8"])


def test_data_has_its_place():
    assert directories({}, uid=0) == [Path("/var/lib/tunflow")]
    assert directories({"HOME": "/h"}, uid=5) == [Path("/h/.local/share/tunflow"), Path("/var/lib/tunflow")]
    assert directories({"XDG_DATA_HOME": "/d"}, uid=5)[0] == Path("/d/tunflow")
    assert directories({DATA_VARIABLE: "/x"}, uid=0) == [Path("/x")]
    assert rule_set_path("https://a.example/l").parent == Path("rule-sets")


@pytest.mark.parametrize(
    ("mode", "resolver", "answered"),
    [
        ("tcp", "tcp://1.1.1.1", (True, True, False)),
        ("udp", "udp://1.1.1.1", (True, True, False)),
        ("9.9.9.9", "tcp://9.9.9.9", (True, True, False)),
        ("9.9.9.9:5353", "tcp://9.9.9.9:5353", (True, True, False)),
        ("fd00::9", "tcp://[fd00::9]", (True, True, False)),
        ("udp://[fd00::9]:5353", "udp://[fd00::9]:5353", (True, True, False)),
        ("cache,udp://9.9.9.9", "udp://9.9.9.9", (True, True, True)),
        ("tls://dns.quad9.net@9.9.9.9", "tls://dns.quad9.net@9.9.9.9", (True, True, True)),
        ("fake", "tcp://1.1.1.1", (True, True, True)),
    ],
)
def test_a_mode_says_who_is_asked_and_whose_queries_are_answered(mode, resolver, answered):
    """The tunnel's own addresses, a resolver of the LAN that no server reaches, and one of the Internet."""
    names = compile_profile(parse(f'server = "direct://"\ndns.mode = "{mode}"', "p.toml")).names
    (upstream,) = names.groups[SERVERS].upstreams
    assert upstream.label == resolver
    asked = [ip_address(each).packed for each in ("198.18.0.2", "192.168.1.1", "192.0.2.53")]
    assert tuple(names.scope is None or names.scope(each) for each in asked) == answered


@pytest.mark.parametrize(
    "mode", ["", "tcp6", "dns.google", "tcp://dns.google", "udp://1.1.1.1:0", "sctp://1.1.1.1", "cache,", "1.1.1.1/x"]
)
def test_a_mode_that_says_nothing_is_named(mode):
    with pytest.raises(LocalError, match=r"^p\.toml:2: dns mode .*"):
        compile_profile(parse(f'server = "direct://"\ndns.mode = "{mode}"', "p.toml"))


def test_a_mode_of_the_command_line_is_not_the_profiles_fault():
    profile = parse('server = "direct://"\n[dns]\nservers = ["tcp://9.9.9.9"]\nmatch_domains = ["a.example"]', "p.toml")
    made = compile_profile(with_dns_mode(profile, "udp"))
    assert [each.label for each in made.names.groups[SERVERS].upstreams] == ["udp://1.1.1.1"]
    assert made.host.dns.match == ("a.example",)
    with pytest.raises(LocalError, match=r"^--dns: dns mode 'bogus' is not understood"):
        with_dns_mode(profile, "bogus")
