"""Replay window and allowed IPs beside naive twins, and the load that asks for cookies."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from tunflow.protocols.wireguard.allowed_ips import AllowedIPs
from tunflow.protocols.wireguard.load import BURST, HANDSHAKES_A_SECOND, Load


def networks() -> st.SearchStrategy[IPv4Network | IPv6Network]:
    v4 = st.builds(
        lambda number, length: ip_network((number, length), strict=False), st.integers(0, 2**32 - 1), st.integers(0, 32)
    )
    near = st.builds(
        lambda low, length: ip_network((0x0A000000 + low, length), strict=False),
        st.integers(0, 300),
        st.integers(6, 32),
    )
    v6 = st.builds(
        lambda low, length: IPv6Network(((0xFD << 120) + low, length), strict=False),
        st.integers(0, 2**20), st.integers(0, 128),
    )  # fmt: skip
    return st.one_of(v4, near, v6)


class NaiveTable:
    """Every network is looked at."""

    def __init__(self) -> None:
        self.owners: dict[IPv4Network | IPv6Network, int] = {}

    def find(self, address: bytes) -> int | None:
        where = ip_address(address)
        matching = [network for network in self.owners if network.version == where.version and where in network]
        return self.owners[max(matching, key=lambda network: network.prefixlen)] if matching else None


@given(
    st.lists(st.tuples(networks(), st.integers(0, 4)), max_size=40),
    st.sets(st.integers(0, 4), max_size=2),
    st.lists(st.one_of(st.integers(0x0A000000, 0x0A000140).map(lambda n: n.to_bytes(4, "big")),
                       st.binary(min_size=4, max_size=4),
                       st.integers(0, 2**20).map(lambda n: ((0xFD << 120) + n).to_bytes(16, "big"))), max_size=40),
)  # fmt: skip
def test_allowed_ips_beside_a_naive_table(
    entries: list[tuple[IPv4Network | IPv6Network, int]], gone: set[int], addresses: list[bytes]
):
    table: AllowedIPs[int] = AllowedIPs()
    naive = NaiveTable()
    for network, whose in entries:
        table.add(network, whose)
        naive.owners[network] = whose
        for address in addresses[:3]:
            assert table.find(address) == naive.find(address)
    for whose in gone:
        table.remove(whose)
    naive.owners = {network: whose for network, whose in naive.owners.items() if whose not in gone}
    for address in addresses + addresses:
        assert table.find(address) == naive.find(address)
    for whose in range(5):
        assert set(table.networks_of(whose)) == {network for network, each in naive.owners.items() if each == whose}


def test_load_is_high_for_a_second_after_too_many_handshakes():
    load = Load()
    for _ in range(HANDSHAKES_A_SECOND):
        load.count(5.0)
    assert not load.is_high(5.0)
    load.count(5.5)
    assert load.is_high(5.5)
    assert load.is_high(6.49)
    assert not load.is_high(6.5)


def test_one_address_is_let_in_twenty_times_a_second():
    load = Load()
    assert [load.allows(b"a", 0.0) for _ in range(7)] == [True] * int(BURST) + [False, False]
    assert load.allows(b"b", 0.0)
    assert load.allows(b"a", 0.06)
    assert not load.allows(b"a", 0.06)


def test_what_is_remembered_of_addresses_is_bounded():
    load = Load()
    for number in range(9000):
        load.allows(number.to_bytes(4, "big"), 0.0)
    assert load.allows((8999).to_bytes(4, "big"), 0.0)
