"""One key's control channel: TLS over the reliability layer. Both ends have one for each key that they agree on.

Rules: everything that arrives is acknowledged in the round in which TLS took it, so an acknowledged packet was read.
What breaks TLS ends this channel and says why; an earlier key goes on. Read first: openvpn-rfc, "Control channel".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tunflow.errors import BadPacket
from tunflow.protocols.openvpn.packet import Control, Opcode
from tunflow.protocols.openvpn.reliability import ReliableReceiver, ReliableSender
from tunflow.protocols.openvpn.tls import TLSSession

if TYPE_CHECKING:
    from OpenSSL import SSL

LARGEST_PAYLOAD = 1100
"""TLS bytes in one packet: with every protection less than 1,250 bytes, OpenVPN's `tls-mtu`."""
LARGEST_RECORDS = 64
"""Records that wait to be looked at; a peer that sends more without being asked is cut off."""


class Channel:
    """See the module. `send(opcode, key_id, control)` protects a packet and puts it on the wire.

    `first_size` is how many TLS bytes the first packet may have, where something else must fit into it too.
    """

    def __init__(
        self,
        context: SSL.Context,
        key_id: int,
        first: Opcode,
        now: float,
        send: Callable[[Opcode, int, Control], None],
        *,
        server: bool,
        resend: float,
        first_size: int = LARGEST_PAYLOAD,
    ) -> None:
        self.key_id = key_id
        self.started = now
        self.tls = TLSSession(context, server=server)
        self.peer_session = b""
        self.failure = ""
        """Why it is over; "" while it is not."""
        self.first_payload = b""
        """What the peer's reset carried."""
        self._server = server
        self._send = send
        self._sender = ReliableSender(resend)
        self._receiver = ReliableReceiver()
        self._reset_heard = False
        self._size = first_size
        self._sender.push(first, b"")

    @property
    def is_idle(self) -> bool:
        """True if the peer has everything that we said."""
        return self._sender.is_idle

    def receive_untrusted(self, opcode: Opcode, control: Control) -> list[bytes]:
        """Take a packet; the records of plaintext that are complete now. Raises BadPacket for one that cannot be."""
        self._sender.acknowledge_untrusted(control.acks)
        records: list[bytes] = []
        if control.packet_id is None:
            return records
        for kind, payload in self._receiver.receive_untrusted(control.packet_id, opcode, control.payload):
            if kind in {Opcode.CONTROL, Opcode.CONTROL_WKC}:
                records += self._feed_untrusted(payload)
            elif not self._reset_heard:
                self._reset_heard = True
                self.first_payload = payload
                if not self._server:
                    records += self._feed_untrusted(b"")  # TLS begins
        if len(records) > LARGEST_RECORDS:
            self.failure = "the peer sends more than it was asked for"
        return records

    def say(self, record: bytes) -> None:
        """Send a record of plaintext; TLS must be established."""
        try:
            self.tls.write(record)
        except BadPacket as error:
            self.failure = str(error)
        self._queue()

    def flush(self, now: float, wrapped_key: bytes = b"") -> None:
        """Put on the wire what is due. `wrapped_key` is what a tls-crypt-v2 client's first TLS packet must repeat."""
        for each in self._sender.take_due(now):
            opcode, payload = each.opcode, each.payload
            if wrapped_key and each.packet_id == 1 and opcode is Opcode.CONTROL:
                opcode = Opcode.CONTROL_WKC
            acks = self._receiver.take_acks(4) if self.peer_session else []
            self._send(opcode, self.key_id, Control(acks, self.peer_session, each.packet_id, payload))
        while self.peer_session and self._receiver.owes_acks:
            acks = self._receiver.take_acks()
            self._send(Opcode.ACK, self.key_id, Control(acks, self.peer_session, None, b""))

    def next_timeout(self) -> float | None:
        """When something has to be repeated."""
        return self._sender.next_timeout()

    def _feed_untrusted(self, data: bytes) -> list[bytes]:
        if self.failure:
            return []
        try:
            records = self.tls.feed_untrusted(data)
        except BadPacket as error:
            self.failure = str(error)
            records = []
        self._queue()
        return records

    def _queue(self) -> None:
        """Cut what TLS wants sent into packets."""
        data = self.tls.take_output()
        while data:
            self._sender.push(Opcode.CONTROL, data[: self._size])
            data = data[self._size :]
            self._size = LARGEST_PAYLOAD
