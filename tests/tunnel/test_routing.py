from __future__ import annotations

import lzma
import random
from ipaddress import ip_address
from pathlib import Path

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from tunflow.dataplane.decision import Refuse
from tunflow.errors import LocalError
from tunflow.outbound.direct import DirectOutbound
from tunflow.profiles.file import load, parse
from tunflow.protocols.block.outbound import BlockOutbound
from tunflow.protocols.server_outbound import ServerOutbound
from tunflow.rules.conditions import Facts
from tunflow.rules.groups import Health
from tunflow.rules.table import Verdict
from tunflow.tunnel.routing import make_routing
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


def facts(name=None, address=None, port=443):
    packed = ip_address(address).packed if address else None
    return Facts("tcp", bytes(4), 1, port, packed, name, name_sought=True, address_sought=True)


def test_a_profile_becomes_rules_groups_and_dialers(tmp_path, data):
    (tmp_path / "list.txt").write_text("+.listed.example\n")
    (tmp_path / "p.toml").write_text(PROFILE)
    routing = make_routing(load(tmp_path / "p.toml"), Health(lambda: 0.0))
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
        ("rules = []", r"the last rule must be MATCH,TARGET"),
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
        make_routing(load(tmp_path / "p.toml"), Health(lambda: 0.0))


def test_a_server_whose_name_fails_refuses_and_the_others_work():
    profile = parse(
        f'rules = ["MATCH,good"]\n[servers.good]\nurl = "{LINK}"\n'
        f'[servers.bad]\nurl = "{LINK.replace("192.0.2.7", "x.invalid")}"',
        "p.toml",
    )

    def make(links):
        if "invalid" in links[0]:
            raise LocalError("the server's name 'x.invalid' cannot be resolved")
        return BlockOutbound() if links[0] == "block://" else DirectOutbound()

    routing = make_routing(profile, Health(lambda: 0.0), make)
    assert isinstance(routing.ways["bad"], BlockOutbound)
    assert isinstance(routing.ways["good"], DirectOutbound)
    profile = parse(f'server = "{LINK.replace("192.0.2.7", "x.invalid")}"', "p.toml")
    with pytest.raises(LocalError, match="cannot be resolved"):
        make_routing(profile, Health(lambda: 0.0), make)


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
    table = make_routing(parse(text, "p.toml"), Health(lambda: 0.0)).table
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
