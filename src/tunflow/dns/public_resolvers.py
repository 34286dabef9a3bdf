"""The names and addresses under which public resolvers are asked over TLS and HTTPS, for who wants none of that.

Not complete and not meant to be: `public_resolvers.txt` holds what browsers and phones offer in their settings, and the
names by which they ask whether they may use it, with the sources.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self

from tunflow.addresses import ip_address

DOT_PORT = 853
"""DNS over TLS (RFC 7858 §3.1) and over QUIC (RFC 9250 §4.1.1)."""
HTTPS_PORT = 443


class PublicResolvers(NamedTuple):
    """Names, each with all below it, and packed addresses."""

    names: frozenset[str]
    addresses: frozenset[bytes]

    @classmethod
    def of(cls, lines: Iterable[str]) -> Self:
        """Read lines as `public_resolvers.txt` has them. Raises ValueError for what is no address."""
        names: set[str] = set()
        addresses: set[bytes] = set()
        for line in lines:
            words = line.partition("#")[0].split()
            if words[:1] == ["address"]:
                addresses.update(ip_address(word).packed for word in words[1:])
            else:
                names.update(map(str.lower, words))
        return cls(frozenset(names), frozenset(addresses))

    def with_names(self, names: Iterable[str]) -> PublicResolvers:
        """Return these, and more."""
        return PublicResolvers(self.names | frozenset(names), self.addresses)

    def has(self, name: str) -> bool:
        """Return True if a name (lower case) is a public resolver's, or one below it."""
        while name:
            if name in self.names:
                return True
            name = name.partition(".")[2]
        return False

    def is_encrypted_dns(self, host: bytes | str, port: int) -> bool:
        """Return True if a flow to `host` is, as far as can be told, DNS over TLS, QUIC or HTTPS."""
        if port == DOT_PORT:
            return True
        if port != HTTPS_PORT:
            return False
        return self.has(host) if isinstance(host, str) else host in self.addresses


@cache
def known_resolvers() -> PublicResolvers:
    """Those that tunflow comes with."""
    return PublicResolvers.of(Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines())
