"""A set of IP addresses made of prefixes: compact, immutable, and fast to ask.

Rule: overlapping and adjacent prefixes are merged into ranges, and only the *edges* of the ranges are kept, sorted:
an address is inside when an odd number of edges lies at or below it. So a lookup is one bisection over an array of
machine integers. A range that reaches the last address of its family has no upper edge, which keeps the rule true.

IPv6 edges are kept as their upper 64 bits as long as no prefix is longer than /64, which holds for every list of
countries and operators; a set with longer ones keeps whole numbers.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, summarize_address_range

from tunflow.addresses import ip_network

IPNetwork = IPv4Network | IPv6Network

Span = tuple[int, int]
"""First address and the one behind the last, as numbers."""

_END4 = 1 << 32
_END6 = 1 << 128
_LOW_HALF = (1 << 64) - 1


class CIDRSet:
    """Addresses of both families; `packed in set` takes 4 or 16 bytes as they stand in a packet."""

    __slots__ = ("_edges4", "_edges6", "_shift6")

    def __init__(self, networks: Iterable[IPNetwork | str] = ()) -> None:
        """The union of `networks`; text may have host bits set. Raises ValueError for text that is no prefix."""
        spans4: list[Span] = []
        spans6: list[Span] = []
        for network in networks:
            version, first, end = span_of(network)
            (spans4 if version == 4 else spans6).append((first, end))
        self._set_edges(spans4, spans6)

    @classmethod
    def from_spans(cls, spans4: Iterable[Span], spans6: Iterable[Span]) -> CIDRSet:
        """The union of ranges given as numbers, in any order."""
        made = cls.__new__(cls)
        made._set_edges(spans4, spans6)
        return made

    def _set_edges(self, spans4: Iterable[Span], spans6: Iterable[Span]) -> None:
        self._edges4 = array("I", merged_edges(spans4, _END4))
        edges6 = merged_edges(spans6, _END6)
        self._edges6: Sequence[int]
        if any(edge & _LOW_HALF for edge in edges6):
            self._shift6, self._edges6 = 0, tuple(edges6)
        else:
            self._shift6, self._edges6 = 64, array("Q", [edge >> 64 for edge in edges6])

    def __contains__(self, packed: bytes) -> bool:
        number = int.from_bytes(packed, "big")
        if len(packed) == 4:
            return bisect_right(self._edges4, number) & 1 == 1
        return bisect_right(self._edges6, number >> self._shift6) & 1 == 1

    def __bool__(self) -> bool:
        return bool(self._edges4) or bool(self._edges6)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CIDRSet) and list(self.spans()) == list(other.spans())

    def __hash__(self) -> int:
        return hash(tuple(self.spans()))

    def __or__(self, other: CIDRSet) -> CIDRSet:
        mine, theirs = (self._spans4(), self._spans6()), (other._spans4(), other._spans6())
        return CIDRSet.from_spans([*mine[0], *theirs[0]], [*mine[1], *theirs[1]])

    def spans(self) -> Iterator[tuple[int, int, int]]:
        """Each merged range as (IP version, first address, one behind the last)."""
        for first, end in self._spans4():
            yield 4, first, end
        for first, end in self._spans6():
            yield 6, first, end

    def networks(self) -> Iterator[IPNetwork]:
        """The fewest prefixes that make up the set, IPv4 first, each family in order: what routes are made of."""
        for first, end in self._spans4():
            yield from summarize_address_range(IPv4Address(first), IPv4Address(end - 1))
        for first, end in self._spans6():
            yield from summarize_address_range(IPv6Address(first), IPv6Address(end - 1))

    def _spans4(self) -> list[Span]:
        return _pairs(self._edges4, 0, _END4)

    def _spans6(self) -> list[Span]:
        return _pairs(self._edges6, self._shift6, _END6)


_DOTTED = re.compile(
    r"(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})/(\d\d?)", re.ASCII
).fullmatch


def span_of(network: IPNetwork | str) -> tuple[int, int, int]:
    """IP version, first address and one behind the last of a prefix; text may have host bits set.

    Raises ValueError for text that is no prefix.
    """
    if isinstance(network, str):
        if match := _DOTTED(network):  # what lists hold by the hundred thousand
            a, b, c, d, length = map(int, match.groups())
            if a < 256 and b < 256 and c < 256 and d < 256 and length <= 32:
                size = 1 << (32 - length)
                first = (a << 24 | b << 16 | c << 8 | d) & -size
                return 4, first, first + size
        network = ip_network(network, strict=False)
    first = int(network.network_address)
    return network.version, first, first + network.num_addresses


def merged_edges(spans: Iterable[Span], end_of_family: int) -> list[int]:
    """The edges of the union of `spans`, without one at the end of the address family."""
    edges: list[int] = []
    for first, end in sorted(spans):
        if edges and first <= edges[-1]:
            edges[-1] = max(edges[-1], end)
        else:
            edges += (first, end)
    if edges and edges[-1] == end_of_family:
        edges.pop()
    return edges


def _pairs(edges: Sequence[int], shift: int, end_of_family: int) -> list[Span]:
    numbers = [edge << shift for edge in edges]
    if len(numbers) % 2:
        numbers.append(end_of_family)
    return list(zip(numbers[::2], numbers[1::2], strict=True))
