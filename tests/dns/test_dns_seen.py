"""Which name a client meant by an address."""

from __future__ import annotations

from ipaddress import ip_address

from tunflow.dns.seen_names import LIFE, MOST_NAMES, SeenNames

ONE, OTHER = ip_address("198.18.0.1").packed, ip_address("198.18.0.9").packed
ONE6 = ip_address("fd00::1").packed
SITE4, SITE6 = ip_address("192.0.2.1").packed, ip_address("2001:db8::1").packed


def test_each_client_has_its_own_names_for_a_while():
    seen = SeenNames()
    seen.told(ONE, "a.example", [SITE4], 0.0)
    seen.told(OTHER, "b.example", [SITE4], 0.0)
    assert seen.names_of(ONE, SITE4, 1.0) == ("a.example",)
    assert seen.names_of(OTHER, SITE4, 1.0) == ("b.example",)
    assert seen.names_of(ONE, SITE4, LIFE) == ()


def test_an_ipv6_address_that_was_asked_for_over_ipv4():
    seen = SeenNames()
    seen.told(ONE, "a.example", [SITE4, SITE6], 0.0)
    assert seen.names_of(ONE6, SITE6, 1.0) == ("a.example",)
    assert seen.names_of(ONE6, SITE4, 1.0) == ()


def test_all_names_that_share_an_address_are_known_the_latest_first():
    seen = SeenNames()
    for at, name in enumerate(("a.example", "b.example", "c.example", "a.example")):
        seen.told(ONE, name, [SITE4], float(at))
    assert seen.names_of(ONE, SITE4, 5.0) == ("a.example", "c.example", "b.example")
    assert seen.names_of(ONE, SITE4, LIFE + 1.5) == ("a.example", "c.example")
    for number in range(2 * MOST_NAMES):
        seen.told(ONE, f"{number}.example", [SITE4], 5.0)
    assert len(seen.names_of(ONE, SITE4, 5.0)) == MOST_NAMES
