"""A client of Trojan, VLESS and their kind, which first hears something (TLS, WebSocket), and whose stream may carry
datagrams instead of bytes.

Datagrams leave from one socket of the stream's own (full cone), and end with it.
"""

from __future__ import annotations

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.inbound.pipe import IOV_MAX, READS_PER_TURN, unsent
from tunflow.inbound.relay import Relay
from tunflow.inbound.target_service import connect
from tunflow.inbound.udp import UDPAssociation
from tunflow.protocols.codec import StreamCodec, StreamDatagramCodec
from tunflow.protocols.sealed_reader import SealedReader
from tunflow.protocols.transport.served import ServedStream

WAITING = 256 * 1024
"""Bytes of datagrams that wait for a client; what comes then is dropped."""


class LayeredStream:
    """The whole of what is spoken on a connection, and the protocol in it that knows the target. As `ServedStream`."""

    def __init__(self, whole: StreamCodec, protocol: ServedStream) -> None:
        self._protocol = protocol
        self.seal = whole.seal
        self.open_untrusted = whole.open_untrusted
        self.finish = whole.finish
        self._whole = whole

    @property
    def established(self) -> bool:
        """As `StreamCodec.established`."""
        return self._whole.established

    @property
    def transparent(self) -> bool:
        """As `StreamCodec.transparent`."""
        return self._whole.transparent

    @property
    def target(self) -> Endpoint | None:
        """As `ServedStream.target`."""
        return self._protocol.target

    @property
    def frames(self) -> StreamDatagramCodec | None:
        """As `ServedStream.frames`."""
        return self._protocol.frames

    @property
    def is_per_target(self) -> bool:
        """As `ServedStream.is_per_target`."""
        return self._protocol.is_per_target


class StreamService:
    """As `ClientService`: carries one stream, or the datagrams in it."""

    __slots__ = ("_datagrams", "_relay", "_stream", "finish", "turn_up")

    def __init__(self, stream: LayeredStream, relay: Relay) -> None:
        self._stream = stream
        self._relay = relay
        self._datagrams: StreamDatagrams | None = None
        self.turn_up = stream.open_untrusted
        """As `ClientService.turn_up`."""
        self.finish = stream.finish
        """As `ClientService.finish`."""

    @property
    def knows_wish(self) -> bool:
        """As `ClientService.knows_wish`."""
        return self._stream.target is not None

    def words(self) -> bytes:
        """As `ClientService.words`: a handshake's."""
        return b"".join(self._stream.seal(()))

    def turn_down(self, view: memoryview) -> tuple[list[Buffer], int]:
        """As `ClientService.turn_down`."""
        return self._stream.seal((view,)), len(view)

    def fulfil(self) -> None:
        """As `ClientService.fulfil`."""
        target, frames = self._stream.target, self._stream.frames
        assert target is not None
        if frames is None:
            connect(self._relay, target)
            return
        self._relay.begin()
        try:
            self._datagrams = StreamDatagrams(self._relay, self._stream, frames, target)
        except OSError:
            self._relay.close()
            return
        self._datagrams.serve()

    def refused(self, error: BadPacket) -> None:
        """As `ClientService.refused`."""
        self._relay.fall_silent(str(error))

    def serve(self) -> None:
        """As `ClientService.serve`."""
        if self._datagrams is not None:
            self._datagrams.serve()

    def over(self) -> None:
        """As `ClientService.over`."""
        if self._datagrams is not None:
            self._datagrams.close()


class StreamDatagrams:
    """The datagrams in one stream, from the client's end. Raises OSError when there is no socket for them."""

    __slots__ = ("_association", "_back", "_frames", "_reader", "_relay", "_stream", "_target")

    def __init__(self, relay: Relay, stream: LayeredStream, frames: StreamDatagramCodec, target: Endpoint) -> None:
        self._relay = relay
        self._stream = stream
        self._frames = frames
        self._target = target
        self._reader = SealedReader(frames.open_untrusted)
        self._back: list[Buffer] = []
        """What the client did not take yet."""
        self._association = UDPAssociation(relay.shared, relay.client.getpeername(), None, self._send_back)
        relay.shared.counters.associations += 1

    def close(self) -> None:
        """Close the socket."""
        self._association.close()

    def serve(self) -> None:
        """Send what the client sent, and what waits for it."""
        relay, up = self._relay, self._relay.up
        try:
            self._flush_back()
            self._take()
            for _ in range(READS_PER_TURN):
                if not up.readable or up.ended:
                    break
                up.fill()
                self._take()
        except BadPacket as error:
            relay.garbled(error)
            return
        except OSError:
            relay.abort()
            return
        if up.ended:
            relay.close()
        elif up.readable:
            relay.again()

    def _take(self) -> None:
        """Send what is whole of what was read. Raises BadPacket."""
        read, self._relay.up.pending = self._relay.up.pending, []
        for each in self._reader.read_untrusted(b"".join(read)):
            self._association.send(each.peer, memoryview(each.payload))

    def _send_back(self, _association: UDPAssociation, source: Endpoint, payload: memoryview) -> None:
        if self._relay.is_over or sum(map(len, self._back)) > WAITING:
            return
        try:
            pieces = self._frames.seal(self._target if self._stream.is_per_target else source, bytes(payload))
        except BadPacket:  # longer than a frame
            return
        self._back += self._stream.seal(pieces)
        try:
            self._flush_back()
        except OSError:
            self._relay.abort()

    def _flush_back(self) -> None:
        """Raises OSError."""
        down = self._relay.down
        while self._back and not down.blocked:
            try:
                sent = self._relay.client.sendmsg(self._back[:IOV_MAX])
            except BlockingIOError:
                down.blocked = True
                return
            self._back = unsent(self._back, sent)
