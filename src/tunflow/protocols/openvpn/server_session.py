"""The server's end of one client's connection, without I/O. `server` holds many of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, NamedTuple

from tunflow.contained import Contained
from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.protocols.openvpn.agreements import Agreements
from tunflow.protocols.openvpn.control_message import messages_untrusted
from tunflow.protocols.openvpn.control_packets import ControlPackets
from tunflow.protocols.openvpn.data_channel import DataChannel, make_key
from tunflow.protocols.openvpn.data_key import is_aead
from tunflow.protocols.openvpn.key_method import Abilities, KeyMessage, abilities_of, ciphers_of
from tunflow.protocols.openvpn.negotiation import Negotiation
from tunflow.protocols.openvpn.packet import EXIT_NOTIFY, IP_BEGINS, PING, Control, Head, Opcode
from tunflow.protocols.openvpn.settings import OpenVPNSettings
from tunflow.protocols.openvpn.tunnel_options import TunnelOptions

if TYPE_CHECKING:
    from OpenSSL import SSL

LINGER = 5.0
"""Seconds that a refused client has to read why."""


class Lease(NamedTuple):
    """What a client is given."""

    peer_id: int
    address: IPv4Address
    prefix: int
    gateway: IPv4Address


class Caller(NamedTuple):
    """Who asks to be let in: the certificate's common name ("" without one), and what was typed."""

    name: str
    username: str
    password: str


Admit = Callable[[Caller], Lease | None]
"""Decides about a client; None refuses it."""


class ServerSession(Contained):
    """See the module. The caller hands over packets that came from this client's address, or under its peer id."""

    def __init__(
        self,
        settings: OpenVPNSettings,
        context: SSL.Context,
        packets: ControlPackets,
        admit: Admit,
        now: float,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.lease: Lease | None = None
        self.name = ""
        self.is_over = False
        self.is_connected = False
        self._settings = settings
        self._packets = packets
        self._admit = admit
        self._random_bytes = random_bytes
        self._agreements = Agreements(
            context, packets, random_bytes, server=True, resend=settings.resend, hand_window=settings.hand_window
        )
        self._options = replace(settings.tunnel, topology="subnet")
        self._data = DataChannel()
        self._abilities = Abilities(0)
        self._heard = self._sent = now
        self._over_at: float | None = None
        self._caller: Caller | None = None
        self._agreements.begin(0, Opcode.RESET_SERVER, now)

    about = "an OpenVPN client"

    def cut(self) -> None:
        """The client is gone; its server sees it when it looks next."""
        self.is_over = True

    @property
    def peer_session(self) -> bytes:
        """The session id that the client chose."""
        return self._packets.peer_session

    def control_untrusted(self, head: Head, control: Control, now: float) -> None:
        """Take a control packet. Raises BadPacket."""
        negotiation, records = self._agreements.receive_untrusted(head, control, now)
        self._heard = now
        if negotiation.channel.failure:
            self.is_over = True
        for record in records:
            if self.is_over or self._over_at is not None:
                break
            if negotiation.hear_untrusted(record):
                self._agreed(negotiation, now)
            elif negotiation is self._agreements.active:
                for message in messages_untrusted(record):
                    self._message(message, now)
        self._agreements.flush(now)

    def open_all_untrusted(self, packets: Sequence[bytes], now: float) -> tuple[list[bytes], int]:
        """The IP packets in data packets that begin alike, and how many of those were this client's."""
        payloads = self._data.open_all_untrusted(packets)
        if payloads:
            self._heard = now
        inner = [payload for payload in payloads if payload and payload[0] in IP_BEGINS]
        if len(inner) < len(payloads) and EXIT_NOTIFY in payloads:
            self.is_over = True
        return inner, len(payloads)

    def seal(self, packets: Sequence[Buffer], now: float) -> list[bytes]:
        """IP packets as datagrams for this client; none before it is connected."""
        if not self.is_connected:
            return []
        self._sent = now
        return self._data.seal(packets, now)

    def take_output(self) -> list[bytes]:
        """Datagrams for this client."""
        return self._packets.take_output()

    def say(self, message: str, now: float) -> None:
        """Tell the client something on the control channel."""
        if self._agreements.active is not None and not self.is_over:
            self._agreements.active.channel.say(message.encode() + b"\0")
            self._agreements.flush(now)

    def next_timeout(self) -> float | None:
        """See `machine.Timed`."""
        if self.is_over:
            return None
        due = [self._agreements.next_timeout(), self._data.next_timeout(), self._over_at, self._rekey_at()]
        if self.is_connected:
            due += [start + pause for start, pause in self._silences() if pause]
        elif self._over_at is None:
            due.append(self._heard + self._settings.hand_window)
        return min((when for when in due if when is not None), default=None)

    def handle_timeout(self, now: float) -> None:
        """See `machine.Timed`."""
        late = self._agreements.pending is not None and now >= self._agreements.deadline
        mute = not self.is_connected and now >= self._heard + self._settings.hand_window
        if late or mute or (self._over_at is not None and now >= self._over_at):
            self.is_over = True
        if self.is_connected:
            (sent, ping), (heard, restart) = self._silences()
            if restart and now >= heard + restart:
                self.is_over = True
            elif ping and now >= sent + ping:
                self._sent = now
                self._packets.output += self._data.seal([PING], now)
        if self.is_over:
            return
        self._data.expire(now)
        rekey_at = self._rekey_at()
        if rekey_at is not None and now >= rekey_at:
            self._agreements.renegotiate(now)
        self._agreements.flush(now)

    def _silences(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """When we spoke last and how long we may not, and the same of the client, with twice our own patience."""
        return (self._sent, self._options.ping), (self._heard, 2 * self._options.ping_restart)

    def _rekey_at(self) -> float | None:
        return self._agreements.rekey_at(self._settings.reneg, self._data.is_worn) if self.is_connected else None

    # Keys and settings.

    def _agreed(self, negotiation: Negotiation, now: float) -> None:
        """The client's key message is here: say ours, and let it in or not."""
        peer = negotiation.peer
        assert peer is not None
        caller = Caller(negotiation.channel.tls.peer_name, peer.username, peer.password)
        options = "V4,dev-type tun,link-mtu 1549,tun-mtu 1500,proto UDPv4,key-method 2,tls-server"
        negotiation.say(KeyMessage(negotiation.source, options))
        self._agreements.agreed(negotiation)
        if self._caller is not None:
            if caller != self._caller:
                self._refuse("another user than before", now)
            else:
                self._install(negotiation, now)
            return
        self._caller, self.name = caller, caller.name or caller.username
        self._abilities = abilities_of(peer.peer_info)
        shared = [name for name in self._settings.ciphers if name in ciphers_of(peer.peer_info)]
        if not shared:
            self._refuse("Data channel cipher negotiation failed (no shared cipher)", now)
            return
        self._options = replace(self._options, cipher=shared[0])
        self.lease = self._admit(caller)
        if self.lease is None:
            self._refuse("", now)
        elif self._abilities & Abilities.REQUEST_PUSH:
            self._push(now)

    def _message(self, message: str, now: float) -> None:
        if message == "PUSH_REQUEST" and self.lease is not None:
            self._push(now)
        elif message == "EXIT":
            self.is_over = True

    def _refuse(self, reason: str, now: float) -> None:
        self.say(f"AUTH_FAILED,{reason}" if reason else "AUTH_FAILED", now)
        self._over_at = now + LINGER

    def _push(self, now: float) -> None:
        lease, negotiation = self.lease, self._agreements.active
        assert lease is not None
        assert negotiation is not None
        abilities, epochs = self._abilities, False
        exported = bool(abilities & Abilities.TLS_EXPORT)
        flags = []
        if abilities & Abilities.CONTROL_EXIT:
            epochs = bool(abilities & Abilities.EPOCH_DATA) and exported and is_aead(self._options.cipher)
            flags = ["cc-exit"] + ["tls-ekm"] * exported + ["aead-epoch"] * epochs
            flags += ["dyn-tls-crypt"] * bool(abilities & Abilities.DYNAMIC_TLS_CRYPT)
        for text in self._reply(lease, flags, exported):
            self.say(text, now)
        if self.is_connected:
            return
        self._options = replace(
            self._options, peer_id=lease.peer_id, exported_keys=exported, epochs=epochs, control_exit=bool(flags),
            dynamic_tls_crypt="dyn-tls-crypt" in flags,
        )  # fmt: skip
        self._install(negotiation, now)
        self.is_connected = True
        self._heard = self._sent = now
        if self._options.dynamic_tls_crypt:
            self._packets.renew(negotiation.channel.tls, server=True)

    def _reply(self, lease: Lease, flags: Sequence[str], exported: bool) -> list[str]:
        """The push reply, in as many messages as it takes."""
        options: TunnelOptions = self._options
        mask = IPv4Address(0xFFFFFFFF << 32 - lease.prefix & 0xFFFFFFFF)
        texts = [f"peer-id {lease.peer_id}", f"cipher {options.cipher}", "topology subnet"]
        texts += [f"ifconfig {lease.address} {mask}", f"route-gateway {lease.gateway}"]
        texts += [f"ping {options.ping:.0f}"] * bool(options.ping)
        texts += [f"ping-restart {options.ping_restart:.0f}"] * bool(options.ping_restart)
        texts += [f"tun-mtu {options.mtu}"] * bool(options.mtu)
        if flags:
            texts.append(f"protocol-flags {' '.join(flags)}")
        elif exported:
            texts.append("key-derivation tls-ekm")
        texts += self._settings.server.pushed if self._settings.server else ()
        rows, row = [], "PUSH_REPLY"
        for text in texts:
            if len(row) + len(text) > LARGEST_MESSAGE:
                rows.append(row)
                row = "PUSH_REPLY"
            row += f",{text}"
        rows.append(row)
        if len(rows) == 1:
            return rows
        return [f"{each},push-continuation {1 if each is rows[-1] else 2}" for each in rows]

    def _install(self, negotiation: Negotiation, now: float) -> None:
        packets, settings = self._packets, self._settings
        keys = negotiation.keys(packets.session, packets.peer_session, exported=self._options.exported_keys)
        key_id = negotiation.channel.key_id
        key = make_key(keys, self._options, settings.digest, key_id, self._random_bytes, server=True)
        patience = min(settings.hand_window, settings.reneg / 2 or settings.hand_window)
        self._data.install(key_id, key, now, patience=patience, overlap=settings.tran_window)


LARGEST_MESSAGE = 900
"""Bytes of a push reply's message: OpenVPN's own bundles have 1,024 with their end."""


def accept_untrusted(packets: ControlPackets, head: Head, packet: bytes) -> Control:
    """What is in a client's first packet, which makes it the peer. Raises BadPacket."""
    if head.opcode not in {Opcode.RESET_CLIENT, Opcode.RESET_CLIENT_V3} or head.key_id:
        raise BadPacket("a first packet that is no client's reset")
    _, control = packets.open_untrusted(packet)
    if control.packet_id != 0 or control.acks:
        raise BadPacket("a reset that is not the first packet of its session")
    packets.peer_session = head.session
    return control
