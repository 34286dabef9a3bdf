"""Packets that are full of one stream's bytes, sent without aioquic's way for all kinds of frames.

An upload is nearly all such packets. What is due beside them (acknowledgements, limits, datagrams, lost bytes in small
pieces, the last bytes) is left to aioquic, which goes on where these end; pacing, windows and recovery are its own.

Read first: RFC 9000 §17.3.1, §19.8; aioquic's `quic.packet_builder` and `quic.connection`, `_write_application`.
"""

from __future__ import annotations

from typing import Any

from aioquic import tls
from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicSentPacket

_FIXED = 0x40
_NUMBER = 2
"""Bytes of a packet number, as aioquic sends them."""
_TAG = 16
_STREAM_WITH_OFFSET_AND_LENGTH, _FIN = 0x0E, 1
_FRAME_HEAD = 1 + 8 + 8 + 2


def write_full_packets(connection: Any, builder: Any, now: float) -> None:
    """Write as many as pacing, windows and streams allow, in front of what aioquic writes itself."""
    space = connection._spaces[tls.Epoch.ONE_RTT]
    pair = connection._cryptos[tls.Epoch.ONE_RTT]
    if (
        connection._datagrams_pending
        or connection._probe_pending
        or not connection._network_paths[0].is_validated
        or not pair.send.is_valid()
        or builder._packet is not None
        or not builder._datagram_init
        or (space.ack_at is not None and space.ack_at <= now)
    ):
        return
    size = connection._max_datagram_size
    head_size = 1 + len(connection._peer_cid.cid) + _NUMBER
    room = size - head_size - _TAG - _FRAME_HEAD
    pacer = connection._loss._pacer
    while builder.max_flight_bytes - builder._flight_bytes >= size:
        stream = _ready_stream(connection, room)
        if stream is None or pacer.next_send_time(now=now) is not None:
            return
        _write(connection, builder, pair, stream, room)
        pacer.update_after_send(now=now)


def _ready_stream(connection: Any, room: int) -> Any | None:
    """The next stream, if it has so many bytes that may be sent now; None where that takes a closer look."""
    for stream in connection._streams_queue:
        sender = stream.sender
        if stream.is_finished or stream.receiver.stop_pending or sender.reset_pending:
            return None
        if stream.is_blocked or sender.buffer_is_empty:
            continue
        pending = sender._pending
        if not len(pending):  # it has no truth value
            return None
        start = pending[0].start
        if pending[0].stop - start < room or start + room > stream.max_stream_data_remote:
            return None
        new = start + room - max(start, sender.highest_offset)
        return stream if connection._remote_max_data_used + max(0, new) <= connection._remote_max_data else None
    return None


def _write(connection: Any, builder: Any, pair: Any, stream: Any, room: int) -> None:
    sender = stream.sender
    before = sender.highest_offset
    frame = sender.get_frame(room)
    end = frame.offset + room
    number = builder._packet_number
    first = _FIXED | connection._spin_bit << 5 | pair.key_phase << 2 | _NUMBER - 1
    head = b"".join((bytes((first,)), connection._peer_cid.cid, (number & 0xFFFF).to_bytes(_NUMBER, "big")))
    kind = _STREAM_WITH_OFFSET_AND_LENGTH | (_FIN if frame.fin else 0)
    payload = b"".join(
        (
            bytes((kind,)),
            (stream.stream_id | 3 << 62).to_bytes(8, "big"),
            (frame.offset | 3 << 62).to_bytes(8, "big"),
            (room | 1 << 14).to_bytes(2, "big"),
            frame.data,
        )
    )
    wire = pair.encrypt_packet(head, payload, number)
    packet = QuicSentPacket(
        epoch=tls.Epoch.ONE_RTT,
        in_flight=True,
        is_ack_eliciting=True,
        is_crypto_packet=False,
        packet_number=number,
        packet_type=QuicPacketType.ONE_RTT,
        sent_bytes=len(wire),
    )
    packet.delivery_handlers.append((sender.on_data_delivery, (frame.offset, end, frame.fin)))
    builder._datagrams.append(wire)
    builder._packets.append(packet)
    builder._flight_bytes += len(wire)
    builder._total_bytes += len(wire)
    builder._packet_number = number + 1
    connection._remote_max_data_used += sender.highest_offset - before
    queue = connection._streams_queue
    if len(queue) > 1:
        queue.remove(stream)
        queue.append(stream)
