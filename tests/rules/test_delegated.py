"""The vector is APNIC's file of 2021-07-15 (ftp.apnic.net/apnic/stats/apnic, free to use as its head says)."""

from __future__ import annotations

import lzma
from ipaddress import IPv4Address, IPv4Network, IPv6Network, collapse_addresses, ip_address, summarize_address_range
from pathlib import Path

import pytest

from tunflow.errors import BadPacket
from tunflow.rules.delegated import parse_delegated_untrusted

FILE = Path(__file__).parent.parent / "vectors" / "delegated-apnic-20210715.txt.xz"


@pytest.fixture(scope="module")
def apnic() -> bytes:
    return lzma.decompress(FILE.read_bytes())


def test_china_is_what_is_known_of_it(apnic: bytes) -> None:
    """PROTOCOLS.md 4.4: 8,620 records are 5,422 nets with 344,538,368 addresses; 1,930 are 1,908."""
    china = parse_delegated_untrusted(apnic, ["cn"])["CN"]
    nets = list(china.networks())
    four = [net for net in nets if isinstance(net, IPv4Network)]
    assert len(four) == 5422
    assert len(nets) - len(four) == 1908
    assert sum(net.num_addresses for net in four) == 344_538_368
    assert ip_address("114.114.114.114").packed in china
    assert ip_address("240e::1").packed in china
    assert ip_address("8.8.8.8").packed not in china


def test_every_country_as_a_slow_reader_reads_it(apnic: bytes) -> None:
    slow: dict[str, list[IPv4Network | IPv6Network]] = {}
    for line in apnic.decode().splitlines():
        fields = line.split("|")
        if line.startswith("#") or len(fields) < 7 or fields[1] not in {"HK", "JP", "AU", "TW"}:
            continue
        if fields[2] == "ipv4":
            first = IPv4Address(fields[3])
            slow.setdefault(fields[1], []).extend(summarize_address_range(first, first + (int(fields[4]) - 1)))
        elif fields[2] == "ipv6":
            slow.setdefault(fields[1], []).append(IPv6Network(f"{fields[3]}/{fields[4]}"))
    every = parse_delegated_untrusted(apnic)
    assert len(every) > 50
    for country, nets in slow.items():
        four = collapse_addresses(net for net in nets if isinstance(net, IPv4Network))
        six = collapse_addresses(net for net in nets if isinstance(net, IPv6Network))
        assert list(every[country].networks()) == [*four, *six]


HEAD = b"2|apnic|20210715|2|19830613|20210714|+1000\n"


def test_a_count_need_not_be_a_power_of_two() -> None:
    made = parse_delegated_untrusted(HEAD + b"apnic|XX|ipv4|10.0.0.0|768|20200101|assigned\n")["XX"]
    assert list(made.networks()) == [IPv4Network("10.0.0.0/23"), IPv4Network("10.0.2.0/24")]


def test_reserved_and_available_addresses_are_nobodys() -> None:
    extended = b"apnic||ipv4|10.0.0.0|256||reserved|\napnic|XX|ipv4|10.1.0.0|256||available|x\n"
    assert parse_delegated_untrusted(HEAD + b"# comment\r\n\r\n" + extended) == {}


def test_a_country_that_is_not_there_is_not_in_the_answer() -> None:
    assert parse_delegated_untrusted(HEAD, ["CN"]) == {}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"<html>\n", "line 1: not the version line"),
        (HEAD + b"apnic|*|ipv4|*|1|summary\n", "cut short: 1 ipv4"),
        (HEAD + b"apnic|CN|ipv4|1.0.1.0|256\n", "line 2: a record has 7 fields"),
        (HEAD + b"apnic|CN|ipv4|1.0.1|256|20110414|allocated\n", "line 2: not an IPv4"),
        (HEAD + b"apnic|CN|ipv4|1.0.1.0|-1|20110414|allocated\n", "line 2: '-1' is not a number"),
        (HEAD + b"apnic|CN|ipv4|1.0.1.0|0|20110414|allocated\n", "line 2: 0 addresses"),
        (HEAD + b"apnic|CN|ipv4|255.255.255.255|2|20110414|allocated\n", "line 2: 2 addresses"),
        (HEAD + b"apnic|CN|ipv6|2001::1|32|20110414|allocated\n", "line 2: /32"),
        (HEAD + b"apnic|CN|ipv6|2001::|129|20110414|allocated\n", "line 2: /129"),
        (HEAD + b"apnic|CN|ipv6|\xff|32|20110414|allocated\n", "line 2: not an IPv6"),
    ],
)
def test_what_is_wrong_is_named(data: bytes, why: str) -> None:
    with pytest.raises(BadPacket, match=why):
        parse_delegated_untrusted(data)
