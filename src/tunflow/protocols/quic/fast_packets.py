"""Packets of a connection that stands, taken without aioquic's way for all kinds of packets.

aioquic parses each packet as one that may be any: 75 us for a full one here, most of a download's time. A short header
whose keys and identifier are the present ones takes 15 us here; whatever is out of the ordinary is handed to aioquic as
it came. What a packet means, and its book-keeping, are aioquic's own objects and rules.

Read first: RFC 9000 §12, §17.3, §19.8; RFC 9001 §5; aioquic's `quic.connection`, `receive_datagram`.
"""

from __future__ import annotations

from typing import Any

from aioquic.quic.events import StreamDataReceived
from aioquic.quic.packet import decode_packet_number
from aioquic.quic.recovery import MAX_ACK_RANGES
from cryptography.exceptions import InvalidTag

_LONG_HEADER, _SPIN, _RESERVED, _KEY_PHASE = 0x80, 0x20, 0x18, 0x04
_HIDDEN = 0x1F
"""Bits of the first byte that header protection covers (RFC 9001 §5.4.1)."""
_SAMPLE = 16
_FIRST_STREAM, _LAST_STREAM = 0x08, 0x0F
_LONGEST_HEAD = 1 + 3 * 8
"""Bytes of a frame in front of its data; shorter packets are for aioquic."""
_OFFSET, _LENGTH, _FIN = 4, 2, 1
_SIZES = (1, 2, 4, 8)
_MASKS = (0x3F, 0x3FFF, 0x3FFF_FFFF, 0x3FFF_FFFF_FFFF_FFFF)


class PlainPacket:
    """A packet that was opened."""

    __slots__ = ("first", "number", "payload")

    def __init__(self, first: int, number: int, payload: bytes) -> None:
        self.first = first
        self.number = number
        self.payload = payload


def open_packet_untrusted(datagram: bytes, crypto: Any, identifier: bytes, expected: int) -> PlainPacket | None:
    """The only packet of a datagram; None for what aioquic is to look at, which a forged one is, too.

    `crypto` is aioquic's `CryptoContext` of what is received, `expected` the packet number that is to come.
    """
    start = 1 + len(identifier)
    if (
        len(datagram) < start + 4 + _SAMPLE
        or datagram[0] & _LONG_HEADER
        or datagram[1:start] != identifier
        or crypto.aead is None
    ):
        return None
    mask = crypto.hp._mask(datagram[start + 4 : start + 4 + _SAMPLE])
    first = datagram[0] ^ mask[0] & _HIDDEN
    if first & _RESERVED or (first & _KEY_PHASE) >> 2 != crypto.key_phase:
        return None
    size = (first & 3) + 1
    end = start + size
    shown = int.from_bytes(datagram[start:end], "big") ^ int.from_bytes(mask[1 : 1 + size], "big")
    number = decode_packet_number(shown, size * 8, expected)
    head = b"".join((bytes((first,)), identifier, shown.to_bytes(size, "big")))
    aead = crypto.aead
    try:
        return PlainPacket(first, number, aead._aead.decrypt(aead._nonce(number), datagram[end:], head))
    except InvalidTag:
        return None


class StreamFrame:
    """What a packet holds that is nothing but one frame of a stream."""

    __slots__ = ("data", "is_last", "offset", "stream")

    def __init__(self, stream: int, offset: int, data: bytes, is_last: bool) -> None:
        self.stream = stream
        self.offset = offset
        self.data = data
        self.is_last = is_last


def only_stream_frame_untrusted(payload: bytes) -> StreamFrame | None:
    """The frame; None for a packet with others, too, a small one, and one that is not whole (RFC 9000 §19.8)."""
    size = len(payload)
    if size < _LONGEST_HEAD or not _FIRST_STREAM <= payload[0] <= _LAST_STREAM:
        return None
    kind = payload[0]
    stream, at = _number(payload, 1)
    offset = 0
    if kind & _OFFSET:
        offset, at = _number(payload, at)
    if kind & _LENGTH:
        length, at = _number(payload, at)
        if at + length != size:
            return None
    return StreamFrame(stream, offset, payload[at:], bool(kind & _FIN))


def _number(payload: bytes, at: int) -> tuple[int, int]:
    """An integer that is there (RFC 9000 §16), and the offset behind it."""
    form = payload[at] >> 6
    end = at + _SIZES[form]
    return int.from_bytes(payload[at:end], "big") & _MASKS[form], end


def take_stream_frame(connection: Any, frame: StreamFrame) -> bool:
    """Return True if a frame comes in order on a stream of ours, and was delivered; else nothing was done."""
    stream = connection._streams.get(frame.stream)
    if stream is None:
        return False
    receiver, data = stream.receiver, frame.data
    end = frame.offset + len(data)
    limit = connection._local_max_data
    if (
        not data
        or receiver.is_finished
        or receiver._buffer
        or receiver._final_size is not None
        or frame.offset != receiver._buffer_start
        or end < receiver.highest_offset
        or end > stream.max_stream_data_local
        or limit.used + end - receiver.highest_offset > limit.value
    ):
        return False
    limit.used += end - receiver.highest_offset
    receiver.highest_offset = receiver._buffer_start = end
    if frame.is_last:
        receiver._final_size = end
        receiver.is_finished = True
    connection._events.append(StreamDataReceived(data=data, end_stream=frame.is_last, stream_id=frame.stream))
    return True


def note_received(connection: Any, space: Any, packet: PlainPacket, is_ack_eliciting: bool, now: float) -> None:
    """What aioquic notes of a packet that was taken."""
    number = packet.number
    if number > space.expected_packet_number:
        space.expected_packet_number = number + 1
    if number > connection._spin_highest_pn:
        connection._spin_bit = not packet.first & _SPIN
        connection._spin_highest_pn = number
    connection._close_at = now + connection._idle_timeout()
    connection._ack_eliciting_sent_since_receipt = False
    if number > space.largest_received_packet:
        space.largest_received_packet = number
        space.largest_received_time = now
    space.ack_queue.add(number)
    space.received_packets.add(number)
    if len(space.ack_queue) > MAX_ACK_RANGES:
        space.ack_queue.shift()
    if is_ack_eliciting and space.ack_at is None:
        space.ack_at = now + connection._ack_delay
