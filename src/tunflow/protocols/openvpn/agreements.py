"""The keys that one connection agrees on, one after the other: which is in use, which is being agreed on.

Either end may begin the next one with a soft reset; when both do at once it is the same key. Key ids go 0, then 1 to 7
round and round. Read first: openvpn-rfc, "Renegotiation".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tunflow.errors import BadPacket
from tunflow.protocols.openvpn.channel import LARGEST_PAYLOAD, Channel
from tunflow.protocols.openvpn.control_packets import ControlPackets
from tunflow.protocols.openvpn.negotiation import Negotiation
from tunflow.protocols.openvpn.packet import Control, Head, Opcode

if TYPE_CHECKING:
    from OpenSSL import SSL


class Agreements:
    """See the module. Times are the machine's."""

    def __init__(
        self,
        context: SSL.Context,
        packets: ControlPackets,
        random_bytes: Callable[[int], bytes],
        *,
        server: bool,
        resend: float,
        hand_window: float,
    ) -> None:
        self._context = context
        self._packets = packets
        self._random_bytes = random_bytes
        self._server = server
        self._resend = resend
        self._hand_window = hand_window
        self._all: dict[int, Negotiation] = {}
        self.active: Negotiation | None = None
        """The newest key that was agreed on."""
        self.pending: Negotiation | None = None
        self.deadline = 0.0
        """When the pending one must be agreed on."""

    def begin(self, key_id: int, opcode: Opcode, now: float, first_size: int = LARGEST_PAYLOAD) -> Negotiation:
        """Start to agree on a key; `first_size` as in `Channel`."""
        channel = Channel(
            self._context, key_id, opcode, now, self._packets.send,
            server=self._server, resend=self._resend, first_size=first_size,
        )  # fmt: skip
        self.deadline = now + self._hand_window
        self.pending = Negotiation(channel, self._random_bytes, server=self._server)
        kept = {} if self.active is None else {self.active.channel.key_id: self.active}
        self._all = {**kept, key_id: self.pending}
        return self.pending

    def renegotiate(self, now: float) -> None:
        """Start to agree on the next key."""
        assert self.active is not None
        self.begin(self.active.channel.key_id % 7 + 1, Opcode.SOFT_RESET, now)

    def agreed(self, negotiation: Negotiation) -> None:
        """This one is the key now; the one before repeats what the peer may have missed, and reads no more."""
        if self.active is not None:
            self.active.channel.tls.release()
        self.active, self.pending = negotiation, None

    def receive_untrusted(self, head: Head, control: Control, now: float) -> tuple[Negotiation, list[bytes]]:
        """The negotiation that a packet is about, and the records that it completes. Raises BadPacket."""
        negotiation = self._all.get(head.key_id)
        if head.opcode is Opcode.SOFT_RESET and (negotiation is None or self._is_next(head.key_id)):
            if not self._is_next(head.key_id):
                raise BadPacket("a soft reset for a key that is not next")
            negotiation = self.begin(head.key_id, Opcode.SOFT_RESET, now)
        if negotiation is None:
            raise BadPacket(f"a control packet under key {head.key_id}, which is not there")
        channel = negotiation.channel
        channel.peer_session = self._packets.peer_session
        return negotiation, channel.receive_untrusted(head.opcode, control)

    def rekey_at(self, lifetime: float, is_worn: bool) -> float | None:
        """When the next key is due: `lifetime` seconds after the last began (0: never); None while one is pending."""
        if self.pending is not None or self.active is None:
            return None
        if is_worn:
            return self.active.channel.started
        return self.active.channel.started + lifetime if lifetime else None

    def flush(self, now: float, wrapped_key: bytes = b"") -> None:
        """Put on the wire what is due."""
        self._packets.now = now
        for negotiation in self._all.values():
            negotiation.channel.flush(now, wrapped_key)

    def next_timeout(self) -> float | None:
        """When something has to be repeated, or the pending one is late."""
        due = [when for each in self._all.values() if (when := each.channel.next_timeout()) is not None]
        if self.pending is not None:
            due.append(self.deadline)
        return min(due, default=None)

    def _is_next(self, key_id: int) -> bool:
        """Return True if a soft reset may begin this key: none is being agreed on, and it follows the last one."""
        return self.pending is None and self.active is not None and key_id == self.active.channel.key_id % 7 + 1
