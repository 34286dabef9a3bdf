"""The sending side at work: segments leave, are acknowledged, and are sent again when they are lost or late.

`Sender` knows what may be sent; here are its timers, which are retransmission (RFC 6298), tail loss probes and
reordering (RFC 8985), and what a path does to it that carries less than the device (RFC 1191, RFC 8201, RFC 4821). Of
the connection it knows nothing: who calls looks at `due`, `look_at` and `Sender.fin_sent` afterwards.
"""

from __future__ import annotations

from math import inf

from tunflow.stack.tcp.output import Output
from tunflow.stack.tcp.rtt import RTO_AFTER_SYN_LOSS
from tunflow.stack.tcp.sender import Sender
from tunflow.stack.tcp.sequence import MODULUS, Block, blocks_within, unwrap
from tunflow.stack.tcp.timestamps import SIZE as TIMESTAMPS_SIZE
from tunflow.stack.tcp.timestamps import is_before

RETRIES = 10
"""RFC 9293 §3.8.3: R2 is at least 100 seconds of retransmission; ten doublings from 200 ms are over three minutes."""

SMALLEST_MTU_V4 = 552
SMALLEST_MTU_V6 = 1280
"""A smaller path MTU is not believed (RFC 8200 §5; for IPv4 Linux's bound): it would be somebody's way to make us send
a header for every few bytes (RFC 5927 §7)."""

BLACK_HOLE = {3: (1024, 1220), 5: (536, 1220)}
"""RFC 4821 §7.7: after this many time-outs of one full-size segment, packets of this payload (IPv4, IPv6), options
included: 1220 is what IPv6 carries everywhere (RFC 8200 §5)."""

WIDEN_AFTER = 600.0
"""RFC 1191 §6.3, RFC 8201 §4: seconds until a larger packet is tried again; each time it was too large, twice as many
(RFC 4821 §7.7 asks for a slow search: in a black hole it costs three time-outs)."""

BEYOND = -1
"""An ACK acknowledges what was never sent, or is too old to be believed (RFC 5961 §5.2)."""

NOTHING = 0
"""An ACK says nothing that was not known."""

PROGRESS = 1
"""An ACK says something new."""

ROOM = 2
"""An ACK does, and makes room for an owner that stopped for want of it."""


class Transmission:
    """Drives `sender`; what leaves does so by `output`."""

    __slots__ = (
        "due", "is_probe", "look_at", "narrowed", "output", "sender", "stalled_at", "tail", "tries", "widen_at",
    )  # fmt: skip

    def __init__(self, sender: Sender, output: Output) -> None:
        self.sender = sender
        self.output = output
        self.due = inf
        """When something is to be sent again."""
        self.look_at = inf
        """When what may only be late counts as lost (RFC 8985 §6.3)."""
        self.is_probe = False
        """True if `due` is the time for a tail loss probe, not yet for a retransmission."""
        self.tail: int | None = None
        """TLP.end_seq, while it is not known whether a probe that repeated a segment repaired a loss."""
        self.tries = 0
        """Time-outs since something was acknowledged."""
        self.stalled_at = 0.0
        """When what timed out first had been sent."""
        self.narrowed = 0
        """How often the path turned out to be narrower."""
        self.widen_at = inf
        """When to try larger packets again."""

    def establish(self, window: int, start: int, ack: int) -> None:
        """Begin with the window that the segment offers which acknowledged our SYN."""
        sender = self.sender
        sender.window = sender.largest_window = window
        sender.window_seq = start
        sender.window_ack = ack
        if self.tries:
            sender.rtt.settle(RTO_AFTER_SYN_LOSS)  # the SYN was sent again, so nothing was measured
            self.tries = 0
        self.due = inf

    def transmit(self, now: float, override: bool = False) -> None:
        """Send all that the windows allow; `override` is that of `Sender.next_segment`."""
        sender = self.sender
        was_empty = not sender.flight
        if was_empty and now - sender.sent_at > sender.rtt.rto:
            sender.congestion.restart()
        while True:
            segment = sender.next_segment(now, override)
            if segment is None:
                break
            self.output.emit(segment.pieces, segment.size, segment.start, segment.flags, now)
            if not sender.unsent_size and sender.losses is None and sender.fin_sent == sender.fin_queued:
                break  # as `next_segment` would say
        if not was_empty:
            return
        if sender.flight:
            self._arm(now)  # RFC 6298 (5.1)
        elif sender.unsent_size and self.due == inf:
            self.restart(now)  # the window is closed: probe it (RFC 9293 §3.8.6.1)

    # Timers.

    def _arm(self, now: float) -> None:
        """Start the timer for what is in flight, for a tail loss probe where that comes first."""
        sender = self.sender
        rtt = sender.rtt
        wait = rtt.rto
        self.is_probe = False
        if sender.probes_tail and rtt.probe_timeout < wait:
            wait = rtt.probe_timeout
            self.is_probe = True
        self.due = now + wait

    def restart(self, now: float) -> None:
        """Start the timer for a retransmission."""
        self.is_probe = False
        self.due = now + self.sender.rtt.rto

    def back_off(self, now: float, retries: int, limit: float | None) -> bool:
        """Count a time-out, and wait twice as long for the next. Return False if it was one too many.

        `retries` may follow upon each other; `limit` is the seconds that all of them may take, None without one.
        """
        rtt = self.sender.rtt
        self.tries += 1
        if self.tries == 1:
            self.stalled_at = now - rtt.rto
        if self.tries > retries or (limit is not None and now - self.stalled_at >= limit):
            return False
        self.tail = None
        rtt.timed_out()
        self.due = now + rtt.rto
        if limit is not None:
            self.due = min(self.due, self.stalled_at + limit)
        return True

    def time_out(self, now: float, limit: float | None) -> bool:
        """Send again what nobody acknowledged in time, or probe. Return False if it is time to give up.

        `limit` is as for `back_off`.
        """
        sender = self.sender
        if self.is_probe:
            self._probe_tail(now)
            return True
        if not self.back_off(now, RETRIES, limit):
            return False
        if sender.flight:
            self._suspect_black_hole(now)
            sender.timed_out(again=self.tries > 1, stamp=self._stamp(now))
            self.transmit(now)
        elif sender.unsent_size and sender.window:
            self.transmit(now, override=True)
        elif sender.unsent_size:
            self.output.probe(now)
        else:
            self.due = inf
        return True

    def _more_room(self, now: float) -> None:
        """A peer has more room. If it was asked again and again, up to once a minute by now, the back-off ends.

        What is in flight and timed out it had dropped for want of room: Linux does when its buffer is full by its own
        count, of whole packets, before the window is. BSD takes back what a closing window covers no more, which comes
        to the same. Done at most once for each time-out.
        """
        sender = self.sender
        rtt, flight = sender.rtt, sender.flight
        if rtt.settled is None or not (flight[0].retransmitted if flight else sender.unsent_size):
            return
        rtt.settle(rtt.settled)
        if flight:
            sender.timed_out(again=True, stamp=self._stamp(now))
            self.tail = None
        self.restart(now)

    def _probe_tail(self, now: float) -> None:
        """RFC 8985 §7.3: nothing was heard for two round trips; a segment at the end shows what is missing before it.

        A single packet in flight may wait for the client's delayed ACK, and is left to the retransmission timer.
        """
        sender = self.sender
        rtt = sender.rtt
        self.is_probe = False
        self.due += rtt.rto - rtt.probe_timeout
        if self.tail is not None or sender.losses is not None or sender.next - sender.una <= sender.mss:
            return
        due = sender.sent_at + rtt.probe_timeout
        if due > now:
            self.is_probe = True
            self.due = due
            return
        segment = sender.tail_probe(now)
        self.output.emit(segment.pieces, segment.size, segment.start, segment.flags, now)
        if segment.retransmitted:
            self.tail = sender.next
        self.due = now + rtt.rto

    def look_again(self, now: float) -> None:
        """What may only have been late has not come (RFC 8985 §6.3)."""
        begins = self.sender.look_again(self._stamp(now), now)
        self._losses_changed(begins, now)
        self.transmit(now)

    # Acknowledgments.

    def acknowledge(
        self, ack: int, window: int, start: int, length: int, now: float, echoed: int, blocks: tuple[Block, ...]
    ) -> int:
        """Take the ACK of a segment, and send what it allows; return one of the four constants above.

        `ack` and `start` are unwrapped, `window` is in bytes, `length` that of the segment; `echoed` is its TSecr.
        """
        sender = self.sender
        covered = ack - sender.una
        if covered > sender.next - sender.una or (covered < 0 and covered < -sender.largest_window):
            return BEYOND
        if covered < 0:
            return NOTHING
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
            self.tries = 0  # whoever answers probes of a closed window lives (RFC 9293 §3.8.6.1)
        if self.tail is not None and ack >= self.tail:
            self._tail_acknowledged(ack, covered, blocks)
        outcome = PROGRESS
        if covered:
            if self._advance(ack, echoed, now):
                outcome = ROOM
            if blocks and sender.sacks and sender.flight:
                self._sign_of_loss(blocks, now)
        elif sender.flight and (blocks if sender.sacks else not (length or changed)):
            self._sign_of_loss(blocks, now)
        elif not opened:
            return NOTHING
        if opened and not covered:
            self._more_room(now)
        if sender.unsent_size or sender.losses is not None or sender.fin_queued > sender.fin_sent:
            self.transmit(now)
        return outcome

    def _advance(self, ack: int, echoed: int, now: float) -> bool:
        """New data, and perhaps our FIN, was acknowledged. Return True if that makes room that is waited for."""
        sender = self.sender
        self.tries = 0
        losses = sender.losses
        if losses is None and sender.fin_sent and ack == sender.next:
            sender.all_arrived()
            self.due = inf  # RFC 6298 (5.2)
            return False
        held = sender.unsent_size + sender.next - sender.una
        trip: float | None = None
        if losses is not None and self.output.timestamps is not None:
            trip = self.output.timestamps.elapsed(echoed, now)
            if losses.undo is not None:
                if is_before(echoed, losses.undo[2]):
                    sender.was_spurious()  # RFC 3522 section 3.2: it answers the first sending, not the second
                else:
                    losses.undo = None
        sender.acknowledge(ack, now, trip)
        if not sender.flight:
            self.due = inf  # (5.2)
        else:
            self._arm(now)  # (5.3)
            if losses is not None:
                self._losses_changed(False, now)
        if sender.is_waited_for:
            sender.is_waited_for = False
            return True
        return held >= sender.limit >> 1

    def _sign_of_loss(self, blocks: tuple[Block, ...], now: float) -> None:
        """SACK blocks, or without SACK a duplicate ACK (RFC 5681 section 2)."""
        sender = self.sender
        valid = blocks_within(blocks, sender.una, sender.next)
        if valid or not sender.sacks:
            begins = sender.sign_of_loss(valid, self._stamp(now), now)
            self._losses_changed(begins, now)

    def _losses_changed(self, begins: bool, now: float) -> None:
        """Follow what the sender has found out about losses; `begins`: a recovery does."""
        if begins:
            self.tail = None
            self.restart(now)
        losses = self.sender.losses
        self.look_at = inf if losses is None else losses.look_again

    def _tail_acknowledged(self, ack: int, covered: int, blocks: tuple[Block, ...]) -> None:
        """RFC 8985 §7.4.2: an ACK of the tail that was sent twice. If only the second arrived, it was a loss."""
        sender = self.sender
        if not covered or any(unwrap(right, sender.una) <= ack for _, right in blocks):
            self.tail = None  # both arrived: the second is a duplicate, and told so by those who speak RFC 2883
        elif self.tail is not None and ack > self.tail:
            self.tail = None
            sender.congestion.lost(sender.next - sender.una)

    def _stamp(self, now: float) -> int | None:
        timestamps = self.output.timestamps
        return None if timestamps is None else timestamps.value(now)

    # The path.

    def path_mtu(self, seq: int, mtu: int, now: float) -> None:
        """A router on the way to the client can carry only `mtu` bytes; `seq` is the quoted sequence number.

        RFC 1191 §6, RFC 8201 §4. An error whose quote is not in flight is forged or old (RFC 5927 §4.1, §7).
        """
        sender = self.sender
        output = self.output
        if (seq - sender.una) % MODULUS >= sender.next - sender.una:
            return
        mss = max(mtu, SMALLEST_MTU_V4 if output.is_ipv4 else SMALLEST_MTU_V6) - output.header_size
        if mss < sender.mss:
            self._narrow(mss, now)
            sender.too_big()
            self.restart(now)
            self.transmit(now)

    def widen(self, now: float, offered: int | None) -> None:
        """Try larger packets again if it is time for that; `offered` is the client's MSS option."""
        if self.widen_at <= now:
            self.widen_at = inf
            self.output.fit(offered)

    def _suspect_black_hole(self, now: float) -> None:
        """Full-size segments that never arrive may be too big for a path that does not say so."""
        sizes = BLACK_HOLE.get(self.tries)
        sender = self.sender
        head = sender.flight[0]
        if sizes is not None and head.end - head.start >= sender.mss:
            smaller = sizes[not self.output.is_ipv4] - (0 if self.output.timestamps is None else TIMESTAMPS_SIZE)
            if smaller < sender.mss:
                self._narrow(smaller, now)

    def _narrow(self, mss: int, now: float) -> None:
        """The path carries no more than this; perhaps another does later."""
        self.widen_at = now + WIDEN_AFTER * (1 << min(self.narrowed, 6))
        self.narrowed += 1
        self.output.host.watch_idle(self.widen_at)
        self.output.set_mss(mss)
