"""One TCP connection with a client behind the device, whichever of the two opened it.

Read RFC 9293 §3.10.7 first; `segment_arrived` keeps its order of steps, and RFC 5961 for what a blind attacker may
not do. Rules of a connection, which three files make up (`outbound`, `lifecycle` and this one):

1. It is a machine (`tunflow.machine`): segments, calls of the owner and time go in; packets go to `host.outgoing`.
2. Sequence numbers are unwrapped as soon as they are read (`_unwrap`) and wrapped when a header is built.
3. The owner is told by `host.notify` that something changed, and looks at `readable`, `at_eof`, `send_room`, `open` and
   `closed` for what it is.
4. The urgent pointer is not looked at: urgent bytes are bytes of the stream like any other, in their place (RFC 6093
   §6 asks receivers for just that). ECN is not negotiated: ECE and CWR mean nothing here (RFC 3168 §6.1.1).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import inf

from tunflow.endpoint import Buffer
from tunflow.stack.tcp.lifecycle import ABANDONED_TIMEOUT, HALF_CLOSED_IDLE, Lifecycle
from tunflow.stack.tcp.state import (
    CLOSE_WAIT,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LAST_ACK,
    SYN_HELD,
    SYN_RECEIVED,
    SYN_SENT,
)
from tunflow.stack.tcp.timestamps import LAYOUT, MAGIC, is_before
from tunflow.wire.tcp import ACK, FIN, HEADER_SIZE, RST, SYN, parse_options

_FIELDS = struct.Struct("!IIBBH")
"""Sequence number, acknowledgment number, data offset, flags, window: the header from its fifth byte on."""

_MODULUS = 1 << 32
_HALF = 1 << 31

LOW_WINDOW = 32 * 1024
"""While a client may still send this much it is not waiting for a window update; the next ACK tells it."""

CHALLENGES = 10
CHALLENGE_PERIOD = 5.0
"""RFC 5961 §7: at most so many challenge ACKs in so many seconds. Counted for each connection, not for all together: a
shared count tells a stranger what others do (CVE-2016-5696)."""

Blocks = tuple[tuple[int, int], ...]


class TCPConnection(Lifecycle):
    """One connection of a stack.

    Made from a SYN, it waits for its owner to call `accept` or `reject`; made by `Stack.connect`, it sends the SYN and
    tells the owner when it is `open` or `closed`. `client` is the end behind the device, `target` the one that the
    stack plays.
    """

    __slots__ = ()

    # What the owner asks and does.

    @property
    def readable(self) -> int:
        """Bytes from the client that wait to be taken."""
        return self.receiver.queued

    @property
    def ended(self) -> bool:
        """Whether the client closed its side; there may be bytes from before that."""
        return self._fin_received

    @property
    def at_eof(self) -> bool:
        """Whether the client closed its side and everything before that was taken."""
        return self._fin_received and not self.receiver.queued

    @property
    def send_room(self) -> int:
        """How many bytes `send` should be given at most."""
        return self.sender.room

    @property
    def bytes_sent(self) -> int:
        """Bytes that went to the client so far, repetitions not counted."""
        sender = self.sender
        return sender.next - sender.start - sender.fin_sent

    @property
    def largest_segment(self) -> int:
        """Bytes that leave for the client in one packet at most, super-segments counted as one."""
        return self.sender.largest_segment

    @property
    def unacknowledged(self) -> int:
        """Bytes queued or sent that the client has not acknowledged yet."""
        return self.sender.held

    @property
    def is_refused(self) -> bool:
        """Whether a content filter ended it: never, for it would stand before this."""
        return False

    @property
    def held(self) -> bool:
        """Whether the client's SYN waits for `accept` or `reject`."""
        return self.state is SYN_HELD

    @property
    def open(self) -> bool:
        """Whether both sides agreed that there is a connection, and it has not ended yet."""
        return self.state >= ESTABLISHED

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
            window = receiver.window
            if receiver.next + window - receiver.advertised >= (window + receiver.queued) >> 2:
                # RFC 9293 §3.8.6.2.2: tell of an opened window only when it is worth a packet.
                self._want_ack()
        return pieces

    def peek(self) -> Sequence[Buffer]:
        """What waits to be taken, as pieces that stay where they are: to look at, before the next call."""
        return self.receiver.pieces

    def send(self, pieces: Sequence[Buffer], now: float, more: bool = False) -> None:
        """Queue bytes for the client; they must not change afterwards.

        `more`: the caller has more, and will bring it as soon as there is room and it is his turn. For a client on this
        host, part of a super-segment then waits for the rest while something is in flight.
        """
        sender = self.sender
        sender.queue(pieces)
        sender.fills = more and self.is_local
        if self.state >= ESTABLISHED:
            self._transmit(now)

    def close_write(self, now: float, last: Sequence[Buffer] = ()) -> None:
        """Queue the `last` bytes, if any, and FIN right behind them. Bytes from the client are still welcome."""
        if self.sender.fin_queued or self.state is CLOSED:
            return
        self.sender.queue(last)
        self.sender.fills = False
        self.sender.fin_queued = True
        if self.state >= ESTABLISHED:
            self._transmit(now)

    def abandon(self, now: float) -> None:
        """The owner is done: nobody will take bytes any more. What is queued is still delivered, and then FIN."""
        self._owned = False
        self.user = None
        if self.closed:
            return
        if self.receiver.queued or (self.state is SYN_SENT and not self.sender.unsent_size):
            self.abort()  # RFC 9293 §3.10.4 and RFC 2525 §2.17: bytes nobody read are a reset, not an orderly end
            return
        self.close_write(now)
        if self.state is FIN_WAIT_2:
            self._retransmit_at = now + ABANDONED_TIMEOUT
            self.host.schedule(self, self._retransmit_at)

    def abort(self) -> None:
        """End at once, with RST."""
        if self.state is CLOSED:
            return
        if self.state is SYN_HELD:
            self.reject(reset=True)
            return
        if self.state is not SYN_SENT:  # §3.10.5: nothing is there to reset yet
            self._emit_reset(self.sender.next, self.receiver.next, RST | ACK)
        self._finish()
        self.receiver.drop()

    # What arrives.

    def segment_arrived(self, packet: bytes, at: int, end: int, now: float) -> None:
        """A segment: its TCP header starts at `at` in `packet`, its payload ends at `end`."""
        seq, ack, offset, flags, window = _FIELDS.unpack_from(packet, at + 4)
        payload_at = at + (offset >> 2 & 0x3C)
        receiver = self.receiver
        ahead = (seq - receiver.next) & 0xFFFFFFFF  # `_unwrap` in place: this is the hottest line there is
        start = receiver.next + (ahead if ahead < _HALF else ahead - _MODULUS)
        size = end - payload_at
        if size < 0 or offset < 0x50:
            return  # a header that claims more than there is
        if self.state <= SYN_RECEIVED:
            if self.state is SYN_HELD:
                if flags & RST and start == receiver.next:
                    self._reset_by_peer()
                return
            if self.state is SYN_SENT:
                self._answered(packet, at, end, now)
                return
            if self._is_active and flags & (SYN | ACK) == SYN | ACK and start + 1 == receiver.next:
                # RFC 9293 figure 8: the answer to our SYN,ACK of a simultaneous open; the SYN itself is known.
                start += 1
                flags &= ~SYN
        echoed = 0
        blocks: Blocks = ()
        value: int | None = None
        stamps = self.timestamps
        if stamps is not None or offset >= 0x60:
            value, echoed, blocks = _read_options(packet, at, payload_at)
            if stamps is not None and not flags & RST:
                if value is None:
                    return  # RFC 7323 §3.2: once negotiated, the option is in every segment
                if stamps.is_old(value, now):
                    self._want_ack()  # PAWS, §5.3 R1
                    return
        is_next = start == receiver.next and receiver.advertised > start
        if not is_next and not self._is_acceptable(start, size + (flags & FIN) + (flags >> 1 & 1)):
            if not self._answer_unacceptable(start, size, flags, now):
                return
            size = 0  # the window is closed: the ACK of a segment just beyond it is still good (§3.10.7.4)
            flags &= ~FIN
        elif value is not None and stamps is not None:
            stamps.take(value, start, now)
        if flags & (RST | SYN):
            # RFC 5961 §3.2 and §4.2: only the exact next sequence number resets; anything near gets a challenge.
            if flags & RST and start == receiver.next:
                self._reset_by_peer()
            else:
                self._challenge(now)
            return
        if not flags & ACK:
            return
        una = self.sender.una
        ahead = (ack - una) & 0xFFFFFFFF
        unwrapped = una + (ahead if ahead < _HALF else ahead - _MODULUS)
        if not self._take_ack(unwrapped, window << self._peer_scale, start, size, flags, now, echoed, blocks):
            return
        self._heard_at = now
        self._probes = 0
        if size:
            self._take_payload(start, memoryview(packet)[payload_at:end], now)
        if flags & FIN and start + size == receiver.next and not self._fin_received and self.state is not CLOSED:
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
        self._negotiate(options, now)
        if not flags & ACK:
            self._move(SYN_RECEIVED)  # simultaneous open: §3.5, figure 8
            self._offer(SYN | ACK, self._our_options(options, now), now)
            return
        receiver.advertised += min(receiver.window, 65535)
        self._want_ack()
        self._establish(window, receiver.next, sender.next, now)
        if end > payload_at:
            self._take_payload(receiver.next, memoryview(packet)[payload_at:end], now)
        if flags & FIN and seq + 1 + end - payload_at == receiver.next and self.state is not CLOSED:
            self._take_fin(now)

    def _is_acceptable(self, start: int, length: int) -> bool:
        """The four cases of RFC 9293 §3.10.7.4, table 6."""
        receiver = self.receiver
        ahead = start - receiver.next
        if length == 0:
            return ahead == 0 or 0 < ahead < receiver.window
        return ahead + length > 0 and ahead < receiver.window

    def _answer_unacceptable(self, start: int, size: int, flags: int, now: float) -> bool:
        """First check: a segment outside the window. Whether its ACK is to be looked at all the same."""
        if flags & RST:
            return False
        if flags & SYN:
            if self.state is SYN_RECEIVED:
                self.host.outgoing.append(self._syn)  # our answer was lost
            else:
                self._challenge(now)
            return False
        if size and start < self.receiver.next:
            self.receiver.duplicate = (start, min(start + size, self.receiver.next))
        self._want_ack()
        return start == self.receiver.next and bool(flags & ACK)

    def _challenge(self, now: float) -> None:
        """Ask whoever sent this to prove with the right number that it is the client (RFC 5961)."""
        if now >= self._challenge_until:
            self._challenge_until = now + CHALLENGE_PERIOD
            self._challenges = 0
        if self._challenges < CHALLENGES and not self.ack_due:
            self._challenges += 1
            self._want_ack()

    def _take_ack(
        self, ack: int, window: int, start: int, size: int, flags: int, now: float, echoed: int, blocks: Blocks
    ) -> bool:
        """Fifth check: the ACK field. Whether the segment is to be processed further."""
        sender = self.sender
        covered = ack - sender.una
        if self.state is SYN_RECEIVED:
            if covered != 0:
                self._emit_reset(ack, 0, RST)
                return False
            self._establish(window, start, ack, now)
            return True
        if covered > sender.next - sender.una or (covered < 0 and covered < -sender.largest_window):
            self._challenge(now)  # RFC 5961 §5.2
            return False
        if covered < 0:
            return True
        if start > sender.window_seq or (start == sender.window_seq and ack >= sender.window_ack):
            opened = window > sender.window
            changed = window != sender.window
            sender.window = window
            sender.window_seq = start
            sender.window_ack = ack
            if window > sender.largest_window:
                sender.largest_window = window
        else:
            opened = changed = False
        if not sender.flight or not sender.window:
            self._tries = 0  # whoever answers probes of a closed window lives (RFC 9293 §3.8.6.1)
        if self._tail is not None and ack >= self._tail:
            self._tail_answered(ack, covered, blocks)
        if covered:
            self._acknowledged(ack, echoed, now)
            if blocks and sender.sacks and sender.flight:
                self._sign_of_loss(blocks, now)
        elif sender.flight and (blocks if sender.sacks else not (size or flags & FIN or changed)):
            self._sign_of_loss(blocks, now)
        elif not opened:
            return True
        if self.state is CLOSED:
            return False
        if sender.unsent_size or sender.losses is not None or sender.fin_queued > sender.fin_sent:
            self._transmit(now)
        return True

    def _sign_of_loss(self, blocks: Blocks, now: float) -> None:
        """SACK blocks, or without SACK a duplicate ACK (RFC 5681 section 2)."""
        sender = self.sender
        una, nxt = sender.una, sender.next
        valid = []
        for left, right in blocks:
            first = _unwrap(left, una)
            last = _unwrap(right, una)
            if una < first < last <= nxt:
                valid.append((first, last))
        if sender.sacks and not valid:
            return
        stamp = None if self.timestamps is None else self.timestamps.value(now)
        if sender.sign_of_loss(valid, stamp, now):
            self._tail = None
            self._restart_timer(now)
        self._watch_losses()

    def _acknowledged(self, ack: int, echoed: int, now: float) -> None:
        """New data, and perhaps our FIN, was acknowledged."""
        sender = self.sender
        if sender.fin_sent and ack == sender.next and sender.losses is None:
            sender.all_arrived()
            self._tries = 0
            self._retransmit_at = inf  # RFC 6298 (5.2)
            self._fin_acknowledged(now)
            return
        had_room = sender.room
        trip: float | None = None
        losses = sender.losses
        if losses is not None and self.timestamps is not None:
            trip = self.timestamps.elapsed(echoed, now)
            if losses.undo is not None:
                if is_before(echoed, losses.undo[2]):
                    sender.was_spurious()  # RFC 3522 section 3.2: it answers the first sending, not the second
                else:
                    losses.undo = None
        self._tries = 0
        sender.acknowledge(ack, now, trip)
        if sender.flight:
            self._arm(now)  # RFC 6298 (5.3)
            if losses is not None:
                self._watch_losses()
        else:
            self._retransmit_at = inf  # (5.2)
            if sender.fin_sent:
                self._fin_acknowledged(now)
        if had_room <= sender.limit >> 1:
            self._notify()  # the owner may have stopped for want of room

    def _tail_answered(self, ack: int, covered: int, blocks: Blocks) -> None:
        """RFC 8985 §7.4.2: an ACK of the tail that was sent twice. If only the second arrived, it was a loss."""
        sender = self.sender
        if not covered or any(_unwrap(right, sender.una) <= ack for _, right in blocks):
            self._tail = None  # both arrived: the second is a duplicate, and told so by those who speak RFC 2883
        elif self._tail is not None and ack > self._tail:
            self._tail = None
            sender.congestion.lost(sender.next - sender.una)

    def _fin_acknowledged(self, now: float) -> None:
        if self.state is FIN_WAIT_1:
            self._move(FIN_WAIT_2)
            if not self._owned:
                self._retransmit_at = now + ABANDONED_TIMEOUT
                self.host.schedule(self, self._retransmit_at)
        elif self.state is CLOSING:
            self._linger()
        elif self.state is LAST_ACK:
            self._finish()

    def _take_payload(self, start: int, payload: memoryview, now: float) -> None:
        """Seventh step: the segment text."""
        if self._fin_received or self.state is CLOSED:
            return  # nothing may follow a FIN
        if not self._owned:
            self.abort()  # nobody can take it: RFC 9293 §3.10.4
            return
        size = len(payload)
        receiver = self.receiver
        had_gap = receiver.early is not None  # filling one is acknowledged at once (RFC 5681 section 4.2)
        if receiver.accept(start, payload):
            self._notify()
            if had_gap or size >= self.mss or not self._delays_acks:
                self._want_ack()
            elif self._ack_at == inf:
                self._delay_ack(now)
            else:
                self._want_ack()  # the second one: RFC 5681 section 4.2
        elif self._sacks or receiver.early is None:
            self._want_ack()  # early, old or beyond the window: say at once what is expected
        else:
            # A client without SACK counts duplicate ACKs: each early segment is owed one (RFC 5681 section 4.2).
            self._emit([], 0, self.sender.next, ACK, now)

    def _take_fin(self, now: float) -> None:
        """Eighth step: the client closed its side."""
        self.receiver.next += 1
        self._fin_received = True
        self._notify()
        if self.state is ESTABLISHED:
            self._move(CLOSE_WAIT)
            self._delay_ack(now)  # the far side mostly closes soon after, and our FIN then carries the ACK
            self.host.watch_idle(now + HALF_CLOSED_IDLE)
        elif self.state is FIN_WAIT_1:
            self._move(CLOSING)
            self._want_ack()
        elif self.state is FIN_WAIT_2:
            self.ack_due = True
            self._linger()


def _read_options(packet: bytes, at: int, payload_at: int) -> tuple[int | None, int, Blocks]:
    """TSval (None without the option), TSecr and SACK blocks."""
    if payload_at == at + 32:
        magic, value, echoed = LAYOUT.unpack_from(packet, at + HEADER_SIZE)
        if magic == MAGIC:
            return value, echoed, ()
    options = parse_options(packet[at + HEADER_SIZE : payload_at])
    value, echoed = options.timestamps or (None, 0)
    return value, echoed, options.sack


def _unwrap(number: int, reference: int) -> int:
    """The unwrapped sequence number nearest to `reference` whose low 32 bits are `number`."""
    ahead = (number - reference) % _MODULUS
    return reference + ahead - (_MODULUS if ahead >= _HALF else 0)
