"""One TCP connection with a client behind the device, whichever of the two opened it.

Read RFC 9293 §3.10.7 first; `segment_arrived` keeps its order of steps, and RFC 5961 for what a blind attacker may
not do. Rules of this file:

1. It is a machine (`tunflow.machine`): segments, calls of the owner and time go in; packets go to `host.outgoing`.
2. Sequence numbers are unwrapped as soon as they are read (`_unwrap`) and wrapped when a header is built.
3. Nothing is acknowledged at once: `ack_due` is set, and the stack flushes when the batch that was read is done, so a
   batch costs one ACK.
4. The owner is told by `host.notify` that something changed, and looks at `readable`, `at_eof`, `send_room` and
   `closed` for what it is.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import inf
from typing import Any, Protocol

from tunflow.device import Packet
from tunflow.endpoint import Buffer, Endpoint
from tunflow.stack.tcp.header import HeaderTemplate
from tunflow.stack.tcp.receiver import Receiver
from tunflow.stack.tcp.sender import Sender, SentSegment
from tunflow.stack.tcp.state import State, check_move
from tunflow.wire.tcp import ACK, FIN, HEADER_SIZE, PSH, RST, SYN, Options, build_options, parse_options

_FIELDS = struct.Struct("!IIBBH")
"""Sequence number, acknowledgment number, data offset, flags, window: the header from its fifth byte on."""

_MODULUS = 1 << 32
_HALF = 1 << 31

WINDOW_SCALE = 7
"""RFC 7323 §2: the shift that we ask for; 65535 << 7 is 8 MiB, well above any `receive_limit`."""

DEFAULT_MSS = 536
DEFAULT_MSS_V6 = 1220
"""RFC 9293 §3.7.1: what a peer that sends no MSS option can take."""

SMALLEST_MSS = 64
"""An MSS option below this is taken as this: a peer must not make us send a header for every few bytes."""

DELAYED_ACK = 0.02
"""RFC 9293 §3.8.6.3 allows half a second; an answer to a small request comes well within this and carries the ACK."""

KEEPALIVE_IDLE = 7200.0
KEEPALIVE_INTERVAL = 75.0
KEEPALIVE_PROBES = 9
"""RFC 9293 §3.8.4: two hours at least; interval and number are Linux's."""

SYN_RETRIES = 7
"""RFC 9293 §3.8.3 (MUST-23): a SYN is repeated for at least three minutes; seven repeats last 183 seconds."""

SYN_ACK_RETRIES = 5
RETRIES = 10
"""RFC 9293 §3.8.3: R2 is at least 100 seconds of retransmission; ten doublings from 200 ms are over three minutes."""

_TRIES = {State.SYN_SENT: SYN_RETRIES, State.SYN_RECEIVED: SYN_ACK_RETRIES}

ABANDONED_TIMEOUT = 60.0
"""How long FIN-WAIT-2 lasts once nobody owns the connection: RFC 9293 §3.10.4 leaves it open, this is Linux's."""

LOW_WINDOW = 32 * 1024
"""While a client may still send this much it is not waiting for a window update; the next ACK tells it."""

MAX_OWN_WINDOW = 1 << 30


class Host(Protocol):
    """What a connection needs of its stack."""

    outgoing: list[Packet]
    receive_limit: int
    send_limit: int
    mtu: int

    def initial_sequence(self, key: bytes, now: float) -> int:
        """RFC 6528."""

    def notify(self, connection: TCPConnection) -> None:
        """Tell the owner to look."""

    def want_ack(self, connection: TCPConnection) -> None:
        """Call `flush_ack` when the batch is done."""

    def schedule(self, connection: TCPConnection, when: float) -> None:
        """Call `handle_timeout` at `when` or a little earlier."""

    def established(self) -> None:
        """The connection is no longer half-open."""

    def finished(self, connection: TCPConnection, lingers: bool, was_half_open: bool) -> None:
        """Forget the connection; `lingers`: it is owed a place in TIME-WAIT."""


class TCPConnection:
    """One connection of a stack.

    Made from a SYN, it waits for its owner to call `accept` or `reject`; made by `Stack.connect`, it sends the SYN and
    tells the owner when it is `open` or `closed`. `client` is the end behind the device, `target` the one that the
    stack plays.
    """

    __slots__ = (
        "_ack_at", "_delays_acks", "_fin_received", "_idle_at", "_is_active", "_is_ipv4", "_owned", "_peer_scale",
        "_probes", "_retransmit_at", "_scale", "_syn", "_syn_options", "_tries", "ack_due", "client", "host", "key", "mss",
        "notified", "receiver", "sender", "state", "syn", "target", "template", "user", "wake_at", "was_reset",
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
        self.state = State.SYN_HELD
        self.user: Any = None
        """The owner's own object; the stack does not look at it."""
        self.was_reset = False
        """Whether the client ended the connection with RST, or it timed out."""
        self.ack_due = False
        self.notified = False
        self.wake_at = inf
        self._is_ipv4 = len(key) == 12
        self._is_active = False
        self._syn_options = options
        self._owned = True
        self._scale = self._peer_scale = 0
        self._fin_received = False
        self._delays_acks = True
        self._ack_at = self._retransmit_at = self._idle_at = inf
        self._tries = self._probes = 0
        self._syn: Packet = ()
        """Our SYN or SYN,ACK while it is not acknowledged."""
        self.mss = self._common_mss(options)
        assert isinstance(client.host, bytes)
        assert isinstance(target.host, bytes)
        self.template = HeaderTemplate(target.host, target.port, client.host, client.port, self.mss)
        self.receiver = Receiver(seq + 1, host.receive_limit)
        self.sender = Sender(0, self.mss, host.send_limit, 65535 - self._header_size)

    @property
    def _header_size(self) -> int:
        return 40 if self._is_ipv4 else 60

    def _common_mss(self, options: Options) -> int:
        """RFC 9293 §3.7.1: what the client takes, and what the device carries."""
        default = DEFAULT_MSS if self._is_ipv4 else DEFAULT_MSS_V6
        return max(SMALLEST_MSS, min(options.mss or default, self.host.mtu - self._header_size))

    # What the owner asks and does.

    @property
    def readable(self) -> int:
        """Bytes from the client that wait to be taken."""
        return self.receiver.queued

    @property
    def at_eof(self) -> bool:
        """Whether the client closed its side and everything before that was taken."""
        return self._fin_received and not self.receiver.queued

    @property
    def send_room(self) -> int:
        """How many bytes `send` should be given at most."""
        return self.sender.room

    @property
    def closed(self) -> bool:
        """Whether the connection is over, one way or the other."""
        return self.state is State.CLOSED

    @property
    def open(self) -> bool:
        """Whether both sides agreed that there is a connection, and it has not ended yet."""
        return self.state >= State.ESTABLISHED

    def connect(self, now: float) -> None:
        """Send a SYN: for `Stack.connect`, on a connection that no SYN made."""
        self._is_active = True
        self.state = State.SYN_SENT
        self._choose_sequence(now)
        self._offer(SYN, self._our_options(Options(window_scale=WINDOW_SCALE)), now)

    def accept(self, now: float) -> None:
        """The far side answered: answer the SYN."""
        self._choose_sequence(now)
        self.syn = b""
        self._negotiate(self._syn_options)
        self._move(State.SYN_RECEIVED)
        self._offer(SYN | ACK, self._our_options(self._syn_options), now)

    def _choose_sequence(self, now: float) -> None:
        sender = self.sender
        sender.una = sender.next = self.host.initial_sequence(self.key, now) + 1

    def _our_options(self, offered: Options) -> Options:
        """What our SYN says: everything that we speak, in an answer only what was `offered`."""
        return Options(
            mss=self.host.mtu - self._header_size,
            window_scale=WINDOW_SCALE if offered.window_scale is not None else None,
        )

    def _negotiate(self, options: Options) -> None:
        """Take the options of the client's SYN or SYN,ACK; ours offered all that we speak."""
        if options.window_scale is not None:
            self._peer_scale = options.window_scale
            self._scale = WINDOW_SCALE

    def _offer(self, flags: int, options: Options, now: float) -> None:
        """Send our SYN or SYN,ACK, and repeat it until it is answered."""
        host = self.host
        receiver = self.receiver
        window = min(receiver.limit, 65535)  # RFC 7323 §2.2: the window of a SYN is never scaled
        receiver.advertised = receiver.next + window
        acked = receiver.next if flags & ACK else 0
        self._syn = self.template.build(self.sender.next - 1, acked, flags, window, 0, build_options(options))
        host.outgoing.append(self._syn)
        self._retransmit_at = now + self.sender.rtt.rto
        host.schedule(self, self._retransmit_at)

    def reject(self, reset: bool) -> None:
        """The far side refused (`reset`: answer with RST), or something else tells the client, or nothing does."""
        if reset:
            self._emit_reset(0, self.receiver.next, RST | ACK)
        self._finish()

    def take(self, limit: int) -> list[Buffer]:
        """Up to `limit` bytes from the client, as pieces that are the caller's; the window opens by as much."""
        receiver = self.receiver
        pieces = receiver.take(limit)
        if receiver.advertised - receiver.next < LOW_WINDOW and not self.ack_due:
            gain = receiver.next + receiver.limit - receiver.queued - receiver.advertised
            if gain >= receiver.limit >> 2:
                # RFC 9293 §3.8.6.2.2: tell of an opened window only when it is worth a packet.
                self._want_ack()
        return pieces

    def send(self, pieces: Sequence[Buffer], now: float, more: bool = False) -> None:
        """Queue bytes for the client; they must not change afterwards.

        `more`: the caller will call again before this round is over, so only the largest segments leave now.
        """
        self.sender.queue(pieces)
        if self.state >= State.ESTABLISHED:
            self._transmit(now, more)

    def close_write(self, now: float, last: Sequence[Buffer] = ()) -> None:
        """Queue the `last` bytes, if any, and FIN right behind them. Bytes from the client are still welcome."""
        if self.sender.fin_queued or self.state is State.CLOSED:
            return
        self.sender.queue(last)
        self.sender.fin_queued = True
        if self.state >= State.ESTABLISHED:
            self._transmit(now)

    def abandon(self, now: float) -> None:
        """The owner is done: nobody will take bytes any more. What is queued is still delivered, and then FIN."""
        self._owned = False
        self.user = None
        if self.receiver.queued or (self.state is State.SYN_SENT and not self.sender.unsent_size):
            self.abort()  # RFC 9293 §3.10.4 and RFC 2525 §2.17: bytes nobody read are a reset, not an orderly end
            return
        self.close_write(now)
        if self.state is State.FIN_WAIT_2:
            self._retransmit_at = now + ABANDONED_TIMEOUT
            self.host.schedule(self, self._retransmit_at)

    def abort(self) -> None:
        """End at once, with RST."""
        if self.state is State.CLOSED:
            return
        if self.state is State.SYN_HELD:
            self.reject(reset=True)
            return
        if self.state is not State.SYN_SENT:  # §3.10.5: nothing is there to reset yet
            self._emit_reset(self.sender.next, self.receiver.next, RST | ACK)
        self._finish()

    # What arrives.

    def segment_arrived(self, packet: bytes, at: int, end: int, now: float) -> None:
        """A segment: its TCP header starts at `at` in `packet`, its payload ends at `end`."""
        seq, ack, offset, flags, window = _FIELDS.unpack_from(packet, at + 4)
        payload_at = at + (offset >> 2 & 0x3C)
        receiver = self.receiver
        start = _unwrap(seq, receiver.next)
        size = end - payload_at
        if size < 0 or offset < 0x50:
            return  # a header that claims more than there is
        if self.state <= State.SYN_RECEIVED:
            if self.state is State.SYN_HELD:
                if flags & RST and start == receiver.next:
                    self._reset_by_peer()
                return
            if self.state is State.SYN_SENT:
                self._answered(packet, at, end, now)
                return
            if self._is_active and flags & (SYN | ACK) == SYN | ACK and start + 1 == receiver.next:
                # RFC 9293 figure 8: the answer to our SYN,ACK of a simultaneous open; the SYN itself is known.
                start += 1
                flags &= ~SYN
        if not self._is_acceptable(start, size + (flags & FIN) + (flags >> 1 & 1)):
            if flags & RST:
                return
            if flags & SYN and self.state is State.SYN_RECEIVED:
                self.host.outgoing.append(self._syn)  # our answer was lost
            else:
                self._want_ack()
            if start != receiver.next or not flags & ACK:
                return
            size = 0  # the window is closed: the ACK of a segment just beyond it is still good (§3.10.7.4)
            flags &= ~FIN
        if flags & (RST | SYN):
            # RFC 5961 §3.2 and §4.2: only the exact next sequence number resets; anything near gets a challenge.
            if flags & RST and start == receiver.next:
                self._reset_by_peer()
            else:
                self._want_ack()
            return
        if not flags & ACK:
            return
        if not self._take_ack(_unwrap(ack, self.sender.una), window << self._peer_scale, start, size, flags, now):
            return
        self._idle_at = now + KEEPALIVE_IDLE
        self._probes = 0
        if size:
            self._take_payload(start, memoryview(packet)[payload_at:end], now)
        if flags & FIN and start + size == receiver.next and not self._fin_received and not self.closed:
            self._take_fin(now)

    def _answered(self, packet: bytes, at: int, end: int, now: float) -> None:
        """A segment in SYN-SENT (RFC 9293 §3.10.7.3)."""
        seq, ack, offset, flags, window = _FIELDS.unpack_from(packet, at + 4)
        payload_at = at + (offset >> 2 & 0x3C)
        sender = self.sender
        if flags & ACK and _unwrap(ack, sender.next) != sender.next:
            if not flags & RST:
                self._emit_reset(ack, 0, RST)
            return
        if flags & RST:
            if flags & ACK:
                self._reset_by_peer()
            return
        if not flags & SYN:
            return
        options = parse_options(packet[at + HEADER_SIZE : payload_at])
        receiver = self.receiver
        receiver.next = receiver.advertised = seq + 1
        self.mss = self._common_mss(options)
        self.template.set_mss(self.mss)
        sender.set_mss(self.mss, 65535 - self._header_size)
        self._negotiate(options)
        if not flags & ACK:
            self._move(State.SYN_RECEIVED)  # simultaneous open: §3.5, figure 8
            self._offer(SYN | ACK, self._our_options(options), now)
            return
        receiver.advertised += min(receiver.limit, 65535)
        self._want_ack()
        self._establish(window, receiver.next, sender.next, now)
        if end > payload_at:
            self._take_payload(receiver.next, memoryview(packet)[payload_at:end], now)
        if flags & FIN and seq + 1 + end - payload_at == receiver.next and self.state is State.ESTABLISHED:
            self._take_fin(now)

    def _is_acceptable(self, start: int, length: int) -> bool:
        """The four cases of RFC 9293 §3.10.7.4, table 6."""
        receiver = self.receiver
        ahead = start - receiver.next
        window = receiver.window
        if length == 0:
            return ahead == 0 or 0 < ahead < window
        return ahead < window and ahead + length > 0

    def _take_ack(self, ack: int, window: int, start: int, size: int, flags: int, now: float) -> bool:
        """Fifth check: the ACK field. Whether the segment is to be processed further."""
        sender = self.sender
        covered = ack - sender.una
        if self.state is State.SYN_RECEIVED:
            if covered != 0:
                self._emit_reset(ack, 0, RST)
                return False
            self._establish(window, start, ack, now)
            return True
        if covered > sender.next - sender.una:
            self._want_ack()
            return False
        if covered < 0:
            if covered < -MAX_OWN_WINDOW:
                self._want_ack()  # RFC 5961 §5.2
                return False
            return True
        if start > sender.window_seq or (start == sender.window_seq and ack >= sender.window_ack):
            opened = window > sender.window
            changed = window != sender.window
            sender.window = window
            sender.window_seq = start
            sender.window_ack = ack
        else:
            opened = changed = False
        if not sender.flight:
            self._tries = 0  # whoever answers probes of a closed window lives (RFC 9293 §3.8.6.1)
        if covered:
            self._acknowledged(ack, now)
        elif sender.flight and not size and not flags & FIN and not changed:
            # RFC 5681 section 2: what a duplicate ACK is.
            if sender.congestion.duplicate(sender.next - sender.una, sender.next):
                self._retransmit(now)
        elif not opened:
            return True
        if not self.closed:
            self._transmit(now)
        return not self.closed

    def _establish(self, window: int, start: int, ack: int, now: float) -> None:
        self._move(State.ESTABLISHED)
        if self._is_active:
            self._notify()
        else:
            self.host.established()
        self._syn = ()
        sender = self.sender
        sender.window = window
        sender.window_seq = start
        sender.window_ack = ack
        if self._tries:
            sender.rtt.rto = 3.0  # RFC 6298 (5.7): the SYN-ACK was sent again, so nothing was measured
        self._retransmit_at = inf
        self._tries = 0
        self._idle_at = now + KEEPALIVE_IDLE
        self._transmit(now)

    def _acknowledged(self, ack: int, now: float) -> None:
        """New data, and perhaps our FIN, was acknowledged."""
        sender = self.sender
        had_room = sender.room
        covered = sender.acknowledge(ack, now)
        self._tries = 0
        if sender.congestion.acknowledged(covered, ack):
            self._retransmit(now)
        elif sender.flight:
            self._retransmit_at = now + sender.rtt.rto  # RFC 6298 (5.3)
        else:
            self._retransmit_at = inf  # (5.2)
        if sender.fin_sent and not sender.flight:
            self._fin_acknowledged(now)
        if had_room <= sender.limit >> 1:
            self._notify()  # the owner may have stopped for want of room

    def _fin_acknowledged(self, now: float) -> None:
        if self.state is State.FIN_WAIT_1:
            self._move(State.FIN_WAIT_2)
            if not self._owned:
                self._retransmit_at = now + ABANDONED_TIMEOUT
                self.host.schedule(self, self._retransmit_at)
        elif self.state is State.CLOSING:
            self._linger()
        elif self.state is State.LAST_ACK:
            self._finish()

    def _take_payload(self, start: int, payload: memoryview, now: float) -> None:
        """Seventh step: the segment text."""
        if self._fin_received or self.state is State.CLOSED:
            return  # nothing may follow a FIN
        if not self._owned:
            self.abort()  # nobody can take it: RFC 9293 §3.10.4
            return
        size = len(payload)
        had_gap = self.receiver.has_gap  # filling one is acknowledged at once (RFC 5681 section 4.2)
        if self.receiver.accept(start, payload):
            self._notify()
            if had_gap or size >= self.mss or not self._delays_acks:
                self._want_ack()
            elif self._ack_at == inf:
                self._delay_ack(now)
            else:
                self._want_ack()  # the second one: RFC 5681 section 4.2
        else:
            self._want_ack()  # early, old or beyond the window: say at once what is expected

    def _take_fin(self, now: float) -> None:
        """Eighth step: the client closed its side."""
        self.receiver.next += 1
        self._fin_received = True
        self._notify()
        if self.state is State.ESTABLISHED:
            self._move(State.CLOSE_WAIT)
            self._delay_ack(now)  # the far side mostly closes soon after, and our FIN then carries the ACK
        elif self.state is State.FIN_WAIT_1:
            self._move(State.CLOSING)
            self._want_ack()
        elif self.state is State.FIN_WAIT_2:
            self._want_ack()
            self._linger()

    # What leaves.

    def flush_ack(self) -> None:
        """Send the ACK that is due, if no segment carried it in the meantime."""
        if self.ack_due and self.state >= State.ESTABLISHED:
            self._emit([], 0, self.sender.next, ACK)

    def _transmit(self, now: float, more: bool = False) -> None:
        """Send all new data that the windows allow."""
        sender = self.sender
        was_empty = not sender.flight
        while True:
            segment = sender.next_segment(now, more)
            if segment is None:
                break
            self._emit_segment(segment, PSH if not sender.unsent_size else 0)
            if segment.fin:
                self._fin_left()
        if not was_empty:
            return
        if sender.flight:
            self._retransmit_at = now + sender.rtt.rto  # RFC 6298 (5.1)
            self.host.schedule(self, self._retransmit_at)
        elif sender.unsent_size and self._retransmit_at == inf:
            self._retransmit_at = now + sender.rtt.rto  # the window is closed: probe it (RFC 9293 §3.8.6.1)
            self.host.schedule(self, self._retransmit_at)

    def _fin_left(self) -> None:
        if self.state is State.ESTABLISHED:
            self._move(State.FIN_WAIT_1)
        elif self.state is State.CLOSE_WAIT:
            self._move(State.LAST_ACK)

    def _retransmit(self, now: float) -> None:
        """Send the first unacknowledged segment again."""
        segment = self.sender.first_unacknowledged(now)
        if segment is not None:
            self._emit_segment(segment, PSH)
            self._retransmit_at = now + self.sender.rtt.rto
            self.host.schedule(self, self._retransmit_at)

    def _emit_segment(self, segment: SentSegment, push: int) -> None:
        size = segment.end - segment.start - segment.fin
        flags = ACK | push if size else ACK
        self._emit(segment.pieces, size, segment.start, flags | FIN if segment.fin else flags)

    def _emit(self, pieces: Sequence[Buffer], size: int, seq: int, flags: int) -> None:
        receiver = self.receiver
        field = receiver.window >> self._scale
        if field > 65535:
            field = 65535
        edge = receiver.next + (field << self._scale)
        if edge > receiver.advertised:
            receiver.advertised = edge
        self.ack_due = False
        if self._ack_at != inf:
            self._ack_at = inf
            self._delays_acks = True  # something carried the ACK in time
        self.host.outgoing.append((*self.template.build(seq, receiver.next, flags, field, size), *pieces))

    def _emit_reset(self, seq: int, ack: int, flags: int) -> None:
        self.host.outgoing.append(self.template.build(seq, ack, flags, 0, 0))

    def _want_ack(self) -> None:
        if not self.ack_due:
            self.ack_due = True
            self.host.want_ack(self)

    def _delay_ack(self, now: float) -> None:
        if self._ack_at == inf:
            self._ack_at = now + DELAYED_ACK
            self.host.schedule(self, self._ack_at)

    # Time.

    def handle_timeout(self, now: float) -> None:
        """Do what is due; `host.schedule` is called again for what is not."""
        if self.state is State.CLOSED:
            return
        if self._ack_at <= now:
            self._ack_at = inf
            self._delays_acks = False  # nobody answered in time: this client waits for ACKs
            self.ack_due = True
            self.flush_ack()
        if self._retransmit_at <= now:
            self._retransmission_timeout(now)
        due = min(self._ack_at, self._retransmit_at)
        if due != inf and not self.closed:
            self.host.schedule(self, due)

    def handle_idle(self, now: float) -> float | None:
        """Keep-alive, if the client was idle for so long: when to look again, or None when the connection is over."""
        if self.state is State.CLOSED:
            return None
        if self.state < State.ESTABLISHED or self._idle_at > now:
            return max(self._idle_at if self._idle_at != inf else 0.0, now + KEEPALIVE_INTERVAL)
        if self._probes >= KEEPALIVE_PROBES:
            self._time_out()
            return None
        if not self.sender.flight:
            self._probe()
            self._probes += 1
        self._idle_at = now + KEEPALIVE_INTERVAL
        return self._idle_at

    def _retransmission_timeout(self, now: float) -> None:
        self._retransmit_at = inf
        self._tries += 1
        sender = self.sender
        if self._tries > _TRIES.get(self.state, RETRIES):
            self._time_out()
            return
        if self.state is State.FIN_WAIT_2:
            self._finish()  # nobody owns it, and the client never closed
            return
        sender.rtt.timed_out()
        if self.state < State.ESTABLISHED:
            self.host.outgoing.append(self._syn)
        elif sender.flight:
            sender.congestion.timed_out(sender.next - sender.una, sender.next)
            self._retransmit(now)
        elif sender.unsent_size:
            self._probe()
        else:
            return
        self._retransmit_at = now + sender.rtt.rto

    def _probe(self) -> None:
        """Ask for an ACK: an old sequence number is not acceptable, so the client must say what it expects (§3.8.4).

        It serves as zero-window probe too; unlike one with a byte of data it leaves nothing in flight.
        """
        self._emit([], 0, self.sender.next - 1, ACK)

    def _time_out(self) -> None:
        self.was_reset = True
        if self.state >= State.ESTABLISHED:
            self._emit_reset(self.sender.next, self.receiver.next, RST | ACK)
        self._finish()

    # Ends.

    def _reset_by_peer(self) -> None:
        self.was_reset = True
        self._finish()

    def _linger(self) -> None:
        self.flush_ack()  # of the FIN: from now on only a repeated one is answered
        self._move(State.TIME_WAIT)
        self._end(lingers=True)

    def _finish(self) -> None:
        self._end(lingers=False)

    def _end(self, lingers: bool) -> None:
        was_half_open = not self._is_active and self.state in {State.SYN_HELD, State.SYN_RECEIVED}
        self._move(State.CLOSED)
        self.sender.drop()
        if self.was_reset:
            self.receiver.drop()
        self._ack_at = self._retransmit_at = self._idle_at = inf
        self.ack_due = False
        self.syn = b""
        self.host.finished(self, lingers, was_half_open)
        self._notify()

    def _move(self, state: State) -> None:
        check_move(self.state, state)
        self.state = state

    def _notify(self) -> None:
        if not self.notified and self._owned:
            self.notified = True
            self.host.notify(self)


def _unwrap(number: int, reference: int) -> int:
    """The unwrapped sequence number nearest to `reference` whose low 32 bits are `number`."""
    ahead = (number - reference) % _MODULUS
    return reference + ahead - (_MODULUS if ahead >= _HALF else 0)
