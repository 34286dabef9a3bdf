from __future__ import annotations

from ipaddress import IPv4Network, ip_network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.host.network.prefixes import covered
from tunflow.host.network.settings import EVERYTHING


def _networks() -> st.SearchStrategy[list[IPv4Network]]:
    """Networks that hold one another often: within 256 addresses, at both ends of the number line too."""
    base = st.sampled_from([0, 10 << 24, (1 << 32) - 256])
    one = st.tuples(base, st.integers(0, 255), st.integers(24, 32)).map(
        lambda parts: IPv4Network((parts[0] + parts[1], parts[2]), strict=False)
    )
    return st.lists(one, max_size=8)


def _is_covered(address: int, included: list[IPv4Network], excluded: list[IPv4Network]) -> bool:
    """The rule itself, the slow way."""
    best, verdict = -1, False
    for networks, is_in in ((included, True), (excluded, False)):
        for network in networks:
            inside = int(network.network_address) <= address <= int(network.broadcast_address)
            if inside and network.prefixlen >= best:
                best, verdict = network.prefixlen, is_in
    return verdict


@given(_networks(), _networks())
def test_the_longest_prefix_decides(included: list[IPv4Network], excluded: list[IPv4Network]) -> None:
    intervals = covered(included, excluded, 4)
    for base in (0, 10 << 24, (1 << 32) - 256):
        for address in range(base, base + 256):
            inside = any(low <= address <= high for low, high in intervals)
            assert inside == _is_covered(address, included, excluded)
    assert all(low <= high for low, high in intervals)
    assert all(first[1] + 1 < second[0] for first, second in pairwise(intervals))


@pytest.mark.parametrize(("version", "bits"), [(4, 32), (6, 128)])
def test_everything(version: int, bits: int) -> None:
    assert covered(EVERYTHING, (), version) == [(0, 2**bits - 1)]
    assert covered(EVERYTHING, EVERYTHING, version) == []
    assert covered((), EVERYTHING, version) == []


def test_families_do_not_mix() -> None:
    assert covered([ip_network("10.0.0.0/8")], [ip_network("::/0")], 6) == []
    assert covered([ip_network("10.0.0.0/8")], [ip_network("::/0")], 4) == [(10 << 24, (11 << 24) - 1)]
