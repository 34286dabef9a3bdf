"""What tunflow needs of aioquic's connection beyond its events, in one place.

Four things that aioquic has no public way for: how far the peer has acknowledged a stream, a window that opens as
bytes are taken and not as they arrive (RFC 9000 §4.1), keys exported from the TLS handshake (RFC 8446 §7.5), and a
pacer that knows how long a timer takes (`pacer`).

Read first: RFC 9000, RFC 9001; aioquic's `quic.connection` and `tls`.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from aioquic import tls
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection, QuicConnectionState
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.packet import QuicFrameType
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from tunflow.protocols.quic.fast_packets import (
    note_received,
    only_stream_frame_untrusted,
    open_packet_untrusted,
    take_stream_frame,
)
from tunflow.protocols.quic.full_packets import write_full_packets
from tunflow.protocols.quic.pacer import Pacer

_CONNECTED = QuicConnectionState.CONNECTED
WINDOW = 2 << 20
"""Bytes of one stream that may wait here to be taken."""

DATAGRAMS_WAITING = 256

_FRAME_CAPACITY = 1 + 8 + 8
_CLIENTS_BIDI = 0
"""The low two bits of our own two-way streams' numbers (RFC 9000 §2.1)."""


class QUICConnection(QuicConnection):
    """A client's connection to `configuration.server_name`."""

    def __init__(self, configuration: QuicConfiguration) -> None:
        super().__init__(configuration=configuration)
        self._loss._pacer = Pacer(max_datagram_size=configuration.max_datagram_size)
        self._taken: dict[int, int] = {}
        """By stream, how many bytes were taken."""
        self._exporter: bytes | None = None
        self._identifier = b""
        """Of ours, which packets last came to."""

    def take_untrusted(self, datagram: bytes, peer: tuple[str, int], now: float) -> bool:
        """Take a datagram in. Return True if the peer's keys opened a packet of it: anybody can send others.

        A server that was started anew answers what it does not know with resets that nobody can check (RFC 9000
        §10.3).
        """
        if self._handshake_complete and self._take_ordinary_untrusted(datagram, now):
            return True
        before = self._close_at
        self.receive_datagram(datagram, peer, now)
        return self._close_at != before  # the idle time begins anew with such a packet alone (RFC 9000 §10.1)

    def _take_ordinary_untrusted(self, datagram: bytes, now: float) -> bool:
        """Return True if a packet is nothing but the next bytes of a stream, and was taken; else nothing was done."""
        space = self._spaces[tls.Epoch.ONE_RTT]
        size = self._configuration.connection_id_length
        if datagram[1 : 1 + size] != self._identifier:  # servers change it now and then
            self._identifier = next((each.cid for each in self._host_cids if each.cid == datagram[1 : 1 + size]), b"")
            if not self._identifier:
                return False
        packet = open_packet_untrusted(
            datagram, self._cryptos[tls.Epoch.ONE_RTT].recv, self._identifier, space.expected_packet_number
        )
        if packet is None or packet.number in space.received_packets or self._state is not _CONNECTED:
            return False
        frame = only_stream_frame_untrusted(packet.payload)
        if frame is None or not take_stream_frame(self, frame):
            return False
        note_received(self, space, packet, True, now)
        return True

    def export_key(self, label: bytes, context: bytes, size: int) -> bytes:
        """`size` bytes exported from the handshake, which must be over (RFC 8446 §7.5)."""
        assert self._exporter is not None
        assert self.tls.key_schedule is not None
        algorithm = self.tls.key_schedule.algorithm
        secret = tls.hkdf_expand_label(
            algorithm=algorithm,
            secret=self._exporter,
            label=label,
            hash_value=_hash(algorithm, b""),
            length=algorithm.digest_size,
        )
        return bytes(
            tls.hkdf_expand_label(
                algorithm=algorithm,
                secret=secret,
                label=b"exporter",
                hash_value=_hash(algorithm, context),
                length=size,
            )
        )

    @property
    def closing(self) -> ConnectionTerminated | None:
        """Why it ends, as soon as that is known: the event comes when late packets are no longer to be expected."""
        return self._close_event

    @property
    def fingerprint(self) -> bytes | None:
        """The SHA-256 of the server's certificate, once it came."""
        certificate = self.tls._peer_certificate
        return None if certificate is None else sha256(certificate.public_bytes(Encoding.DER)).digest()

    def unacknowledged(self, stream: int) -> int:
        """Bytes of a stream that the peer has not acknowledged; its end counts for one."""
        found = self._streams.get(stream)
        if found is None:
            return 0
        sender = found.sender
        if sender.is_finished or sender._reset_error_code is not None:
            return 0
        return len(sender._buffer) + (sender._buffer_fin is not None)

    def took(self, stream: int, size: int) -> bool:
        """So many bytes more of a stream were taken. Return True if the peer should hear of it."""
        found = self._streams.get(stream)
        taken = self._taken[stream] = self._taken.get(stream, 0) + size
        return found is not None and self._is_due(found, taken)

    def forget(self, stream: int) -> None:
        """Nobody takes bytes of a stream any more."""
        self._taken.pop(stream, None)

    def reset(self, stream: int, error: int) -> None:
        """End both directions of a stream out of order."""
        found = self._streams.get(stream)
        if found is None:
            return
        found.sender.reset(error)
        if not found.receiver.is_finished:
            found.receiver.stop(error)
        self._taken[stream] = 1 << 60  # what still comes is for nobody

    def queue_datagram(self, data: bytes) -> bool:
        """Send a DATAGRAM frame. Return False for one too many."""
        if len(self._datagrams_pending) >= DATAGRAMS_WAITING:
            return False
        self.send_datagram_frame(data)
        return True

    @property
    def largest_datagram(self) -> int:
        """Bytes that a DATAGRAM frame may carry; 0 where the peer takes none (RFC 9221 §3)."""
        taken = self._remote_max_datagram_frame_size or 0
        # A short header with a connection ID, the frame's header, and the tag of the seal.
        return max(0, min(taken - 3, self._max_datagram_size - 1 - len(self._peer_cid.cid) - 4 - 3 - 16))

    def _initialize(self, peer_cid: bytes) -> None:
        """As in aioquic: before the handshake, and again after a Retry."""
        super()._initialize(peer_cid)
        context, tell = self.tls, self.tls.update_traffic_key_cb

        def told(direction: tls.Direction, epoch: tls.Epoch, suite: Any, secret: bytes) -> None:
            # The server's first application key is derived when the transcript ends with its Finished, which is where
            # the exporter's secret is derived, too (RFC 8446 §7.1).
            if direction is tls.Direction.DECRYPT and epoch is tls.Epoch.ONE_RTT:
                assert context.key_schedule is not None
                self._exporter = context.key_schedule.derive_secret(b"exp master")
            tell(direction, epoch, suite, secret)

        context.update_traffic_key_cb = told

    def _write_application(self, builder: Any, network_path: Any, now: float) -> None:
        """As in aioquic; what is most of an upload is written first."""
        if self._handshake_confirmed:
            write_full_packets(self, builder, now)
        super()._write_application(builder, network_path, now)

    def _is_due(self, stream: Any, taken: int) -> bool:
        return bool(taken + WINDOW - stream.max_stream_data_local_sent >= WINDOW // 2)

    def _write_stream_limits(self, builder: Any, space: Any, stream: Any) -> None:
        """As in aioquic, for our own streams by what was taken instead of by what came."""
        if stream.stream_id & 3 != _CLIENTS_BIDI:
            super()._write_stream_limits(builder, space, stream)
            return
        taken = self._taken.get(stream.stream_id, 0)
        if taken >= 1 << 60:
            taken = stream.receiver.highest_offset
        if stream.receiver.is_finished or not self._is_due(stream, taken):
            return
        buffer = builder.start_frame(
            QuicFrameType.MAX_STREAM_DATA,
            capacity=_FRAME_CAPACITY,
            handler=self._on_max_stream_data_delivery,
            handler_args=(stream,),
        )
        limit = max(stream.max_stream_data_local, taken + WINDOW)
        stream.max_stream_data_local = stream.max_stream_data_local_sent = limit
        buffer.push_uint_var(stream.stream_id)
        buffer.push_uint_var(limit)


def _hash(algorithm: hashes.HashAlgorithm, data: bytes) -> bytes:
    digest = hashes.Hash(algorithm)
    digest.update(data)
    return digest.finalize()
