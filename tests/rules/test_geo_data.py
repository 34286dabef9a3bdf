"""geosite.dat, geoip.dat and MRS, made here as their formats say."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address, ip_address, ip_network

import pytest
import zstandard

from tunflow.errors import BadPacket
from tunflow.rules.conditions import DomainTest
from tunflow.rules.geo_data import addresses_untrusted, site_untrusted
from tunflow.rules.mrs import entries_untrusted


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return bytes([number << 3]) + varint(value)
    return bytes([number << 3 | 2]) + varint(len(value)) + value


def varint(value: int) -> bytes:
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    return bytes([*made, value])


def site(code: str, *names: tuple[int, str, str]) -> bytes:
    entries = [
        field(2, field(1, kind) + field(2, text.encode()) + (field(3, field(1, mark.encode())) if mark else b""))
        for kind, text, mark in names
    ]
    return field(1, field(1, code.encode()) + b"".join(entries))


SITES = site("ADS", (2, "ads.example", "")) + site(
    "GOOGLE",
    (2, "google.com", ""),
    (3, "one.example", ""),
    (0, "goog", ""),
    (1, r"^g[0-9]+\.example$", ""),
    (2, "google.cn", "cn"),
)


def names_of(made: DomainTest | None, *names: str) -> list[bool]:
    assert made is not None
    return [made.names(name) for name in names]


def test_a_topics_names_are_of_four_kinds() -> None:
    made = site_untrusted(SITES, "google")
    assert names_of(made, "google.com", "a.google.com", "one.example", "a.one.example") == [True, True, True, False]
    assert names_of(made, "xgoogx.example", "g12.example", "ads.example") == [True, True, False]
    assert names_of(site_untrusted(SITES, "google@cn"), "google.cn", "google.com") == [True, False]
    assert site_untrusted(SITES, "none") is None


def test_a_countrys_addresses() -> None:
    def cidr(text: str) -> bytes:
        network = ip_network(text)
        return field(2, field(1, network.network_address.packed) + field(2, network.prefixlen))

    data = field(1, field(1, b"US") + cidr("192.0.2.0/24")) + field(
        1, field(1, b"CN") + cidr("1.0.1.0/24") + cidr("2001:db8::/32")
    )
    found = addresses_untrusted(data, "cn")
    assert found is not None
    assert [str(each) for each in found.networks()] == ["1.0.1.0/24", "2001:db8::/32"]
    assert addresses_untrusted(data, "FR") is None


@pytest.mark.parametrize("kind", [0, 1, 2, 3])
def test_a_name_that_is_empty_would_be_every_name(kind: int) -> None:
    with pytest.raises(BadPacket):
        site_untrusted(site("X", (kind, "", "")), "x")


@pytest.mark.parametrize("data", [SITES[:-1], b"<html>", b"\x0a\xff", b"\x0a\x80" * 6, b"\x0b\x01"])
def test_what_is_no_such_file_is_one_error(data: bytes) -> None:
    with pytest.raises(BadPacket):
        site_untrusted(data, "nothing-of-it")


def packed(behavior: int, body: bytes, count: int = 1) -> bytes:
    data = b"MRS\x01" + bytes([behavior]) + struct.pack(">qq", count, 0) + b"\x01" + body
    return zstandard.ZstdCompressor().compress(data)


def tree(names: list[str]) -> bytes:
    """The names as mihomo packs them, level by level of a tree of reversed names."""
    level = [sorted(name[::-1].encode() for name in names)]
    depth, leaves, bits, labels = 0, "", "", b""
    while level:
        below = []
        for group in level:
            leaves += "1" if len(group[0]) == depth else "0"
            rest = [each for each in group if len(each) > depth]
            for letter in dict.fromkeys(each[depth] for each in rest):
                labels += bytes([letter])
                bits += "0"
                below.append([each for each in rest if each[depth] == letter])
            bits += "1"
        level, depth = below, depth + 1

    def words(text: str) -> bytes:
        found = [int(text[at : at + 64][::-1], 2) for at in range(0, len(text), 64)]
        return struct.pack(f">q{len(found)}Q", len(found), *found)

    return words(leaves) + words(bits) + struct.pack(">q", len(labels)) + labels


def test_packed_names_are_those_that_were_packed() -> None:
    names = ["+.a.example", "b.example", "*.c.example", ".d.org", *(f"n{number}.example" for number in range(200))]
    assert sorted(entries_untrusted(packed(0, tree(names)), "domain")) == sorted(names)


def test_packed_prefixes_of_both_families() -> None:
    ranges = [("::ffff:10.0.0.0", "::ffff:10.0.1.255"), ("2001:db8::", "2001:db8::ffff")]
    body = struct.pack(">q", 2) + b"".join(ip_address(each).packed for pair in ranges for each in pair)
    assert list(entries_untrusted(packed(1, body), "ipcidr")) == ["10.0.0.0/23", "2001:db8::/112"]


@pytest.mark.parametrize(
    ("content", "behavior", "why"),
    [
        (packed(0, b""), "ipcidr", 'it is packed as domain: behavior = "domain"'),
        (packed(0, tree(["a.example"])[:-3]), "domain", "cut short"),
        (packed(1, struct.pack(">q", 9)), "ipcidr", "cut short"),
        (packed(0, struct.pack(">q", 1 << 60)), "domain", "cut short"),
        (b"\x28\xb5\x2f\xfd\x00\x00", "domain", "cut short"),
        (zstandard.ZstdCompressor().compress(b"hello world, this is text"), "domain", "not a packed rule set"),
        (packed(1, struct.pack(">q", 1) + IPv6Address(2).packed + IPv6Address(1).packed), "ipcidr", "ends before"),
    ],
)
def test_a_broken_packed_list_is_one_error(content: bytes, behavior: str, why: str) -> None:
    with pytest.raises(BadPacket, match=why):
        list(entries_untrusted(content, behavior))
