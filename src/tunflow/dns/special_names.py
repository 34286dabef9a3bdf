"""Names that mean something here, or nothing at all, and are never asked of a resolver on the Internet.

Why: who asks for `nas`, for `printer.local` or for the name behind 192.168.1.7 tells the resolver about the network he
is in, and no resolver there can know the answer. What an .onion name is asked for tells whom somebody meant to visit.

Read first: RFC 6761 (localhost, invalid, test), RFC 6762 §22.1 (local), RFC 7686 (onion), RFC 8375 (home.arpa),
RFC 6303 and RFC 7793 (reverse names of addresses that are nobody's outside).
"""

from __future__ import annotations

from tunflow.dns.answers import NS, SOA

_DS, _DNSKEY = 43, 48
_ABOUT_ZONES = frozenset({NS, SOA, _DS, _DNSKEY})
"""Types that are asked of a top-level domain itself, which is a single label."""

_SUFFIXES = frozenset(
    {
        *("localhost", "invalid", "test", "local", "onion", "home.arpa"),
        *(f"{net}.in-addr.arpa" for net in ("0", "10", "127", "254.169", "168.192", "2.0.192", "100.51.198")),
        *("113.0.203.in-addr.arpa", "255.255.255.255.in-addr.arpa"),
        *(f"{net}.172.in-addr.arpa" for net in range(16, 32)),
        *(f"{net}.100.in-addr.arpa" for net in range(64, 128)),
        f"{'0.' * 32}ip6.arpa",
        f"1.{'0.' * 31}ip6.arpa",
        *("c.f.ip6.arpa", "d.f.ip6.arpa", "8.e.f.ip6.arpa", "9.e.f.ip6.arpa", "a.e.f.ip6.arpa", "b.e.f.ip6.arpa"),
        "8.b.d.0.1.0.0.2.ip6.arpa",
    }
)


def stays_here(name: str, kind: int) -> bool:
    """Return True if a name (lower case, without the last dot) of a type is never asked of a resolver."""
    if "." not in name:
        return bool(name) and kind not in _ABOUT_ZONES
    while name:
        if name in _SUFFIXES:
            return True
        name = name.partition(".")[2]
    return False
