from __future__ import annotations

import random
import tracemalloc
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost import times_slower
from tunflow.rules.cidr import CIDRSet, IPNetwork


@st.composite
def networks(draw: st.DrawFn) -> IPNetwork:
    """Prefixes crowded into a few corners, so that they overlap, touch, and reach both ends of their family."""
    if draw(st.booleans()):
        length = draw(st.integers(0, 32))
        base = draw(st.sampled_from((0, 0x0A000000, 0xFFFFFF00))) + draw(st.integers(0, 255))
        return IPv4Network((base, length), strict=False)
    length = draw(st.integers(0, 128))
    base = draw(st.sampled_from((0, 0x20010DB8 << 96, ((1 << 128) - 256)))) + draw(st.integers(0, 255))
    return IPv6Network((base | draw(st.integers(0, 3)) << 64 if base < 1 << 127 else base, length), strict=False)


@given(st.lists(networks(), max_size=12), st.lists(networks(), min_size=1, max_size=8))
def test_holds_the_same_addresses_as_a_list_of_networks(members: list[IPNetwork], probes: list[IPNetwork]) -> None:
    made = CIDRSet(members)
    for network in (*members, *probes):
        for number in {int(network[0]) - 1, int(network[0]), int(network[-1]), int(network[-1]) + 1}:
            if not 0 <= number < 1 << network.max_prefixlen:
                continue
            address = type(network[0])(number)
            naive = any(address.version == member.version and address in member for member in members)
            assert (address.packed in made) is naive


@given(st.lists(networks(), max_size=12))
def test_gives_the_fewest_prefixes_back(members: list[IPNetwork]) -> None:
    made = CIDRSet(members)
    expected = [
        *collapse_addresses(m for m in members if isinstance(m, IPv4Network)),
        *collapse_addresses(m for m in members if isinstance(m, IPv6Network)),
    ]
    assert list(made.networks()) == expected
    assert CIDRSet(made.networks()) == made


@given(st.lists(networks(), max_size=6), st.lists(networks(), max_size=6))
def test_union_is_the_set_of_both_lists(one: list[IPNetwork], other: list[IPNetwork]) -> None:
    assert CIDRSet(one) | CIDRSet(other) == CIDRSet([*one, *other])


def test_nothing_is_in_the_empty_set() -> None:
    assert not CIDRSet()
    assert bytes(4) not in CIDRSet()
    assert bytes(16) not in CIDRSet()


def test_everything_is_in_both_defaults() -> None:
    made = CIDRSet(["0.0.0.0/0", "::/0"])
    for text in ("0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"):
        assert ip_address(text).packed in made


def test_text_may_have_host_bits_and_must_be_a_prefix() -> None:
    assert list(CIDRSet(["10.1.2.3/8"]).networks()) == [IPv4Network("10.0.0.0/8")]
    with pytest.raises(ValueError, match="does not appear"):
        CIDRSet(["10.0.0.0/8/9"])


def crowd(count: int) -> tuple[CIDRSet, list[bytes]]:
    rng = random.Random(1)
    spans4 = [(number << 16, (number << 16) + 256) for number in rng.sample(range(1 << 16), count // 2)]
    spans6 = [(number << 96, (number << 96) + (1 << 80)) for number in rng.sample(range(1 << 32), count // 2)]
    return CIDRSet.from_spans(spans4, spans6), [
        *(rng.randbytes(4) for _ in range(100)),
        *(rng.randbytes(16) for _ in range(100)),
    ]


def test_ten_thousand_prefixes_are_asked_as_fast_as_a_few_and_take_little() -> None:
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    made, probes = crowd(10_000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 2_000_000
    few, _ = crowd(10)
    assert times_slower(lambda: [probe in made for probe in probes], lambda: [probe in few for probe in probes]) < 4
