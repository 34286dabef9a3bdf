"""TCP segments of one flow joined into super-segments: what the kernel does behind a network card (GRO).

The inverse of `offload.segment`, for whoever has plain packets to give to a device. A super-segment costs the device
one write, the system's TCP one pass, and it is answered with one ACK instead of dozens.

Rules, the kernel's (Linux net/ipv4/tcp_offload.c):
- joined is only what says the same but for sequence number, identification, checksums, FIN and PSH: nothing is lost
  that a receiver could see. Everything else goes on as it came, and a flow's packets stay in order;
- both checksums of a segment are verified before it is joined, for afterwards nobody could: a wrong one goes on alone;
- FIN, PSH or a short segment ends a super-segment. Pure ACKs are not joined: a sender counts them;
- nothing is held back: what can be joined is what came together.

IPv4 without options only: the tunnels that use it carry nothing else in bulk.

Read first: RFC 9293 §3.1; RFC 6864 §4.1 (the identification of what may not be fragmented means nothing).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tunflow.device import Packet
from tunflow.endpoint import Buffer
from tunflow.wire import ipv4, protocols, tcp, virtio_net
from tunflow.wire.checksum import checksum, pseudo_sum

_HEADERS = struct.Struct("!HHHHH2x8sIIIHHHH")
"""Version, IHL and TOS; length; identification; fragment; TTL and protocol; addresses; ports; sequence;
acknowledgement; data offset and flags; window; checksum; urgent pointer."""
_SMALLEST = _HEADERS.size
LARGEST_JOINED = 2048
"""Bytes of the largest packet that is joined: beyond, its checksum costs more than a write does (docs/adr/0050)."""

_PLAIN_IPV4 = 0x45
_DONT_FRAGMENT = 0x4000
_ENDS = tcp.FIN | tcp.PSH
_FLAGS = 0x0FFF
_OTHER_FLAGS = _FLAGS & ~(_ENDS | tcp.ECE)
"""The flags, reserved bits among them, of which only ACK may be set."""


class _Run:
    """A segment, and those that follow it."""

    __slots__ = ("first", "head", "identification", "pieces", "same", "sequence", "size", "total", "word")

    def __init__(
        self, first: memoryview, head: int, same: tuple[object, ...], sequence: int, identification: int
    ) -> None:
        self.first = first
        self.head = head
        self.same = same
        self.size = len(first) - head
        """Payload bytes of each segment but the last."""
        self.total = len(first)
        """Bytes of the super-segment."""
        self.sequence = (sequence + self.size) & 0xFFFFFFFF
        """Of the segment that would follow, and so is `identification`."""
        self.identification = (identification + 1) & 0xFFFF
        self.pieces: list[Buffer] = []
        self.word = 0
        """The flags of the last one."""


def coalesce(packets: Sequence[Buffer]) -> list[Packet]:
    """The packets, each behind a virtio-net header, with what belongs together in one."""
    if len(packets) == 1:
        return [(virtio_net.PLAIN, packets[0])]
    runs: list[Packet | _Run] = []
    open_runs: dict[tuple[bytes, int], _Run] = {}
    for packet in packets:
        size = len(packet)
        if not _SMALLEST <= size <= LARGEST_JOINED or packet[0] != _PLAIN_IPV4 or packet[9] != protocols.TCP:
            runs.append((virtio_net.PLAIN, packet))
            continue
        tos, length, identification, fragment, ttl, addresses, ports, sequence, acknowledgement, word, window, _, _ = (
            _HEADERS.unpack_from(packet)
        )
        flow = (addresses, ports)
        run = open_runs.pop(flow, None)
        head = ipv4.HEADER_SIZE + (word >> 12) * 4
        if (
            word & _OTHER_FLAGS != tcp.ACK
            or length != size
            or not _SMALLEST <= head < size
            or fragment & ~_DONT_FRAGMENT
        ):
            runs.append((virtio_net.PLAIN, packet))
            continue
        view = memoryview(packet)
        same = (acknowledgement, window, word & ~_ENDS, tos, ttl, fragment, bytes(view[_SMALLEST:head]))
        if (
            run is not None
            and run.sequence == sequence
            and run.same == same
            and (fragment or run.identification == identification)
            and run.size >= size - head
            and run.total + size - head <= ipv4.MAX_PACKET
            and (run.pieces or _is_right(run.first))
            and _is_right(view)
        ):
            run.pieces.append(view[head:])
            run.total += size - head
            run.sequence = (sequence + size - head) & 0xFFFFFFFF
            run.identification = (identification + 1) & 0xFFFF
            run.word = word
            if not word & _ENDS and run.size == size - head:
                open_runs[flow] = run
            continue
        run = _Run(view, head, same, sequence, identification)
        runs.append(run)
        if not word & _ENDS:
            open_runs[flow] = run
    return [_joined(run) if isinstance(run, _Run) else run for run in runs]


def _is_right(packet: memoryview) -> bool:
    """Whether both checksums are. A number modulo 65535 is its ones'-complement sum; see `wire.checksum`."""
    start = ipv4.HEADER_SIZE
    if int.from_bytes(packet[:start], "big") % 65535:
        return False
    segment = packet[start:]
    total = int.from_bytes(packet[12:start], "big") + protocols.TCP + len(segment)
    # A quarter at a time: the sum of four short numbers is had sooner than the remainder of a long one.
    quarter = len(segment) // 8 * 2
    for at in (0, quarter, 2 * quarter):
        total += int.from_bytes(segment[at : at + quarter], "big")
    rest = int.from_bytes(segment[3 * quarter :], "big")
    return not (total + (rest << 8 if len(segment) & 1 else rest)) % 65535


def _joined(run: _Run) -> Packet:
    if not run.pieces:
        return (virtio_net.PLAIN, run.first)
    start, head = ipv4.HEADER_SIZE, run.head
    headers = bytearray(run.first[:head])
    struct.pack_into("!H", headers, 2, run.total)
    struct.pack_into("!H", headers, 10, 0)
    struct.pack_into("!H", headers, 10, checksum(headers[:start]))
    struct.pack_into("!H", headers, start + 12, run.word)
    partial = pseudo_sum(bytes(headers[12:16]), bytes(headers[16:20]), protocols.TCP, run.total - start)
    struct.pack_into("!H", headers, start + tcp.CHECKSUM_OFFSET, partial)
    front = virtio_net.HEADER.pack(
        virtio_net.NEEDS_CSUM, virtio_net.GSO_TCPV4, head, run.size, start, tcp.CHECKSUM_OFFSET
    )
    return (front, headers, run.first[head:], *run.pieces)
