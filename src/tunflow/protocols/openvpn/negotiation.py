"""One key as both ends agree on it: the channel, both key messages, and the data keys that come of them."""

from __future__ import annotations

from collections.abc import Callable

from tunflow.errors import BadPacket
from tunflow.protocols.openvpn.channel import Channel
from tunflow.protocols.openvpn.key_derivation import EXPORT_LABEL, KEYS_SIZE, KeySource, prf_keys
from tunflow.protocols.openvpn.key_method import KeyMessage, key_message_untrusted


class Negotiation:
    """See the module."""

    def __init__(self, channel: Channel, random_bytes: Callable[[int], bytes], *, server: bool) -> None:
        self.channel = channel
        self.server = server
        self.source = KeySource(b"" if server else random_bytes(48), random_bytes(32), random_bytes(32))
        self.peer: KeyMessage | None = None
        """What the other end said."""
        self.is_said = False
        """True if we said ours."""

    @property
    def is_agreed(self) -> bool:
        """True if both messages were said."""
        return self.is_said and self.peer is not None

    def say(self, message: KeyMessage) -> None:
        """Send our key message."""
        self.is_said = True
        self.channel.say(message.pack())

    def hear_untrusted(self, record: bytes) -> bool:
        """Return True if the record is the peer's key message, which is kept. Raises BadPacket."""
        if self.peer is not None:
            return False
        self.peer = key_message_untrusted(record, from_client=self.server)
        return True

    def keys(self, own_session: bytes, peer_session: bytes, *, exported: bool) -> bytes:
        """256 bytes of data keys. Raises BadPacket before both messages were said."""
        if self.peer is None:
            raise BadPacket("no key message yet")
        if exported:
            return self.channel.tls.export(EXPORT_LABEL, KEYS_SIZE)
        if self.server:
            return prf_keys(self.peer.source, self.source, peer_session, own_session)
        return prf_keys(self.source, self.peer.source, own_session, peer_session)
