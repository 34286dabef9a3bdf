"""Fake addresses: both families agree, the map survives a restart and a crash, nobody's address is dialled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.dns.fake_ip import POOL4, POOL6, FakeIPMap
from tunflow.errors import LocalError


def small(names: int = 3) -> FakeIPMap:
    return FakeIPMap("198.18.128.0/24", "fd00::/112", names)


def test_a_name_has_an_address_in_each_family():
    fake = small()
    four, six = fake.addresses("a.test")
    assert (four, six[-2:]) == (bytes([198, 18, 128, 2]), bytes([0, 2]))
    assert fake.addresses("a.test") == (four, six)
    assert fake.name_of(four) == fake.name_of(six) == "a.test"


def test_addresses_that_no_name_has():
    fake = small()
    for address in (bytes([198, 18, 128, 0]), bytes([198, 18, 128, 77])):
        assert address in fake
        assert fake.name_of(address) is None
    assert bytes([198, 18, 129, 2]) not in fake
    assert bytes([198, 18, 127, 255]) not in fake


def test_the_name_used_longest_ago_gives_its_address_up():
    fake = small()
    first, second, third = (fake.addresses(f"{letter}.test")[0] for letter in "abc")
    fake.name_of(first)  # a flow is use
    fourth = fake.addresses("d.test")[0]
    assert fourth == second
    assert [fake.name_of(each) for each in (first, second, third)] == ["a.test", "d.test", "c.test"]
    assert len(fake) == 3


def test_a_restart_keeps_every_address_and_the_order():
    fake = small()
    before = {name: fake.addresses(name) for name in ("a.test", "b.test", "c.test")}
    fake.name_of(before["a.test"][0])
    again = small()
    assert again.load(fake.lines())
    assert again.addresses("d.test")[0] == before["b.test"][0]  # longest unused also over there
    assert all(again.name_of(before[name][0]) == name for name in ("a.test", "c.test"))


def test_the_journal_of_a_crash_is_enough():
    fake = small()
    written, fake.journal = [fake.header], []
    for name in "abcdefg":
        fake.addresses(f"{name}.test")
    written += fake.journal
    again = small()
    assert again.load([*written[:-1], written[-1][:-4]])  # the last line was cut off
    for name in "ef":
        assert again.name_of(fake.addresses(f"{name}.test")[0]) == f"{name}.test"


def test_a_file_of_other_pools_or_versions_is_not_read():
    fake = small()
    for lines in ([], ["tunflow-fake-ip 2 198.18.128.0/24 fd00::/112", "0 a.test"], [FakeIPMap().header, "0 a.test"]):
        assert not fake.load(lines)
    assert len(fake) == 0


def test_lines_that_do_not_read_are_passed_over():
    fake = small()
    assert fake.load([fake.header, "", "x a", "-1 b", "3 too.far", "1", "2 c.test\n", "9" * 30 + " d", "1 \x1b[2J"])
    assert list(fake.lines())[1:] == ["2 c.test"]


@pytest.mark.parametrize("pools", [("10.0.0.0/31", POOL6), ("x", POOL6), (POOL6, POOL4), ("10.0.0.1/8", POOL6)])
def test_bad_pools_are_a_local_error(pools):
    with pytest.raises(LocalError, match="fake-IP pool"):
        FakeIPMap(*pools)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60))
def test_names_and_addresses_stay_one_to_one(steps):
    """Against a naive twin: a list in the order of use."""
    fake, twin = small(4), []
    for is_ask, number in steps:
        name = f"n{number}.test"
        if is_ask:
            held = dict(twin)
            address = fake.addresses(name)[0]
            if name in held:
                assert address == held[name]
                twin.remove((name, address))
            elif len(twin) == 4:
                assert address == twin.pop(0)[1]
            else:
                assert address not in held.values()
            twin.append((name, address))
        elif number < len(twin):
            found = twin.pop(number)
            assert fake.name_of(found[1]) == found[0]
            twin.append(found)
    assert [line.split()[1] for line in list(fake.lines())[1:]] == [name for name, _ in twin]
