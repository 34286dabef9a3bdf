"""wg-quick files and links, in and out, and what a wrong one says."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.endpoint import endpoint
from tunflow.errors import LocalError
from tunflow.protocols.wireguard.config_file import format_config, is_config_file, parse_config
from tunflow.protocols.wireguard.keys import format_key, parse_key, private_key
from tunflow.protocols.wireguard.link import EVERYTHING, format_link, parse_link
from tunflow.protocols.wireguard.noise import public_key
from tunflow.protocols.wireguard.settings import PeerSettings, WireGuardSettings

PRIVATE = private_key(bytes(range(32)))
PUBLIC = public_key(PRIVATE)
KEY, OTHER = format_key(PRIVATE), format_key(PUBLIC)
FILE = f"""# a comment
[Interface]
PrivateKey = {KEY}
Address = 10.0.0.2/32, fd00::2/128   # two
address=10.9.0.2/24
ListenPort = 51821
DNS = 10.0.0.1, corp.example
MTU = 1380
Table = auto

[Peer]
PublicKey = {OTHER}
PresharedKey = {KEY}
AllowedIPs = 0.0.0.0/0, ::/0
Endpoint = vpn.example:51820
PersistentKeepalive = 25
[Peer]
publickey = {format_key(bytes(32))}
AllowedIPs = 10.0.0.7/24
AllowedIPs = fd00::/64
PersistentKeepalive = off
"""


def test_a_whole_file():
    found = parse_config(FILE, "wg0.conf")
    assert found == WireGuardSettings(
        PRIVATE,
        (ip_interface("10.0.0.2/32"), ip_interface("fd00::2/128"), ip_interface("10.9.0.2/24")),
        (
            PeerSettings(PUBLIC, EVERYTHING, endpoint("vpn.example", 51820), PRIVATE, 25),
            PeerSettings(bytes(32), (ip_network("10.0.0.0/24"), ip_network("fd00::/64"))),
        ),
        51821,
        ("10.0.0.1",),
        ("corp.example",),
        1380,
    )
    assert parse_config(format_config(found), "again") == found
    assert found.label == "wireguard://vpn.example:51820"
    assert KEY not in repr(found)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("PostUp = iptables -A", "wg0.conf:4: PostUp: tunflow runs no commands"),
        ("preDown = x", "wg0.conf:4: PreDown: tunflow runs no commands"),
        ("Table = off", "wg0.conf:4: Table: 'off': only auto is accepted"),
        ("Jc = 4", "wg0.conf:4: Jc: that is AmneziaWG"),
        ("MTU = 100", "wg0.conf:4: MTU: '100' is not a number from 576 to 65000"),
        ("MTU = 1400\nMTU = 1300", "wg0.conf:5: MTU is given twice"),
        ("Address = 10.0.0.300", "wg0.conf:4: Address: '10.0.0.300' is not an address like"),
        ("ListenPort = 70000", "wg0.conf:4: ListenPort: '70000' is not a number from 0 to 65535"),
        ("DNS = 1.1.1.1, a b", "wg0.conf: DNS: 'a b' is neither"),
        ("Nonsense = 1", "wg0.conf:4: unknown key 'Nonsense'; accepted here are PrivateKey"),
        ("nonsense", "wg0.conf:4: not a section and not `Key = Value`"),
        ("[Interface]", "wg0.conf:4: a second [Interface]"),
        ("[Server]", "wg0.conf:4: unknown section [server]; accepted are [Interface] and [Peer]"),
        ("[Peer]\nAllowedIPs = ::/0", "wg0.conf:4: PublicKey is missing in this [Peer]"),
        ("[Peer]\nPublicKey = short=", "wg0.conf:5: PublicKey: not a WireGuard key"),
        (f"[Peer]\nPublicKey = {OTHER}\nEndpoint = 1.2.3.4", "wg0.conf:6: Endpoint: '1.2.3.4' has no port"),
        (f"[Peer]\nPublicKey = {OTHER}\nEndpoint = ::1:80", "wg0.conf:6: Endpoint: '::1:80': an IPv6 address, and"),
        (f"[Peer]\nPublicKey = {OTHER}\nEndpoint = a b:80", "wg0.conf:6: Endpoint: 'a b:80' is not an address"),
        (f"[Peer]\nPublicKey = {OTHER}\nAllowedIPs = 10.0.0.0/33", "wg0.conf:6: AllowedIPs: '10.0.0.0/33' is not a"),
        (f"[Peer]\nPublicKey = {OTHER}\n[Peer]\nPublicKey = {OTHER}", "wg0.conf:6: two peers have the same PublicKey"),
        (f"[Peer]\nPublicKey = {OTHER}\nMTU = 1400", "wg0.conf:6: unknown key 'MTU'; accepted here are PublicKey"),
    ],
)
def test_a_wrong_line_is_named(line: str, says: str):
    with pytest.raises(LocalError) as caught:
        parse_config(f"[Interface]\nPrivateKey = {KEY}\nAddress = 10.0.0.2/32\n{line}\n", "wg0.conf")
    assert str(caught.value).startswith(says)
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is no [Interface]"),
        ("MTU = 1400", "w:1: MTU stands before any section"),
        ("[Interface]\nAddress = 10.0.0.1/32", "PrivateKey is missing"),
        (f"[Interface]\nPrivateKey = {KEY}", "Address is missing"),
    ],
)
def test_what_is_missing_is_named(text: str, says: str):
    with pytest.raises(LocalError, match=r"^w") as caught:
        parse_config(text, "w")
    assert says in str(caught.value)


def test_keys_that_change_nothing_are_told():
    text = f"[Interface]\nPrivateKey = {KEY}\nAddress = 10.0.0.2\nFwMark = 0x1\nSaveConfig = true\n"
    first, second = parse_config(text, "w").told
    assert first.startswith("w:4: FwMark is not used")
    assert second.startswith("w:5: SaveConfig is not used")
    assert parse_config(text.replace("0x1", "off").replace("true", "false"), "w").told == ()


def test_which_files_are_wg_quicks():
    assert is_config_file(FILE.encode())
    assert is_config_file(b"\xef\xbb\xbf#x\r\n [interface]\r\nprivatekey=x\r\n")
    assert not is_config_file(b"[Interface]\nName = x")
    assert not is_config_file(b"PrivateKey = x")
    assert not is_config_file(b"")


LINK = f"wireguard://{KEY.replace('/', '%2F').replace('=', '%3D')}@192.0.2.9:51820"


def test_a_link_and_back():
    found = parse_link(
        f"{LINK}?publickey={OTHER}&address=10.0.0.2/32,fd00::2/128&mtu=1280&dns=1.1.1.1&keepalive=25#home"
    )
    assert found == WireGuardSettings(
        PRIVATE,
        (ip_interface("10.0.0.2/32"), ip_interface("fd00::2/128")),
        (PeerSettings(PUBLIC, EVERYTHING, endpoint("192.0.2.9", 51820), b"", 25),),
        dns=("1.1.1.1",),
        mtu=1280,
        tag="home",
    )
    assert parse_link(format_link(found)) == found


@pytest.mark.parametrize(
    ("link", "says"),
    [
        ("ss://x", "not a wireguard:// link"),
        ("wireguard://1.2.3.4:5?publickey=x", "has no private key"),
        (LINK, "needs publickey and address"),
        (f"{LINK}?publickey=x&address=10.0.0.2", "not a WireGuard key"),
        (f"{LINK}?publickey={OTHER}&address=10.0.0.2&colour=blue", "unknown option 'colour'"),
        (f"{LINK}?publickey={OTHER}&address=10.0.0.2&reserved=1,2,3", "reserved bytes"),
        (f"{LINK}?publickey={OTHER}&address=ten", "'ten' is not an address"),
    ],
)
def test_a_wrong_link(link: str, says: str):
    with pytest.raises(LocalError) as caught:
        parse_link(link)
    assert says in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_link_has_room_for_one_peer():
    with pytest.raises(LocalError, match="room for one peer"):
        format_link(parse_config(FILE, "wg0.conf"))


KEYS = st.binary(min_size=32, max_size=32)
NETWORKS = st.one_of(
    st.ip_addresses().map(ip_network), st.just(ip_network("0.0.0.0/0")), st.just(ip_network("fd00::/8"))
)
HOSTS = st.one_of(st.ip_addresses().map(str), st.sampled_from(["vpn.example", "a-b.c"]))
PEERS = st.builds(
    PeerSettings, KEYS, st.lists(NETWORKS, min_size=1, max_size=4, unique=True).map(tuple),
    st.builds(endpoint, HOSTS, st.integers(1, 65535)), st.one_of(st.just(b""), KEYS), st.integers(0, 65535),
)  # fmt: skip
SETTINGS = st.builds(
    WireGuardSettings, KEYS, st.lists(st.ip_addresses().map(ip_interface), min_size=1, max_size=3).map(tuple),
    st.lists(PEERS, min_size=1, max_size=3, unique_by=lambda peer: peer.public_key).map(tuple),
    dns=st.lists(st.ip_addresses().map(str), max_size=2).map(tuple), mtu=st.integers(576, 65000),
)  # fmt: skip


@given(SETTINGS)
def test_what_is_written_is_read(settings: WireGuardSettings):
    assert parse_config(format_config(settings), "again") == settings
    if len(settings.peers) == 1:
        assert parse_link(format_link(settings)) == settings


def one_line_or_settings(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except LocalError as error:
        return "\n" not in str(error)
    return True


@given(st.text(max_size=200))
def test_any_text_is_settings_or_one_line(text: str):
    start = f"[Interface]\nPrivateKey={KEY}\nAddress=10.0.0.1\n"
    assert one_line_or_settings(lambda text: parse_config(start + text, "w"), text)
    assert one_line_or_settings(lambda text: parse_link(f"{LINK}?{text}"), text)


def test_keys():
    assert parse_key(KEY) == PRIVATE
    assert (PRIVATE[0] & 7, PRIVATE[31] >> 6) == (0, 1)
    assert len(KEY) == 44
    for wrong in ("", "x" * 44, KEY[:-1], KEY + "AA", KEY.replace("=", "\n")):
        with pytest.raises(LocalError, match="44 characters"):
            parse_key(wrong)
