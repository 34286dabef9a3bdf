"""The first third of a connection: what it is made of, and how segments leave.

`lifecycle` adds how a connection begins, waits and ends, `connection` what arrives and what the owner does; the rules
stand there. Nothing is acknowledged at once: `ack_due` is set, and the stack flushes when the batch that was read is
done, so a batch costs one ACK.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Protocol

from tunflow.conduit import StreamOwner
from tunflow.device import Packet
from tunflow.endpoint import Buffer, Endpoint
from tunflow.stack.budget import MemoryBudget
from tunflow.stack.icmp import Reason
from tunflow.stack.tcp.flight import SentSegment
from tunflow.stack.tcp.header import HeaderTemplate
from tunflow.stack.tcp.receiver import Receiver
from tunflow.stack.tcp.sender import Sender
from tunflow.stack.tcp.state import (
    CLOSE_WAIT,
    ESTABLISHED,
    FIN_WAIT_1,
    LAST_ACK,
    SYN_HELD,
    TRANSITIONS,
    State,
    check_move,
)
from tunflow.stack.tcp.timestamps import SIZE as TIMESTAMPS_SIZE
from tunflow.stack.tcp.timestamps import Timestamps
from tunflow.wire.tcp import ACK, FIN, PSH, Options, build_options

DEFAULT_MSS = 536
DEFAULT_MSS_V6 = 1220
"""RFC 9293 §3.7.1: what a peer that sends no MSS option can take."""

SMALLEST_MSS = 64
"""An MSS option below this is taken as this: a peer must not make us send a header for every few bytes."""

DELAYED_ACK = 0.02
"""RFC 9293 §3.8.6.3 allows half a second; an answer to a small request comes well within this and carries the ACK."""

_LARGEST_PACKET = 65535
_MODULUS = 1 << 32


class Host(Protocol):
    """What a connection needs of its stack. Where a method takes a connection, it is a `TCPConnection`."""

    outgoing: list[Packet]
    receive_limit: int
    send_limit: int
    mtu: int
    budget: MemoryBudget
    now: float
    """When the packets in hand arrived, or the timers fired."""
    schedule: Callable[[Any, float], None]
    """Call `handle_timeout` of the connection at that time or a little earlier."""
    watch_idle: Callable[[float], None]
    """Call `handle_idle` of all connections at that time or a little later."""

    def initial_sequence(self, key: bytes, now: float) -> int:
        """RFC 6528."""

    def timestamp_offset(self, key: bytes) -> int:
        """RFC 7323 §5.4."""

    def notify(self, connection: Any) -> None:
        """Tell the owner to look."""

    def want_ack(self, connection: Any) -> None:
        """Call `flush_ack` when the batch is done."""

    def established(self) -> None:
        """The connection is no longer half-open."""

    def finished(self, connection: Any, lingers: bool, was_half_open: bool) -> None:
        """Forget the connection; `lingers`: it is owed a place in TIME-WAIT."""


class Outbound:
    """A connection's parts, and what leaves."""

    __slots__ = (
        "_ack_at", "_challenge_until", "_challenges", "_delays_acks", "_fin_received", "_heard_at", "_is_active",
        "_is_ipv4", "_is_probe", "_look_at", "_narrowed", "_owned", "_peer_scale", "_probes", "_probes_tail",
        "_retransmit_at", "_sacks", "_scale", "_stalled_at", "_syn", "_syn_options", "_tail", "_tries", "_widen_at",
        "ack_due", "client", "closed", "host", "is_local", "key", "mss", "notified", "receiver", "sender", "soft_error",
        "state", "syn", "target", "template", "timestamps", "user", "user_timeout", "wake_at", "was_reset",
    )  # fmt: skip

    def __init__(
        self, host: Host, key: bytes, client: Endpoint, target: Endpoint, seq: int, options: Options, syn: bytes
    ) -> None:
        self.host = host
        self.key = key
        self.client = client
        self.target = target
        self.syn = syn
        """The IP packet that asked for the connection, for an ICMP error to quote."""
        self.state = SYN_HELD
        self.closed = False
        """Whether the connection is over, one way or the other."""
        self.user: StreamOwner | None = None
        """Whoever looks when the connection is in the stack's `changed`."""
        self.user_timeout: float | None = None
        """Seconds that data may go unacknowledged before the connection is given up (RFC 9293 §3.8.3, RFC 5482
        without the option); None: the usual number of retransmissions."""
        self.was_reset = False
        """Whether the client ended the connection with RST, or it timed out."""
        self.soft_error: Reason | None = None
        """The last ICMP error that was no reason to end the connection, but may be why it timed out."""
        self.timestamps: Timestamps | None = None
        """The timestamps option, if both sides speak it."""
        self.ack_due = False
        self.notified = False
        self.wake_at = inf
        self.is_local = False
        """Whether the client is on this host: no wire lies between, so nothing gets lost on it."""
        self._is_ipv4 = len(key) == 12
        self._is_active = False
        self._syn_options = options
        self._owned = True
        self._scale = self._peer_scale = 0
        self._sacks = False
        self._fin_received = False
        self._delays_acks = True
        self._ack_at = self._retransmit_at = self._look_at = self._widen_at = inf
        self._probes_tail = False
        """Whether RFC 8985 §7 is in use: with SACK, and where something can get lost."""
        self._is_probe = False
        """Whether `_retransmit_at` is the time for a tail loss probe, not yet for a retransmission."""
        self._tail: int | None = None
        """TLP.end_seq, while it is not known whether a probe that repeated a segment repaired a loss."""
        self._tries = self._probes = self._challenges = self._narrowed = 0
        self._stalled_at = self._challenge_until = self._heard_at = 0.0
        self._syn: Packet = ()
        """Our SYN or SYN,ACK while it is not acknowledged."""
        self.mss = self._common_mss(options)
        assert isinstance(client.host, bytes)
        assert isinstance(target.host, bytes)
        self.template = HeaderTemplate(target.host, target.port, client.host, client.port, self.mss)
        self.receiver = Receiver(seq + 1, host.receive_limit, host.budget)
        self.sender = Sender(0, self.mss, host.send_limit, _LARGEST_PACKET - self.template.size, host.budget)

    @property
    def _header_size(self) -> int:
        """Bytes of IP and TCP header, with the options that every segment carries."""
        return (40 if self._is_ipv4 else 60) + (0 if self.timestamps is None else TIMESTAMPS_SIZE)

    def _common_mss(self, options: Options) -> int:
        """RFC 9293 §3.7.1: what the client takes, and what the device carries, less our options."""
        option_size = 0 if self.timestamps is None else TIMESTAMPS_SIZE
        default, header_size = (DEFAULT_MSS, 40) if self._is_ipv4 else (DEFAULT_MSS_V6, 60)
        return max(SMALLEST_MSS, min(options.mss or default, self.host.mtu - header_size) - option_size)

    def _set_mss(self, mss: int) -> None:
        """Cut packets to this many bytes of payload from now on."""
        self.mss = mss
        self.template.set_mss(mss, 0 if self.timestamps is None else TIMESTAMPS_SIZE)
        self.sender.set_mss(mss, _LARGEST_PACKET - self._header_size)

    # Data.

    def _transmit(self, now: float, override: bool = False) -> None:
        """Send all that the windows allow; `override` is that of `Sender.next_segment`."""
        sender = self.sender
        was_empty = not sender.flight
        if was_empty and now - sender.sent_at > sender.rtt.rto:
            sender.congestion.restart()
        while True:
            segment = sender.next_segment(now, override)
            if segment is None:
                break
            self._emit_segment(segment, now)
            if not sender.unsent_size and sender.losses is None and sender.fin_sent == sender.fin_queued:
                break  # as `next_segment` would say
        if not was_empty:
            return
        if sender.flight:
            self._arm(now)  # RFC 6298 (5.1)
        elif sender.unsent_size and self._retransmit_at == inf:
            self._restart_timer(now)  # the window is closed: probe it (RFC 9293 §3.8.6.1)

    def _arm(self, now: float) -> None:
        """Something is in flight: start the timer, for a tail loss probe where that comes first."""
        rtt = self.sender.rtt
        wait = rtt.rto
        self._is_probe = False
        if self._probes_tail and rtt.probe_timeout < wait:
            wait = rtt.probe_timeout
            self._is_probe = True
        self._retransmit_at = when = now + wait
        if when < self.wake_at:
            self.host.schedule(self, when)

    def _restart_timer(self, now: float) -> None:
        self._is_probe = False
        self._retransmit_at = now + self.sender.rtt.rto
        self.host.schedule(self, self._retransmit_at)

    def _emit_segment(self, segment: SentSegment, now: float) -> None:
        size = segment.end - segment.start - segment.fin
        flags = ACK
        if size and (segment.retransmitted or not self.sender.unsent_size):
            flags = ACK | PSH
        if not segment.fin:
            self._emit(segment.pieces, size, segment.start, flags, now)
            return
        self._emit(segment.pieces, size, segment.start, flags | FIN, now)
        state = self.state
        if state is ESTABLISHED:
            self._move(FIN_WAIT_1)
        elif state is CLOSE_WAIT:
            self._move(LAST_ACK)

    def _emit(self, pieces: Sequence[Buffer], size: int, seq: int, flags: int, now: float) -> None:
        receiver = self.receiver
        field = receiver.window >> self._scale
        if field > 65535:
            field = 65535
        edge = receiver.next + (field << self._scale)
        if edge > receiver.advertised:
            receiver.advertised = edge
        options = b""
        timestamps = self.timestamps
        if timestamps is not None:
            options = timestamps.encode(now)
            timestamps.last_ack = receiver.next
        if self._sacks and (receiver.early is not None or receiver.duplicate is not None):
            # Blocks ride on ACKs without data only, so that no segment is longer than the MSS allows.
            if not size:
                options += self._sack_option()
                self.ack_due = False
        else:
            self.ack_due = False
        if self._ack_at != inf:
            self._ack_at = inf
            self._delays_acks = True  # something carried the ACK in time
        self.host.outgoing.append((*self.template.build(seq, receiver.next, flags, field, size, options), *pieces))

    def _sack_option(self) -> bytes:
        blocks = self.receiver.sack_blocks()
        wrapped = tuple((left % _MODULUS, right % _MODULUS) for left, right in blocks)
        return build_options(Options(sack=wrapped[: 4 if self.timestamps is None else 3]))

    def _emit_reset(self, seq: int, ack: int, flags: int) -> None:
        self.host.outgoing.append(self.template.build(seq, ack, flags, 0, 0, self._stamp()))

    def _stamp(self) -> bytes:
        return b"" if self.timestamps is None else self.timestamps.encode(self.host.now)

    def _probe(self, now: float) -> None:
        """Ask for an ACK: an old sequence number is not acceptable, so the client must say what it expects (§3.8.4).

        It serves as zero-window probe too; unlike one with a byte of data it leaves nothing in flight.
        """
        self._emit([], 0, self.sender.next - 1, ACK, now)

    # Acknowledgments.

    def flush_ack(self) -> None:
        """Send the ACK that is due, if no segment carried it in the meantime."""
        if self.ack_due and self.state >= ESTABLISHED:
            self._emit([], 0, self.sender.next, ACK, self.host.now)

    def _want_ack(self) -> None:
        if not self.ack_due:
            self.ack_due = True
            self.host.want_ack(self)

    def _delay_ack(self, now: float) -> None:
        if self._ack_at == inf:
            self._ack_at = now + DELAYED_ACK
            self.host.schedule(self, self._ack_at)

    # What the rest of the connection shares.

    def _move(self, state: State) -> None:
        if state not in TRANSITIONS[self.state]:
            check_move(self.state, state)  # raises
        self.state = state

    def _notify(self) -> None:
        if not self.notified and self._owned:
            self.notified = True
            self.host.notify(self)
