"""The long way into the stack: IP packets with options, extension headers or fragments, or that are not TCP.

What comes out has a transport header at a known place, between two addresses that can be hosts'. The stack takes the
short way round this for what is nearly all of the traffic (`Stack.receive`).

Read first: RFC 1122 §3.2.1, RFC 8200 §3 and §4; `stack.martians`, `stack.reassembly`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tunflow.errors import BadPacket
from tunflow.stack import martians
from tunflow.stack.reassembly import Reassembler
from tunflow.wire import ipv4, ipv6


class Arrival(NamedTuple):
    """A whole packet, and where what it carries stands in it."""

    packet: bytes
    offset: int
    """Where the IP header starts."""
    at: int
    end: int
    """Where what the packet carries starts and ends."""
    protocol: int
    source: bytes
    target: bytes
    hops: int
    """What is left of the hop limit."""
    may_fragment: bool
    """True if the packet came in fragments, or its sender lets it be fragmented."""


class IPInput:
    """Opens packets; keeps nothing but fragments, up to `capacity` bytes."""

    def __init__(self, capacity: int) -> None:
        self._reassembler = Reassembler(capacity)
        self.next_timeout: Callable[[], float | None] = self._reassembler.next_timeout
        """When fragments are given up."""

    def open_untrusted(self, packet: bytes, offset: int, now: float) -> Arrival | None:
        """The packet whose IP header is at `offset`, or the whole that it completes; None for a mere fragment.

        Raises BadPacket, also for martians.
        """
        version = packet[offset] >> 4 if len(packet) > offset else 0
        if version == 4:
            return self._open_ipv4_untrusted(packet, offset, now)
        if version == 6:
            return self._open_ipv6_untrusted(packet, offset, now)
        raise BadPacket(f"IP version {version}")

    def handle_timeout(self, now: float) -> None:
        """Give up the fragments whose time has passed."""
        self._reassembler.handle_timeout(now)

    def _open_ipv4_untrusted(self, packet: bytes, offset: int, now: float) -> Arrival | None:
        view = memoryview(packet)[offset:]
        header = ipv4.parse_untrusted(view)
        _refuse_martians(header.src, header.dst)
        may_fragment = not header.dont_fragment
        if header.is_fragment:
            whole = self._reassembler.add_ipv4_untrusted(view, header, now)
            if whole is None:
                return None
            packet, offset, may_fragment = whole, 0, True
            header = ipv4.parse_untrusted(whole)
        at, end = offset + header.header_length, offset + header.total_length
        return Arrival(packet, offset, at, end, header.protocol, header.src, header.dst, header.ttl, may_fragment)

    def _open_ipv6_untrusted(self, packet: bytes, offset: int, now: float) -> Arrival | None:
        view = memoryview(packet)[offset:]
        header = ipv6.parse_untrusted(view)
        _refuse_martians(header.src, header.dst)
        upper = ipv6.walk_extensions_untrusted(view)
        may_fragment = False
        if upper.fragment is not None:
            whole = self._reassembler.add_ipv6_untrusted(view, upper.fragment, now)
            if whole is None:
                return None
            packet, offset, may_fragment = whole, 0, True
            header = ipv6.parse_untrusted(whole)
            upper = ipv6.walk_extensions_untrusted(whole)
            if upper.fragment is not None:
                raise BadPacket("IPv6 fragments of a fragment")
        at, end = offset + upper.offset, offset + header.total_length
        protocol, hops = upper.next_header, header.hop_limit
        return Arrival(packet, offset, at, end, protocol, header.src, header.dst, hops, may_fragment)


def _refuse_martians(source: bytes, target: bytes) -> None:
    if not (martians.may_be_source(source) and martians.may_be_destination(target)):
        raise BadPacket("a martian")
