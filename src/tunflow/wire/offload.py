"""Segmentation and checksum offload in software: what the kernel or a network card would otherwise do.

A device without offload, and the packet capture, cut super-segments here. Each plain packet is a copy of the
headers with its own lengths, sequence number and checksums, followed by slices of the payload: payload is
read for its checksum and never copied.

The header piece holds the IP and transport headers whole; payload may begin in it. It is `packet[1]`, or follows the
virtio-net header in `packet[0]`. Sizes come from the headers themselves, not from the hint `hdr_len` (virtio 1.2
§5.1.6.2).

Read first: virtio 1.2 §5.1.6.2; Linux Documentation/networking/segmentation-offloads.rst; RFC 9293 §3.1 (what
a segment's flags refer to); RFC 3168 §6.1.2 (CWR); RFC 6864 (one identification per IPv4 packet).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tunflow.device import Packet
from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.wire import ipv4, ipv6, protocols, tcp, udp, virtio_net
from tunflow.wire.checksum import checksum, fold, pseudo_sum, sum_pieces
from tunflow.wire.virtio_net import VnetHeader

_U16 = struct.Struct("!H")
_U32 = struct.Struct("!I")

_PROTOCOLS = {
    virtio_net.GSO_TCPV4: (4, protocols.TCP),
    virtio_net.GSO_TCPV6: (6, protocols.TCP),
    virtio_net.GSO_UDP_L4: (None, protocols.UDP),
}
"""IP version (None: either) and protocol of each type that can be cut."""

_ZERO_CHECKSUM = 0xFFFF
"""RFC 768: a checksum that comes out as zero is sent as all ones. It means the same to TCP (RFC 1071)."""


def segment(packet: Packet) -> list[list[Buffer]]:
    """The plain packets that `packet` stands for, complete with checksums and without virtio-net header.

    Raises BadPacket when the virtio-net header asks for what the packet behind it does not allow.
    """
    if len(packet[0]) > virtio_net.HEADER.size:  # all headers in one piece
        front = memoryview(packet[0])
        packet = [front[: virtio_net.HEADER.size], front[virtio_net.HEADER.size :], *packet[1:]]
    header = virtio_net.parse_untrusted(packet[0])
    if len(packet) < 2:
        raise BadPacket("virtio-net header without a packet")
    if header.segmentation != virtio_net.GSO_NONE:
        return _cut(header, packet[1], packet[2:])
    if header.needs_checksum:
        return [_with_checksum(header, packet[1], packet[2:])]
    return [list(packet[1:])]


def _with_checksum(header: VnetHeader, first: Buffer, rest: Sequence[Buffer]) -> list[Buffer]:
    """The packet with the checksum that its field holds the pseudo-header's sum of."""
    start = header.csum_start
    field = start + header.csum_offset
    if field + 2 > len(first):
        raise BadPacket(f"checksum field at {field} in headers of {len(first)} bytes")
    # With the pseudo-header's sum in the field, the sum from csum_start on is already the whole sum.
    total = sum_pieces((memoryview(first)[start:], *rest))
    head, body = _split(first, field + 2)
    _U16.pack_into(head, field, (0xFFFF ^ total) or _ZERO_CHECKSUM)
    return [head, *body, *rest]


def _split(first: Buffer, size: int) -> tuple[bytearray, list[Buffer]]:
    """A writable copy of the first `size` bytes, and the rest if there is one."""
    return bytearray(memoryview(first)[:size]), [memoryview(first)[size:]] if len(first) > size else []


class _Layout(NamedTuple):
    """Where things are in the headers of a super-segment."""

    version: int
    src: bytes
    dst: bytes
    protocol: int
    transport: int
    """Where the transport header starts."""
    payload: int
    """Where the payload starts."""


def _cut(header: VnetHeader, first: Buffer, rest: Sequence[Buffer]) -> list[list[Buffer]]:
    """The segments of a super-segment."""
    layout = _layout(header, first)
    head, body = _split(first, layout.payload)
    pieces = [*body, *rest]
    total = sum(map(len, pieces))
    largest = len(head) + min(total, header.gso_size)
    if largest > (ipv4.MAX_PACKET if layout.version == 4 else ipv6.HEADER_SIZE + ipv6.MAX_PAYLOAD):
        raise BadPacket(f"segments of {largest} bytes")
    is_tcp = layout.protocol == protocols.TCP
    segments: list[list[Buffer]] = []
    done = 0
    for number, parts in enumerate(_slices(pieces, header.gso_size)):
        size = sum(map(len, parts))
        copy = bytearray(head)
        _write_ip(copy, layout, size, number)
        if is_tcp:
            _write_tcp(copy, layout.transport, done, done + size == total)
        else:
            struct.pack_into("!HH", copy, layout.transport + 4, udp.HEADER_SIZE + size, 0)
        _write_checksum(copy, layout, parts, size)
        segments.append([copy, *parts])
        done += size
    return segments


def _layout(header: VnetHeader, first: Buffer) -> _Layout:
    """The layout of a super-segment's headers, checked against what the virtio-net header claims."""
    kind = header.segmentation
    if kind not in _PROTOCOLS:
        raise BadPacket(f"virtio-net GSO type {kind} is not supported")
    wanted, protocol = _PROTOCOLS[kind]
    version = first[0] >> 4 if len(first) else 0
    if version not in (4, 6) or wanted not in (None, version):
        raise BadPacket(f"IP version {version} in a super-segment of GSO type {kind}")
    if version == 4:
        if len(first) < ipv4.HEADER_SIZE:
            raise BadPacket(f"super-segment with headers of {len(first)} bytes")
        transport = (first[0] & 15) * 4
        found, src, dst = first[9], bytes(first[12:16]), bytes(first[16:20])
        if transport < ipv4.HEADER_SIZE:
            raise BadPacket(f"IPv4 header of {transport} bytes")
    else:
        if len(first) < ipv6.HEADER_SIZE:
            raise BadPacket(f"super-segment with headers of {len(first)} bytes")
        # Extension headers are the reason to believe csum_start: it is where the transport header starts.
        transport = header.csum_start if header.needs_checksum else ipv6.HEADER_SIZE
        src, dst = bytes(first[8:24]), bytes(first[24:40])
        if transport < ipv6.HEADER_SIZE:
            raise BadPacket(f"transport header at {transport} in an IPv6 packet")
        found = first[6] if transport == ipv6.HEADER_SIZE else protocol
    if found != protocol:
        raise BadPacket(f"protocol {found} in a super-segment of GSO type {kind}")
    payload = _payload_start(first, transport, protocol)
    return _Layout(version, src, dst, protocol, transport, payload)


def _payload_start(first: Buffer, transport: int, protocol: int) -> int:
    fixed = tcp.HEADER_SIZE if protocol == protocols.TCP else udp.HEADER_SIZE
    end = transport + fixed
    if end <= len(first) and protocol == protocols.TCP:
        end = transport + (first[transport + 12] >> 4) * 4
    if not transport + fixed <= end <= len(first):
        raise BadPacket(f"transport header of {end - transport} bytes in headers of {len(first)}")
    return end


def _slices(pieces: Sequence[Buffer], size: int) -> Iterator[list[Buffer]]:
    """The pieces as runs of `size` bytes, the last one shorter; one empty run when there is nothing."""
    run: list[Buffer] = []
    room = size
    for piece in pieces:
        view = memoryview(piece)
        while len(view) > room:
            yield [*run, view[:room]] if room else run
            view = view[room:]
            run, room = [], size
        if len(view):
            run.append(view)
            room -= len(view)
    yield run


def _write_ip(head: bytearray, layout: _Layout, size: int, number: int) -> None:
    """Length, and in IPv4 identification and header checksum, of the segment with this number."""
    length = len(head) + size
    if layout.version == 6:
        _U16.pack_into(head, 4, length - ipv6.HEADER_SIZE)
        return
    (identification,) = _U16.unpack_from(head, 4)
    struct.pack_into("!HH", head, 2, length, (identification + number) & 0xFFFF)
    _U16.pack_into(head, 10, 0)
    _U16.pack_into(head, 10, checksum(memoryview(head)[: layout.transport]))


def _write_tcp(head: bytearray, at: int, done: int, last: bool) -> None:
    """Sequence number and flags of the segment whose payload starts `done` bytes into the whole."""
    (sequence,) = _U32.unpack_from(head, at + 4)
    _U32.pack_into(head, at + 4, (sequence + done) & 0xFFFFFFFF)
    if not last:
        head[at + 13] &= ~(tcp.FIN | tcp.PSH)
    if done:
        head[at + 13] &= ~tcp.CWR
    _U16.pack_into(head, at + tcp.CHECKSUM_OFFSET, 0)


def _write_checksum(head: bytearray, layout: _Layout, parts: Sequence[Buffer], size: int) -> None:
    """The transport checksum, whose field is zero."""
    at = layout.transport
    is_tcp = layout.protocol == protocols.TCP
    total = pseudo_sum(layout.src, layout.dst, layout.protocol, len(head) - at + size)
    total = fold(total + sum_pieces((memoryview(head)[at:], *parts)))
    field = at + (tcp.CHECKSUM_OFFSET if is_tcp else udp.CHECKSUM_OFFSET)
    _U16.pack_into(head, field, (0xFFFF ^ total) or _ZERO_CHECKSUM)
