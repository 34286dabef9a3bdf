"""One peer: its sessions, its timers, where it is, and the packets that wait for a session.

Every rule about when something is sent is in this file; the names are those of the paper, §6.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from math import inf
from typing import NamedTuple

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.wireguard import timers as times
from tunflow.protocols.wireguard.cookies import CookieJar
from tunflow.protocols.wireguard.handshake import (
    KeyPair,
    Opened,
    PendingInitiation,
    TransportKeys,
    create_initiation,
    create_response,
    read_response_untrusted,
    tai64n,
)
from tunflow.protocols.wireguard.keypairs import Keypairs
from tunflow.protocols.wireguard.messages import INITIATION_SIZE, KEEPALIVE_SIZE, RESPONSE_SIZE, CookieReply
from tunflow.protocols.wireguard.noise import KEY_SIZE
from tunflow.protocols.wireguard.timers import Timers
from tunflow.protocols.wireguard.transport import REJECT_AFTER_MESSAGES, REKEY_AFTER_MESSAGES, Keypair

MAX_STAGED = 128
"""Packets that wait for a session; beyond, the oldest are dropped."""


class EventKind(Enum):
    """What is worth telling of a peer."""

    SESSION = auto()
    """A handshake is complete."""
    NO_ANSWER = auto()
    """An initiation was not answered in REKEY_TIMEOUT; it is repeated."""
    GAVE_UP = auto()
    """Nothing was answered in REKEY_ATTEMPT_TIME; the next packet begins anew."""


class Event(NamedTuple):
    """Something happened to a peer."""

    kind: EventKind
    peer: Peer


class Outgoing(NamedTuple):
    """Datagrams for one place."""

    to: Endpoint
    datagrams: Sequence[Buffer]
    peer: Peer | None
    """None for a cookie reply, which goes to whoever asked."""


@dataclass(slots=True)
class Common:
    """What the peers of one interface share."""

    identity: KeyPair
    mtu: int
    random: Callable[[int], bytes]
    unix_nanoseconds: Callable[[], int]
    outgoing: list[Outgoing] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    pending: dict[int, Peer] = field(default_factory=dict)
    """By our index: who was sent an initiation that is not answered yet."""
    sessions: dict[bytes, tuple[Peer, Keypair]] = field(default_factory=dict)
    """By our index, as it stands in messages."""

    def new_index(self) -> int:
        """An index that nothing has."""
        while True:
            index = int.from_bytes(self.random(4), "little")
            if index not in self.pending and index.to_bytes(4, "little") not in self.sessions:
                return index


class Peer:
    """See the module. Its public methods are the interface's to call."""

    def __init__(
        self, common: Common, public: bytes, preshared: bytes, endpoint: Endpoint | None, persistent_keepalive: int
    ) -> None:
        """`preshared` is empty without one, `persistent_keepalive` in seconds, 0 for none."""
        self.public = public
        self.endpoint = endpoint
        self.persistent_keepalive = persistent_keepalive
        self.bytes_received = self.bytes_sent = 0
        """Of datagrams, as `wg show` counts."""
        self.last_handshake: float | None = None
        """`now` of the last complete handshake."""
        self.timers = Timers()
        self.scheduled = inf
        """For when the interface expects this peer's timers."""
        self._common = common
        self._preshared = preshared or bytes(KEY_SIZE)
        self._jar = CookieJar(public)
        self._keypairs = Keypairs()
        self._staged: deque[Buffer] = deque(maxlen=MAX_STAGED)
        self._pending: PendingInitiation | None = None
        self._last_sent_handshake = -inf
        self._last_timestamp = bytes(12)
        self._last_consumed = -inf
        self._attempts = 0
        self._told_nanoseconds = 0
        self._needs_another_keepalive = False
        self._sent_last_minute_handshake = False

    @property
    def has_preshared(self) -> bool:
        """Return True if there is a pre-shared key."""
        return self._preshared != bytes(KEY_SIZE)

    @property
    def attempts(self) -> int:
        """Initiations that were repeated since one was answered, or since the first."""
        return self._attempts

    # What the interface asks for.

    def start(self, now: float) -> None:
        """The interface is up: say so where a persistent keepalive is wanted."""
        if self.persistent_keepalive:
            self._keep_alive(now)

    def announce(self, now: float) -> None:
        """We are somewhere else now: say so at once, if there is a session or one was wanted."""
        if self._usable(now) is not None or self._pending is not None or self.persistent_keepalive:
            self._last_sent_handshake = -inf
            self._keep_alive(now)

    def send(self, packets: Sequence[Buffer], now: float) -> None:
        """Packets for this peer."""
        keypair = self._usable(now)
        if keypair is None:
            self._staged.extend(packets)
            self.initiate(now)
        else:
            self._transmit(keypair, packets, now)

    def initiate(self, now: float) -> None:
        """Begin a handshake, unless one was begun a moment ago."""
        self._attempts = 0
        self._initiate(now)

    def take_initiation(self, opened: Opened, source: Endpoint, now: float) -> None:
        """Answer an initiation of this peer. Raises BadPacket for a replay, and for too many."""
        if opened.timestamp <= self._last_timestamp:
            raise BadPacket("an initiation that is not newer than the last")
        if now - self._last_consumed <= times.HANDSHAKE_INITIATION_RATE:
            raise BadPacket("initiations too soon after each other")
        index = self._common.new_index()
        message, keys = create_response(opened, self._preshared, self._common.random(KEY_SIZE), index)
        self._last_timestamp, self._last_consumed = opened.timestamp, now
        self.bytes_received += INITIATION_SIZE
        self._heard(source, now)
        self._last_sent_handshake = now
        self._begin(keys, now)
        self._traverse(now)
        self.timers.send_keepalive = inf
        self._emit([self._jar.signed(message, now)], RESPONSE_SIZE)

    def take_response_untrusted(self, data: bytes, source: Endpoint, now: float) -> None:
        """The answer to our initiation. Raises BadPacket."""
        if self._pending is None:
            raise BadPacket("a response that nobody waits for")
        keys = read_response_untrusted(self._common.identity, self._preshared, self._pending, data)
        self._forget_pending()
        self.bytes_received += RESPONSE_SIZE
        self._heard(source, now)
        self._begin(keys, now)
        self._handshake_complete(now)
        self._keep_alive(now)  # shows the responder that we have the keys

    def take_cookie_untrusted(self, reply: CookieReply, now: float) -> None:
        """A cookie for our next message. Raises BadPacket."""
        self._jar.take_untrusted(reply, now)
        self.bytes_received += 64

    def open_all_untrusted(
        self, keypair: Keypair, messages: Sequence[bytes], source: Endpoint, now: float
    ) -> list[bytes]:
        """The packets, padded, of messages under one of this peer's sessions; none for what does not authenticate."""
        if now - keypair.created >= times.REJECT_AFTER_TIME:
            return []
        packets = keypair.open_all_untrusted(messages)
        if not packets:
            return packets
        self.bytes_received += sum(map(len, packets)) + KEEPALIVE_SIZE * len(packets)
        self._heard(source, now)
        dropped = self._keypairs.confirm(keypair)
        if dropped is not None:
            self._drop(dropped)
            self._handshake_complete(now)
            self._send_staged(now)
        self._keep_fresh_receiving(keypair, now)
        if any(packets):
            if self.timers.send_keepalive == inf:
                self.timers.send_keepalive = now + times.KEEPALIVE_TIMEOUT
            else:
                self._needs_another_keepalive = True
        return packets

    def handle_timeout(self, now: float) -> None:
        """Do what fell due."""
        timers = self.timers
        if timers.retransmit_handshake <= now:
            timers.retransmit_handshake = inf
            self._retransmit_handshake(now)
        if timers.send_keepalive <= now:
            timers.send_keepalive = inf
            self._keep_alive(now)
            if self._needs_another_keepalive:
                self._needs_another_keepalive = False
                timers.send_keepalive = now + times.KEEPALIVE_TIMEOUT
        if timers.new_handshake <= now:
            timers.new_handshake = inf
            self.initiate(now)
        if timers.erase_keys <= now:
            timers.erase_keys = inf
            self.erase_keys()
        if timers.persistent_keepalive <= now:
            timers.persistent_keepalive = inf
            self._keep_alive(now)

    def erase_keys(self) -> None:
        """Forget all sessions and the handshake that is under way."""
        self._forget_pending()
        self._drop(self._keypairs.clear())

    def forget(self) -> None:
        """The peer is no more: nothing of it is left in what the interface shares."""
        self.erase_keys()
        self._staged.clear()
        self.timers = Timers()
        self.scheduled = -inf  # whatever time was expected, it is no more

    # Handshakes.

    def _initiate(self, now: float) -> None:
        if self.endpoint is None or now - self._last_sent_handshake < times.REKEY_TIMEOUT:
            return
        if self.timers.retransmit_handshake != inf:  # a packet was faster than the timer of the one before
            self._common.events.append(Event(EventKind.NO_ANSWER, self))
        self._last_sent_handshake = now
        self._forget_pending()
        common = self._common
        index = common.new_index()
        try:
            message, self._pending = create_initiation(
                common.identity, self.public, common.random(KEY_SIZE), self._timestamp(), index
            )
        except BadPacket:
            return  # a configured key that nobody can have: nothing would ever answer
        common.pending[index] = self
        self._traverse(now)
        self.timers.send_keepalive = inf
        self.timers.retransmit_handshake = now + times.REKEY_TIMEOUT + self._jitter()
        self._emit([self._jar.signed(message, now)], INITIATION_SIZE)

    def _timestamp(self) -> bytes:
        """The time, later than the last that was told: a clock that was set back must not lock us out."""
        told = max(self._common.unix_nanoseconds(), self._told_nanoseconds + (1 << 24))
        self._told_nanoseconds = told
        return tai64n(told)

    def _retransmit_handshake(self, now: float) -> None:
        if self._attempts >= times.MAX_TIMER_HANDSHAKES:
            self.timers.send_keepalive = inf
            self._staged.clear()
            if self.timers.erase_keys == inf:
                self.timers.erase_keys = now + times.ERASE_TIME
            self._common.events.append(Event(EventKind.GAVE_UP, self))
            return
        self._attempts += 1
        self._common.events.append(Event(EventKind.NO_ANSWER, self))
        self._initiate(now)

    def _begin(self, keys: TransportKeys, now: float) -> None:
        keypair = Keypair(keys, now)
        self._drop(self._keypairs.add(keypair))
        self._common.sessions[keypair.receiver] = (self, keypair)
        self.timers.erase_keys = now + times.ERASE_TIME

    def _handshake_complete(self, now: float) -> None:
        self.timers.retransmit_handshake = inf
        self._attempts = 0
        self._sent_last_minute_handshake = False
        self.last_handshake = now
        self._common.events.append(Event(EventKind.SESSION, self))

    def _forget_pending(self) -> None:
        if self._pending is not None:
            self._common.pending.pop(self._pending.sender, None)
            self._pending = None

    def _drop(self, keypairs: Sequence[Keypair]) -> None:
        for keypair in keypairs:
            self._common.sessions.pop(keypair.receiver, None)

    # Packets.

    def _usable(self, now: float) -> Keypair | None:
        keypair = self._keypairs.current
        if keypair is None or now - keypair.created >= times.REJECT_AFTER_TIME or keypair.sent >= REJECT_AFTER_MESSAGES:
            return None
        return keypair

    def _transmit(self, keypair: Keypair, packets: Sequence[Buffer], now: float) -> None:
        datagrams = keypair.seal(packets, self._common.mtu)
        timers = self.timers
        timers.send_keepalive = inf
        self._traverse(now)
        if timers.new_handshake == inf and any(packets):
            timers.new_handshake = now + times.NEW_HANDSHAKE_TIMEOUT + self._jitter()
        self._emit(datagrams, sum(map(len, datagrams)))
        is_old = keypair.is_initiator and now - keypair.created >= times.REKEY_AFTER_TIME
        if is_old or keypair.sent > REKEY_AFTER_MESSAGES:
            self.initiate(now)

    def _keep_fresh_receiving(self, keypair: Keypair, now: float) -> None:
        if (
            keypair.is_initiator
            and not self._sent_last_minute_handshake
            and now - keypair.created >= times.REKEY_ON_RECEIVE_TIME
        ):
            self._sent_last_minute_handshake = True
            self.initiate(now)

    def _keep_alive(self, now: float) -> None:
        """Send what waits, or else nothing in a message of its own."""
        if not self._staged:
            self._staged.append(b"")
        self._send_staged(now)

    def _send_staged(self, now: float) -> None:
        packets = list(self._staged)
        self._staged.clear()
        if packets:
            self.send(packets, now)

    def _heard(self, source: Endpoint, now: float) -> None:
        """Something authenticated: the peer is there, and there it is."""
        self.endpoint = source
        self.timers.new_handshake = inf
        self._traverse(now)

    def _traverse(self, now: float) -> None:
        if self.persistent_keepalive:
            self.timers.persistent_keepalive = now + self.persistent_keepalive

    def _emit(self, datagrams: Sequence[Buffer], size: int) -> None:
        if self.endpoint is not None:
            self.bytes_sent += size
            self._common.outgoing.append(Outgoing(self.endpoint, datagrams, self))

    def _jitter(self) -> float:
        return int.from_bytes(self._common.random(2), "little") / 65536 * times.REKEY_TIMEOUT_JITTER
