"""Fragments back into packets, for IPv4 and IPv6, in bounded memory.

Read first: RFC 791 §3.2 and RFC 815 (reassembly), RFC 8200 §4.5 (the IPv6 Fragment header), RFC 5722
(overlaps), RFC 6946 (atomic fragments). The rules:

1. A datagram any two fragments of which overlap is dropped whole, and so is what still comes of it (RFC 5722
   §4 says so for IPv6; we do the same for IPv4, where an overlap is an attack or a reused identification, and
   never a well-meant retransmission). An exact duplicate is not an overlap (RFC 8200 §4.5): it is ignored.
2. Memory has one bound. Every datagram and every fragment is charged `OVERHEAD` bytes beside its payload, so
   that a flood of tiny fragments is bounded as a flood of large ones is. Over the bound the oldest datagram
   goes first: that is the one least likely to become whole.
3. A datagram has `timeout` seconds from its first fragment on, and no fragment prolongs that.

Time Exceeded (RFC 8200 §4.5, "Fragment Reassembly Time Exceeded") is not sent: the sender is the program on
our own TUN, which learns nothing from it that its retransmission would not do.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.wire import ipv4, ipv6
from tunflow.wire.checksum import checksum

TIMEOUT = 30.0
"""Seconds. RFC 8200 §4.5 gives up after 60, RFC 1122 §3.3.2 wants 60 to 120. Our fragments come from a local
TUN, which neither delays nor reorders, and a 16-bit identification wraps sooner than that at speed (RFC 4963
§1: old fragments then join new ones), so we take the 30 s that Linux takes for IPv4
(net.ipv4.ipfrag_time)."""

OVERHEAD = 256
"""Bytes charged for a datagram and for each of its fragments beside the payload: about what the objects
weigh."""

MAX_PACKET = 65535
"""RFC 791 §3.1: Total Length is 16 bits. RFC 8200 §4.5 limits the reassembled Payload Length in the same
way."""

_u16 = struct.Struct("!H")


class _Piece(NamedTuple):
    """What one fragment holds."""

    start: int
    """Offset in the datagram's payload, in bytes."""
    payload: "memoryview"  # noqa: UP037 - mypyc 2.4 does not find the bare name in a field
    more: bool
    """True if this is not the last."""


class _Whole(NamedTuple):
    """A complete datagram."""

    header: bytes
    pieces: list[bytes]
    size: int
    """Of the pieces together."""


class _Datagram:
    """What has come of one datagram: payload pieces in order of their offset, none overlapping."""

    __slots__ = ("deadline", "header", "held", "pieces", "poisoned", "size", "starts")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.header: bytes | None = None
        """The IP header as the first fragment (offset 0) carries it, already without its Fragment header."""
        self.starts: list[int] = []
        self.pieces: list[bytes] = []
        self.held = 0
        """Payload bytes in `pieces`."""
        self.size: int | None = None
        """The payload's length, known once the last fragment came."""
        self.poisoned = False
        """Overlapped or contradicted itself: only the memory of that is kept, to drop what still comes."""

    @property
    def cost(self) -> int:
        return self.held + OVERHEAD * (1 + len(self.pieces))

    @property
    def complete(self) -> bool:
        # Pieces never overlap and never reach beyond `size`, so the byte count alone tells that there is no
        # hole.
        return self.held == self.size and self.header is not None

    def add(self, piece: _Piece) -> bool:
        """Take a fragment's payload in. Return False when it contradicts what is here."""
        start, payload, more = piece
        end = start + len(payload)
        at = bisect_left(self.starts, start)
        if at < len(self.starts) and self.starts[at] == start and len(self.pieces[at]) == len(payload):
            # An exact duplicate, unless it is last for one copy and not for the other or says other bytes.
            return self.pieces[at] == payload and more == (end != self.size)
        if not more and (self.size is not None or (self.starts and self.starts[-1] + len(self.pieces[-1]) > end)):
            return False
        if self.size is not None and end > self.size:
            return False
        if at > 0 and self.starts[at - 1] + len(self.pieces[at - 1]) > start:
            return False
        if at < len(self.starts) and self.starts[at] < end:
            return False
        if not more:
            self.size = end
        self.starts.insert(at, start)
        self.pieces.insert(at, bytes(payload))
        self.held += len(payload)
        return True

    def poison(self) -> None:
        """Let go of everything but the knowledge that this datagram is to be dropped."""
        self.poisoned = True
        self.header = None
        self.starts.clear()
        self.pieces.clear()
        self.held = 0


class Reassembler:
    """Holds fragments until their datagram is whole; see the module's rules.

    `capacity` is in bytes, `timeout` in seconds.
    """

    def __init__(self, capacity: int = 1 << 20, timeout: float = TIMEOUT) -> None:
        self._capacity = capacity
        self._timeout = timeout
        self._datagrams: OrderedDict[bytes, _Datagram] = OrderedDict()  # oldest first, so in order of deadline
        self.held = 0
        """Bytes charged at present; never more than the capacity."""
        self.dropped = 0
        """Datagrams given up: overlapping or contradictory, too large, timed out, or pushed out by newer
        ones."""

    def __len__(self) -> int:
        return len(self._datagrams)

    def add_ipv4_untrusted(self, packet: memoryview, header: ipv4.IPv4Header, now: float) -> bytes | None:
        """Take an IPv4 fragment in; its whole packet once that is complete.

        `packet` starts at the IP header, `header` is what `wire.ipv4` read there. The whole packet is a plain
        one whose transport checksum nobody has verified. Raises BadPacket for what cannot be a fragment.
        """
        # RFC 791 §3.2: the datagram is known by source, destination, protocol and identification.
        key = b"".join((packet[12:20], packet[9:10], packet[4:6]))
        first = None if header.fragment_offset else bytes(packet[: header.header_length])
        payload = packet[header.header_length : header.total_length]
        whole = self._add(key, first, _Piece(header.fragment_offset, payload, header.more_fragments), now)
        return None if whole is None else _finish_ipv4(*whole)

    def add_ipv6_untrusted(self, packet: memoryview, fragment: ipv6.Fragment, now: float) -> bytes | None:
        """Take an IPv6 fragment in; its whole packet, without Fragment header, once that is complete.

        `fragment` is what `wire.ipv6.walk_extensions_untrusted` found in `packet`; the rest is as for IPv4.
        An atomic fragment (offset 0 and no more to come) is a packet of its own, whatever else has its
        identification (RFC 6946 §4).
        """
        end = ipv6.HEADER_SIZE + _u16.unpack_from(packet, 4)[0]
        payload = packet[fragment.header_at + ipv6.FRAGMENT_HEADER.size : end]
        first = None
        if not fragment.offset:
            rewritten = bytearray(packet[: fragment.header_at])
            rewritten[fragment.named_at] = fragment.next_header
            first = bytes(rewritten)
            if not fragment.more:
                return _finish_ipv6(first, [payload], len(payload))
        # RFC 8200 §4.5: the packet is known by source, destination and identification.
        key = b"".join((packet[8:40], fragment.identification.to_bytes(4, "big")))
        whole = self._add(key, first, _Piece(fragment.offset, payload, fragment.more), now)
        return None if whole is None else _finish_ipv6(*whole)

    def next_timeout(self) -> float | None:
        """When the oldest datagram is given up."""
        for datagram in self._datagrams.values():
            return datagram.deadline
        return None

    def handle_timeout(self, now: float) -> None:
        """Give up the datagrams whose time has passed."""
        while self._datagrams:
            key, datagram = next(iter(self._datagrams.items()))
            if datagram.deadline > now:
                return
            self._give_up(key, datagram)

    def _add(self, key: bytes, header: bytes | None, piece: _Piece, now: float) -> _Whole | None:
        """The datagram that this fragment completes, if it does."""
        size = len(piece.payload)
        if not size:
            raise BadPacket("fragment without payload")
        if piece.more and size % 8:
            raise BadPacket(f"fragment of {size} bytes, not a multiple of 8, is not the last")
        if piece.start + size > MAX_PACKET:
            raise BadPacket(f"fragment ends at byte {piece.start + size}, over {MAX_PACKET}")
        datagram = self._datagrams.get(key)
        if datagram is not None and datagram.deadline <= now:  # its timer is due but has not been served yet
            self._give_up(key, datagram)
            datagram = None
        if datagram is None:
            datagram = self._datagrams[key] = _Datagram(now + self._timeout)
            self.held += datagram.cost
        if datagram.poisoned:
            return None
        before = datagram.cost
        sound = datagram.add(piece)
        if sound and header is not None:
            datagram.header = header
        if sound and datagram.header is not None and datagram.size is not None:
            fixed = 40 if datagram.header[0] >> 4 == 6 else 0  # not part of the IPv6 Payload Length
            sound = len(datagram.header) - fixed + datagram.size <= MAX_PACKET
        if not sound:
            datagram.poison()
            self.dropped += 1
        self.held += datagram.cost - before
        if datagram.complete:
            del self._datagrams[key]
            self.held -= datagram.cost
            assert datagram.header is not None
            return _Whole(datagram.header, datagram.pieces, datagram.held)
        while self.held > self._capacity:
            self._give_up(*next(iter(self._datagrams.items())))
        return None

    def _give_up(self, key: bytes, datagram: _Datagram) -> None:
        del self._datagrams[key]
        self.held -= datagram.cost
        self.dropped += not datagram.poisoned  # that one was counted when it was poisoned


def _finish_ipv4(header: bytes, pieces: Sequence[Buffer], size: int) -> bytes:
    """The whole packet: no flags, no offset, its own length and checksum."""
    rewritten = bytearray(header)
    _u16.pack_into(rewritten, 2, len(header) + size)
    rewritten[6:8] = bytes(2)
    rewritten[10:12] = bytes(2)
    _u16.pack_into(rewritten, 10, checksum(rewritten))
    return b"".join((rewritten, *pieces))


def _finish_ipv6(header: bytes, pieces: Sequence[Buffer], size: int) -> bytes:
    """The whole packet with its own Payload Length; `header` is without the Fragment header already."""
    return b"".join((header[:4], _u16.pack(len(header) - 40 + size), header[6:], *pieces))
