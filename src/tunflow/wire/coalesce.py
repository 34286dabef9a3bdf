"""TCP segments of one flow joined into super-segments: what the kernel does behind a network card (GRO).

The inverse of `offload.segment`, for whoever has plain packets to give to a device. A super-segment costs the device
one write, the system's TCP one pass, and it is answered with one ACK instead of dozens.

Rules, the kernel's (Linux net/ipv4/tcp_offload.c):
- joined is only what says the same but for sequence number, identification, checksums, FIN and PSH: nothing is lost
  that a receiver could see. Everything else goes on as it came, and a flow's packets stay in order;
- both checksums of a segment are verified before it is joined, for afterwards nobody could: a wrong one goes on alone.
  The sum over a whole run says so for all of its segments; only when it is wrong is each looked at;
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


class SegmentRun:
    """A segment, and those that follow it."""

    __slots__ = ("head", "identification", "packets", "same", "sequence", "size", "total")

    def __init__(self, first: Buffer, head: int, same: tuple[object, ...], sequence: int, identification: int) -> None:
        self.packets: list[Buffer] = [first]
        self.head = head
        self.same = same
        self.size = len(first) - head
        """Payload bytes of each segment but the last."""
        self.total = len(first)
        """Bytes of the super-segment."""
        self.sequence = (sequence + self.size) & 0xFFFFFFFF
        """Of the segment that would follow, and so is `identification`."""
        self.identification = (identification + 1) & 0xFFFF

    def add(self, packet: Buffer, size: int) -> None:
        """Take the next segment, which has `size` bytes of payload."""
        self.packets.append(packet)
        self.total += size
        self.sequence = (self.sequence + size) & 0xFFFFFFFF
        self.identification = (self.identification + 1) & 0xFFFF

    def follow(self, packets: Sequence[Buffer], index: int) -> int:
        """Take the packets from `index` on whose headers are just those to be expected; the index behind them.

        A header as one number grows by the same from one segment to the next. This only finds quickly what taking the
        header apart would find too.
        """
        head, size = self.head, self.size
        last = self.packets[-1]
        ignored = 0xFFFF << 8 * (head - 12) | 0xFFFF << 8 * (head - ipv4.HEADER_SIZE - 18)  # the checksums
        step = size << 8 * (head - ipv4.HEADER_SIZE - 8)
        # Neither number may overflow into its neighbour: another flow's ports are not what follows.
        most = min((ipv4.MAX_PACKET - self.total) // size, (0xFFFFFFFF - (self.sequence - size & 0xFFFFFFFF)) // size)
        if last[6] & _DONT_FRAGMENT >> 8:
            ignored |= 0xFFFF << 8 * (head - 6)
        else:
            step += 1 << 8 * (head - 6)
            most = min(most, 0xFFFF - (self.identification - 1 & 0xFFFF))
        mask = (1 << 8 * head) - 1 & ~ignored
        expected = (int.from_bytes(last[:head], "big") & mask) + step
        length = head + size
        start = index
        for packet in packets[start : start + most]:
            if len(packet) != length or int.from_bytes(packet[:head], "big") & mask != expected:
                break
            expected += step
            index += 1
        if index > start:
            count = index - start
            self.packets += packets[start:index]
            self.total += count * size
            self.sequence = (self.sequence + count * size) & 0xFFFFFFFF
            self.identification = (self.identification + count) & 0xFFFF
        return index


def coalesce(packets: Sequence[Buffer]) -> list[Packet]:
    """The packets, each behind a virtio-net header, with what belongs together in one."""
    if len(packets) == 1:
        return [(virtio_net.PLAIN, packets[0])]
    runs: list[Buffer | SegmentRun] = []
    open_runs: dict[tuple[bytes, int], SegmentRun] = {}
    index, count = 0, len(packets)
    while index < count:
        packet = packets[index]
        index += 1
        size = len(packet)
        if not _SMALLEST <= size <= LARGEST_JOINED or packet[0] != _PLAIN_IPV4 or packet[9] != protocols.TCP:
            runs.append(packet)
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
            runs.append(packet)
            continue
        payload = size - head
        same = (acknowledgement, window, word & ~_ENDS, tos, ttl, fragment, bytes(packet[_SMALLEST:head]))
        if (
            run is not None
            and run.sequence == sequence
            and run.same == same
            and (fragment or run.identification == identification)
            and run.size >= payload
            and run.total + payload <= ipv4.MAX_PACKET
        ):
            run.add(packet, payload)
        else:
            run = SegmentRun(packet, head, same, sequence, identification)
            runs.append(run)
        if not word & _ENDS and run.size == payload:
            open_runs[flow] = run
            index = run.follow(packets, index)
    out: list[Packet] = []
    for each in runs:
        if isinstance(each, SegmentRun):
            out += _finished(each.packets)
        else:
            out.append((virtio_net.PLAIN, each))
    return out


def _finished(packets: Sequence[Buffer]) -> list[Packet]:
    """What becomes of a run: joined, but for segments with a wrong checksum."""
    if len(packets) == 1 or _are_right(packets):
        return [_joined(packets)]
    out: list[Packet] = []
    right: list[Buffer] = []
    for packet in packets:
        if _are_right((packet,)):
            right.append(packet)
            continue
        if right:
            out.append(_joined(right))
            right = []
        out.append((virtio_net.PLAIN, packet))
    return [*out, _joined(right)] if right else out


def _are_right(packets: Sequence[Buffer]) -> bool:
    """Return True if both checksums are, of packets of which all but the last are of one length.

    A number modulo 65535 is its ones'-complement sum (`wire.checksum`): over the whole packet that of its segment, for
    over its IP header it is none.
    """
    *rest, last = packets
    size = len(packets[0])
    whole = sum([int.from_bytes(packet, "big") for packet in rest])
    end = int.from_bytes(last, "big")
    total = (whole << 8 if size & 1 else whole) + (end << 8 if len(last) & 1 else end)
    start = ipv4.HEADER_SIZE
    lengths = len(rest) * (size - start) + len(last) - start
    pseudo = len(packets) * (int.from_bytes(last[12:start], "big") + protocols.TCP) + lengths
    return not (total + pseudo) % 65535


def _joined(packets: Sequence[Buffer]) -> Packet:
    first = packets[0]
    if len(packets) == 1:
        return (virtio_net.PLAIN, first)
    start, head = ipv4.HEADER_SIZE, ipv4.HEADER_SIZE + (first[ipv4.HEADER_SIZE + 12] >> 4) * 4
    pieces: list[Buffer] = [memoryview(packet)[head:] for packet in packets]
    total = head + sum(map(len, pieces))
    headers = bytearray(first[:head])
    struct.pack_into("!H", headers, 2, total)
    struct.pack_into("!H", headers, 10, 0)
    struct.pack_into("!H", headers, 10, checksum(headers[:start]))
    headers[start + 12 : start + 14] = packets[-1][start + 12 : start + 14]  # FIN and PSH
    partial = pseudo_sum(bytes(headers[12:16]), bytes(headers[16:20]), protocols.TCP, total - start)
    struct.pack_into("!H", headers, start + tcp.CHECKSUM_OFFSET, partial)
    front = virtio_net.HEADER.pack(
        virtio_net.NEEDS_CSUM, virtio_net.GSO_TCPV4, head, len(first) - head, start, tcp.CHECKSUM_OFFSET
    )
    return (front, headers, *pieces)
