"""The client's end of one OpenVPN connection, without I/O.

    machine = OpenVPNClient(settings, remote, now, unix_offset=…, random_bytes=…)
    send(machine.take_output())
    packets = machine.receive_untrusted(datagrams, now)     # IP packets for the tunnel; then take_output, take_events
    send(machine.seal(packets, now))

Rules: a datagram that is not the peer's, was seen or is broken is counted in `dropped` and changes nothing. What ends
the connection is an `Ended` event, after which the machine does nothing; the next attempt is a new machine.
Read first: openvpn-rfc.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket, LocalError
from tunflow.protocols.openvpn.agreements import Agreements
from tunflow.protocols.openvpn.channel import LARGEST_PAYLOAD
from tunflow.protocols.openvpn.client_identity import client_peer_info, occ_options, wrapping_of
from tunflow.protocols.openvpn.client_messages import ServerMessages
from tunflow.protocols.openvpn.control_message import Challenge, pending_answer
from tunflow.protocols.openvpn.control_packets import ControlPackets, is_control
from tunflow.protocols.openvpn.data_channel import DataChannel, choose_cipher, make_key
from tunflow.protocols.openvpn.events import Connected, Ended, Event, Updated
from tunflow.protocols.openvpn.key_method import KeyMessage
from tunflow.protocols.openvpn.negotiation import Negotiation
from tunflow.protocols.openvpn.packet import EXIT_NOTIFY, IP_BEGINS, OCC_MAGIC, PING, Head, Opcode
from tunflow.protocols.openvpn.settings import OpenVPNSettings, Remote
from tunflow.protocols.openvpn.tls import make_context

PUSH_REQUEST_AFTER = 1.0
PUSH_REQUEST_EVERY = 5.0
"""Seconds: a server of today pushes unasked, one of before wants to be asked again and again."""
DEFAULT_PING_RESTART = 120.0
"""Seconds of silence after which a connection is over when the server says nothing else (openvpn(8), ping-restart)."""
ANSWER_TIMEOUT = 20.0
"""Seconds until the server's first packet."""
_FIRST_BYTE = itemgetter(slice(1))
RESEND_WKC = bytes.fromhex("000100020001")
"""A server's wish, in its reset, that a tls-crypt-v2 client repeats its key."""


class OpenVPNClient:
    """See the module. All times are `now` in seconds of one scale; `unix_offset` makes Unix time of them."""

    def __init__(
        self,
        settings: OpenVPNSettings,
        remote: Remote,
        now: float,
        *,
        unix_offset: float,
        random_bytes: Callable[[int], bytes],
        patience: float = ANSWER_TIMEOUT,
    ) -> None:
        """Begins to connect; `patience` is how long it waits for the server's first packet, if the settings do not say.

        Raises LocalError for certificates and keys that cannot be used.
        """
        self.settings = settings
        self.remote = remote
        self.options = settings.tunnel
        self.dropped = 0
        """Datagrams that were nothing."""
        self.is_over = False
        self._random_bytes = random_bytes
        wrapping, original = wrapping_of(settings)
        self._packets = ControlPackets(random_bytes(8), wrapping, original, unix_offset)
        context = make_context(settings.identity, settings.demands, now + unix_offset, server=False)
        self._messages = ServerMessages(settings)
        self._data = DataChannel()
        self._events: list[Event] = []
        self._heard = self._sent = self._used = now
        self._answered = self._connected = False
        self._push_due: float | None = None
        self._wrapped_key = b""
        self._agreements = Agreements(
            context, self._packets, random_bytes,
            server=False, resend=settings.resend, hand_window=settings.hand_window,
        )  # fmt: skip
        opcode = Opcode.RESET_CLIENT
        if settings.tls_crypt_v2 is not None:
            opcode = Opcode.RESET_CLIENT_V3
            self._packets.client_key = settings.tls_crypt_v2.wrapped
        self._agreements.begin(0, opcode, now, max(LARGEST_PAYLOAD - len(self._packets.client_key), 64))
        self._deadline = now + (settings.connect_timeout or patience)
        self._flush(now)

    # What the caller does.

    def receive_untrusted(self, datagrams: Sequence[bytes], now: float) -> list[bytes]:
        """Take what arrived; the IP packets in it."""
        packets: list[bytes] = []
        controlled = False
        for _, run in groupby(datagrams, _FIRST_BYTE):
            alike = list(run)
            if not is_control(alike[0]):
                opened = self._data.open_all_untrusted(alike)
                self.dropped += len(alike) - len(opened)
                packets += opened
                continue
            controlled = True
            for datagram in alike:
                try:
                    self._control_untrusted(datagram, now)
                except BadPacket:
                    self.dropped += 1
        if self.is_over:
            return []
        if packets:
            self._heard = now
            packets = [packet for packet in packets if (packet and packet[0] in IP_BEGINS) or not self._is_own(packet)]
            if packets:
                self._used = now
        if controlled:
            self._flush(now)
        return packets

    def seal(self, packets: Sequence[Buffer], now: float) -> list[bytes]:
        """IP packets as datagrams for the server; none before it is connected."""
        if not self._connected or self.is_over:
            return []
        self._sent = self._used = now
        return self._data.seal(packets, now)

    @property
    def has_news(self) -> bool:
        """True if there is output, or an event."""
        return bool(self._events or self._packets.output)

    def take_output(self) -> list[bytes]:
        """Datagrams for the server."""
        return self._packets.take_output()

    def take_events(self) -> list[Event]:
        """What happened."""
        taken, self._events = self._events, []
        return taken

    def answer(self, text: str, now: float) -> None:
        """What the user answers to an `Asked`."""
        if self._agreements.active is not None and not self.is_over:
            self._agreements.active.channel.say(pending_answer(text).encode() + b"\0")
            self._flush(now)

    def reconnect_notice(self, now: float) -> None:
        """Our address has changed: let the server hear of it at once."""
        self._ping(now)

    def close(self, now: float) -> None:
        """Say goodbye, if the server cares."""
        if self.is_over:
            return
        if self._agreements.active is not None and self.options.control_exit:
            self._agreements.active.channel.say(b"EXIT\0")
            self._flush(now)
        elif self.options.exit_notify and self.remote.transport == "udp":
            self._packets.output += self._data.seal([EXIT_NOTIFY], now)
        self.is_over = True

    def next_timeout(self) -> float | None:
        """See `machine.Timed`."""
        if self.is_over:
            return None
        due = [self._agreements.next_timeout(), self._push_due, self._data.next_timeout(), self._rekey_at()]
        if not self._connected:
            due.append(self._deadline)
        else:
            due += [start + pause for start, pause in self._silences() if pause]
        return min((when for when in due if when is not None), default=None)

    def handle_timeout(self, now: float) -> None:
        """See `machine.Timed`."""
        if self.is_over:
            return
        if self._connected:
            self._mind_silence(now)
        late = self._agreements.pending is not None and now >= self._agreements.deadline
        if late or (not self._connected and now >= self._deadline):
            self._end(self._lateness(), fatal=False)
        if self.is_over:
            return
        active = self._agreements.active
        if self._push_due is not None and now >= self._push_due and active is not None:
            self._push_due = now + PUSH_REQUEST_EVERY
            active.channel.say(b"PUSH_REQUEST\0")
        self._data.expire(now)
        rekey_at = self._rekey_at()
        if rekey_at is not None and now >= rekey_at:
            self._agreements.renegotiate(now)
        self._flush(now)

    # Control packets.

    def _control_untrusted(self, packet: bytes, now: float) -> None:
        self._packets.now = now
        head, control = self._packets.open_untrusted(packet)
        if self.is_over:
            return
        self._meet_untrusted(head, now)
        negotiation, records = self._agreements.receive_untrusted(head, control, now)
        channel = negotiation.channel
        self._heard = now
        if channel.first_payload.startswith(RESEND_WKC):
            self._wrapped_key = self._packets.client_key
        if channel.failure:
            self._end(channel.failure, fatal=self._is_ours(channel.failure))
            return
        if channel.tls.is_established and not negotiation.is_said:
            negotiation.say(self._key_message(negotiation))
        for record in records:
            self._record_untrusted(negotiation, record, now)

    def _meet_untrusted(self, head: Head, now: float) -> None:
        """Learn the server's session from its reset. Raises BadPacket for anything before it."""
        if self._packets.peer_session:
            return
        if head.opcode is not Opcode.RESET_SERVER:
            raise BadPacket("a control packet before the server's reset")
        self._packets.peer_session = head.session
        self._answered = True
        self._deadline = self._agreements.deadline = now + self.settings.hand_window

    def _record_untrusted(self, negotiation: Negotiation, record: bytes, now: float) -> None:
        try:
            if negotiation.hear_untrusted(record):
                self._agreed(negotiation, now)
                return
            if negotiation is not self._agreements.active:
                return
            for event in self._messages.take_untrusted(record, self._connected):
                self._happen(event, now)
        except BadPacket as error:
            self._end(f"the server's message makes no sense: {error}", fatal=False)

    def _agreed(self, negotiation: Negotiation, now: float) -> None:
        """The key messages were said: what is missing for the first key is the server's push."""
        self._agreements.agreed(negotiation)
        if self._connected:
            self._install(negotiation, now)
            return
        self._deadline = now + self.settings.hand_window
        if self.settings.pull:
            self._push_due = now + PUSH_REQUEST_AFTER
        else:
            self._happen(Connected(self.options, ""), now)

    def _happen(self, event: Event | float, now: float) -> None:
        """Do what a message of the server's makes happen."""
        if isinstance(event, float):
            self._deadline = now + event
        elif isinstance(event, Connected):
            self.options = event.options
            self._push_due = None
            self._connect(now)
        elif isinstance(event, Ended):
            self._events.append(event)
            self.is_over = True
        else:
            if isinstance(event, Updated):
                self.options = event.options
            self._events.append(event)

    def _connect(self, now: float) -> None:
        """The push is here: make the first data key."""
        negotiation = self._agreements.active
        assert negotiation is not None
        assert negotiation.peer is not None
        settings = self.settings
        try:
            cipher = choose_cipher(self.options, settings.ciphers, settings.fallback, negotiation.peer.options)
            self.options = self._messages.with_defaults(self.options, cipher, DEFAULT_PING_RESTART)
            self._install(negotiation, now)
        except LocalError as error:
            self._end(str(error), fatal=True)
            return
        self._messages.options = self.options
        self._connected = True
        self._heard = self._sent = self._used = now
        if self.options.dynamic_tls_crypt:
            self._packets.renew(negotiation.channel.tls, server=False)
        self._events.append(Connected(self.options, f"{negotiation.channel.tls.description}, data {cipher}"))

    def _install(self, negotiation: Negotiation, now: float) -> None:
        """Use the data keys of a negotiation."""
        packets, options, settings = self._packets, self.options, self.settings
        keys = negotiation.keys(packets.session, packets.peer_session, exported=options.exported_keys)
        key_id = negotiation.channel.key_id
        key = make_key(keys, options, settings.digest, key_id, self._random_bytes, server=False)
        patience = min(settings.hand_window, settings.reneg / 2 or settings.hand_window)
        self._data.install(key_id, key, now, patience=patience, overlap=settings.tran_window)

    def _rekey_at(self) -> float | None:
        """When a new key is due; None while there is none, or one is under way."""
        return self._agreements.rekey_at(self.settings.reneg, self._data.is_worn) if self._connected else None

    def _key_message(self, negotiation: Negotiation) -> KeyMessage:
        username, password = self._messages.credentials()
        return KeyMessage(
            negotiation.source,
            occ_options(self.settings, self.remote),
            username,
            password,
            client_peer_info(self.settings),
        )

    # Time.

    @property
    def heard_at(self) -> float:
        """When something last came that could only be the server's, once connected."""
        return self._heard

    def _silences(self) -> list[tuple[float, float]]:
        options = self.options
        return [
            (self._sent, options.ping), (self._heard, options.ping_restart), (self._heard, options.ping_exit),
            (self._used, options.inactive),
        ]  # fmt: skip

    def _mind_silence(self, now: float) -> None:
        options = self.options
        if options.ping_exit and now >= self._heard + options.ping_exit:
            self._end(f"nothing was heard for {options.ping_exit:.0f} s (ping-exit)", fatal=True)
        elif options.ping_restart and now >= self._heard + options.ping_restart:
            self._end(f"nothing was heard for {options.ping_restart:.0f} s (ping-restart)", fatal=False)
        elif options.inactive and now >= self._used + options.inactive:
            self._end(f"nothing was carried for {options.inactive:.0f} s (inactive)", fatal=True)
        elif options.ping and now >= self._sent + options.ping:
            self._ping(now)

    def _ping(self, now: float) -> None:
        if self._connected and not self.is_over:
            self._sent = now
            self._packets.output += self._data.seal([PING], now)

    def _lateness(self) -> str:
        """Why a deadline that passed was not met."""
        if not self._answered:
            return f"no answer from {self.remote}: port, firewall or tls-crypt key"
        if self._agreements.active is None:
            return f"{self.remote} answered, and the TLS handshake did not come to its end"
        if not self._connected:
            return f"{self.remote} pushed no settings"
        return "a new key was not agreed on in time"

    # Small things.

    def _flush(self, now: float) -> None:
        """Put on the wire what is due."""
        self._agreements.flush(now, self._wrapped_key)

    def _end(self, reason: str, *, fatal: bool, challenge: Challenge | None = None) -> None:
        if not self.is_over:
            self.is_over = True
            self._events.append(Ended(reason, fatal, challenge))

    def _is_own(self, payload: bytes) -> bool:
        """Return True if a payload is OpenVPN's own and no IP packet."""
        if payload == PING:
            return True
        if not payload.startswith(OCC_MAGIC):
            return not payload or payload[0] >> 4 not in {4, 6}
        if payload == EXIT_NOTIFY:
            self._end("the server says that it goes", fatal=False)
        return True

    @staticmethod
    def _is_ours(failure: str) -> bool:
        """Return True if trying again cannot help: a certificate was refused."""
        return "certificate" in failure and "refused" in failure
