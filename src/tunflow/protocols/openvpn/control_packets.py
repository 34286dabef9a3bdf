"""Control packets of one peer: which protection each has, in and out."""

from __future__ import annotations

from tunflow.errors import BadPacket
from tunflow.protocols.openvpn.key_derivation import DYNAMIC_LABEL, KEYS_SIZE
from tunflow.protocols.openvpn.packet import CONTROLS, Control, Head, Opcode, control_untrusted, head_untrusted
from tunflow.protocols.openvpn.static_key import StaticKey
from tunflow.protocols.openvpn.tls import TLSSession
from tunflow.protocols.openvpn.wrapping import (
    CLIENT_TO_SERVER,
    EARLY_NEGOTIATION,
    SERVER_TO_CLIENT,
    TLSAuth,
    TLSCrypt,
    Wrapping,
)

MOST_OUTPUT = 512
"""Packets that wait to be taken; a caller that takes none loses more, as on a wire."""


class ControlPackets:
    """Wraps and unwraps; `output` is what is to be sent."""

    def __init__(self, session: bytes, wrapping: Wrapping, original: StaticKey | None, unix_offset: float) -> None:
        """`session` is our own session id, `unix_offset` is Unix time less the machine's time."""
        self.session = session
        self.peer_session = b""
        self.output: list[bytes] = []
        self.now = 0.0
        self.client_key = b""
        """A tls-crypt-v2 client's wrapped key, which goes along with its first packet."""
        self._wrapping = wrapping
        self._renewed: Wrapping | None = None
        self._original = original
        self._unix_offset = unix_offset

    def send(self, opcode: Opcode, key_id: int, control: Control) -> None:
        """Protect a packet and have it sent."""
        wrapping = self._wrapping if key_id == 0 or self._renewed is None else self._renewed
        unix_time = int(self.now + self._unix_offset) & 0xFFFFFFFF
        packet = wrapping.wrap(Head(opcode, key_id, self.session), control.pack(), unix_time)
        if opcode in {Opcode.RESET_CLIENT_V3, Opcode.CONTROL_WKC}:
            packet += self.client_key
        if len(self.output) < MOST_OUTPUT:
            self.output.append(packet)

    def take_output(self) -> list[bytes]:
        """What is to be sent."""
        taken, self.output = self.output, []
        return taken

    def open_untrusted(self, packet: bytes) -> tuple[Head, Control]:
        """A packet of the peer's. Raises BadPacket."""
        head = head_untrusted(packet)
        if self.peer_session and head.session != self.peer_session:
            raise BadPacket("a control packet of another session")
        wrapping = self._wrapping if head.key_id == 0 or self._renewed is None else self._renewed
        control = control_untrusted(head.opcode, wrapping.unwrap_untrusted(packet))
        if control.acks and control.peer_session != self.session:
            raise BadPacket("an acknowledgement for another session")
        return head, control

    def renew(self, tls: TLSSession, *, server: bool) -> None:
        """Protect renegotiations under a key out of this TLS session, mixed with the key of before."""
        key = tls.export(DYNAMIC_LABEL, KEYS_SIZE)
        if self._original is not None:
            mixed = int.from_bytes(key, "big") ^ int.from_bytes(self._original.data, "big")
            key = mixed.to_bytes(KEYS_SIZE, "big")
        self._renewed = crypt(StaticKey(key), server=server)


def auth(key: StaticKey, digest: str, direction: int | None) -> TLSAuth:
    """tls-auth for an end with this key-direction; None: both ends use the same half."""
    if direction is None:
        return TLSAuth(key, digest, 0, 0)
    return TLSAuth(key, digest, direction, 1 - direction)


def crypt(key: StaticKey, *, server: bool, early: bool = False) -> TLSCrypt:
    """tls-crypt for an end. `early` says that it can repeat its wrapped key."""
    first_id = EARLY_NEGOTIATION + 1 if early else 1
    if server:
        return TLSCrypt(key, SERVER_TO_CLIENT, CLIENT_TO_SERVER, first_id)
    return TLSCrypt(key, CLIENT_TO_SERVER, SERVER_TO_CLIENT, first_id)


def is_control(packet: bytes) -> bool:
    """Return True if the first byte says that it is a control packet."""
    return bool(packet) and packet[0] >> 3 in CONTROLS
