"""Replay window and allowed IPs beside naive twins, and the load that asks for cookies."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from tunflow.protocols.wireguard.allowed_ips import AllowedIPs
from tunflow.protocols.wireguard.load import BURST, HANDSHAKES_A_SECOND, Load
from tunflow.protocols.wireguard.replay import WINDOW, ReplayWindow

COUNTERS = st.one_of(
    st.integers(0, 200),
    st.integers(8000, 8400),
    st.integers(2**20, 2**20 + 20_000),
    st.sampled_from([0, 63, 64, 65, WINDOW - 1, WINDOW, WINDOW + 1, 8191, 8192, 2**60, 2**64 - 2**13 - 2]),
)


@given(st.lists(COUNTERS, max_size=80))
def test_the_replay_window_beside_a_set(counters: list[int]):
    window = ReplayWindow()
    seen: set[int] = set()
    for counter in counters:
        highest = max(seen, default=0)
        expected = counter not in seen and highest - counter <= WINDOW
        assert window.is_new(counter) == expected, counter
        if expected:
            window.add(counter)
            seen.add(counter)


@given(st.integers(0, 2**40), st.integers(0, 3 * WINDOW), st.data())
def test_a_counter_is_taken_once_after_any_jump(start: int, ahead: int, data: st.DataObject):
    window = ReplayWindow()
    window.add(start)
    window.add(start + ahead)
    behind = data.draw(st.integers(0, min(start + ahead, WINDOW)))
    counter = start + ahead - behind
    expected = counter not in {start, start + ahead}
    assert window.is_new(counter) == expected
    assert not window.is_new(start)


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
