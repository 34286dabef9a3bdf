"""The second third of a connection: how it begins, what time does to it, and how it ends.

Read RFC 9293 §3.5 and §3.6 (opening and closing), §3.8.3 and §3.8.4 (giving up, keep-alive), RFC 6298 (the
retransmission timer), RFC 5927 (what an ICMP error may do).
"""

from __future__ import annotations

from functools import lru_cache
from math import inf

from tunflow.stack.icmp import Reason
from tunflow.stack.tcp.outbound import Outbound
from tunflow.stack.tcp.rtt import RTO_AFTER_SYN_LOSS
from tunflow.stack.tcp.state import CLOSED, ESTABLISHED, FIN_WAIT_2, SYN_RECEIVED, SYN_SENT, TIME_WAIT
from tunflow.stack.tcp.timestamps import SIZE as TIMESTAMPS_SIZE
from tunflow.stack.tcp.timestamps import Timestamps
from tunflow.wire.tcp import ACK, RST, SYN, Options, build_options

WINDOW_SCALE = 7
"""RFC 7323 §2: the shift that we ask for; 65535 << 7 is 8 MiB, well above any `receive_limit`."""

KEEPALIVE_IDLE = 7200.0
KEEPALIVE_INTERVAL = 75.0
KEEPALIVE_PROBES = 9
"""RFC 9293 §3.8.4: two hours at least; interval and number are Linux's."""

HALF_CLOSED_IDLE = 75.0
"""The same for a client that closed its side: kernels forget a closed socket after a minute without data (Linux:
tcp_fin_timeout), and then nobody would ever tell us that what the far side keeps open has no reader."""

SYN_RETRIES = 7
"""RFC 9293 §3.8.3 (MUST-23): a SYN is repeated for at least three minutes; seven repeats last 183 seconds."""

SYN_ACK_RETRIES = 5
RETRIES = 10
"""RFC 9293 §3.8.3: R2 is at least 100 seconds of retransmission; ten doublings from 200 ms are over three minutes."""

_TRIES = {SYN_SENT: SYN_RETRIES, SYN_RECEIVED: SYN_ACK_RETRIES}

ABANDONED_TIMEOUT = 60.0
"""How long FIN-WAIT-2 lasts once nobody owns the connection: RFC 9293 §3.10.4 leaves it open, this is Linux's."""

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

_HARD = {Reason.PORT, Reason.ADMIN_PROHIBITED}
"""RFC 9293 §3.9.2.2: what ends an attempt to connect; the rest may pass."""


@lru_cache(64)
def _plain_options(mss: int, window_scale: int | None, sack_permitted: bool) -> bytes:
    """The options of a SYN without timestamps: for nearly all connections the same."""
    return build_options(Options(mss, window_scale, sack_permitted))


class Lifecycle(Outbound):
    """Beginnings, timers and ends."""

    __slots__ = ()

    # Beginnings.

    def connect(self, now: float) -> None:
        """Send a SYN: for `Stack.connect`, on a connection that no SYN made."""
        self._is_active = True
        self.state = SYN_SENT
        self._choose_sequence(now)
        stamps = Timestamps(self.host.timestamp_offset(self.key), 0, 0, now)
        everything = Options(window_scale=WINDOW_SCALE, sack_permitted=True, timestamps=(stamps.value(now), 0))
        self._offer(SYN, self._our_options(everything, now), now)

    def accept(self, now: float) -> None:
        """The far side answered: answer the SYN."""
        self._choose_sequence(now)
        self.syn = b""
        self._negotiate(self._syn_options, now)
        self._move(SYN_RECEIVED)
        self._offer(SYN | ACK, self._our_options(self._syn_options, now), now)

    def _choose_sequence(self, now: float) -> None:
        sender = self.sender
        sender.start = sender.una = sender.next = self.host.initial_sequence(self.key, now) + 1

    def _our_options(self, offered: Options, now: float) -> bytes:
        """What our SYN says: everything that we speak, in an answer only what was `offered`."""
        mss = self.host.mtu - (40 if self._is_ipv4 else 60)
        scale = WINDOW_SCALE if offered.window_scale is not None else None
        if offered.timestamps is None:
            return _plain_options(mss, scale, offered.sack_permitted)
        stamps = self.timestamps
        value = offered.timestamps if stamps is None else (stamps.value(now), stamps.recent)
        return build_options(Options(mss, scale, offered.sack_permitted, timestamps=value))

    def _negotiate(self, options: Options, now: float) -> None:
        """Take the options of the client's SYN or SYN,ACK; ours offered all that we speak."""
        self._syn_options = options
        if options.window_scale is not None:
            self._peer_scale = options.window_scale
            self._scale = WINDOW_SCALE
        self._sacks = self.sender.sacks = options.sack_permitted
        self._probes_tail = self._sacks and not self.is_local
        if options.timestamps is not None:
            offset = self.host.timestamp_offset(self.key)
            self.timestamps = Timestamps(offset, options.timestamps[0], self.receiver.next, now)
        if self.timestamps is not None or self._is_active:  # else it is what it was when the SYN came
            self._set_mss(self._common_mss(options))
        if self.is_local:
            self.receiver.whole = self.sender.largest_segment
            self.sender.limit = 2 * self.host.send_limit  # one half is filled while the client takes the other

    def _offer(self, flags: int, options: bytes, now: float) -> None:
        """Send our SYN or SYN,ACK, and repeat it until it is answered."""
        host = self.host
        receiver = self.receiver
        window = min(receiver.window, 65535)  # RFC 7323 §2.2: the window of a SYN is never scaled
        receiver.advertised = receiver.next + window
        acked = receiver.next if flags & ACK else 0
        self._syn = self.template.build(self.sender.next - 1, acked, flags, window, 0, options)
        host.outgoing.append(self._syn)
        self._restart_timer(now)

    def _establish(self, window: int, start: int, ack: int, now: float) -> None:
        self._move(ESTABLISHED)
        if self._is_active:
            self._notify()
        else:
            self.host.established()
        self._syn = ()
        sender = self.sender
        sender.window = sender.largest_window = window
        sender.window_seq = start
        sender.window_ack = ack
        if self._tries:
            sender.rtt.rto = RTO_AFTER_SYN_LOSS  # the SYN was sent again, so nothing was measured
        self._retransmit_at = inf
        self._tries = 0
        self._heard_at = now
        if sender.unsent_size or sender.fin_queued:
            self._transmit(now)

    # Time.

    def handle_timeout(self, now: float) -> None:
        """Do what is due; `host.schedule` is called again for what is not."""
        if self.state is CLOSED:
            return
        if self._ack_at <= now:
            self._ack_at = inf
            self._delays_acks = False  # nobody answered in time: this client waits for ACKs
            self.ack_due = True
            self.flush_ack()
        if self._look_at <= now:
            self._look_again(now)
        if self._retransmit_at <= now:
            self._retransmission_timeout(now)
        due = min(self._ack_at, self._retransmit_at, self._look_at)
        if due != inf:  # when the connection is over, both are
            self.host.schedule(self, due)

    def handle_idle(self, now: float) -> float | None:
        """Keep-alive, if the client was idle for so long, and larger packets, if the path carried only small ones.

        When to look again, or None when the connection is over.
        """
        if self.state is CLOSED:
            return None
        if self._widen_at <= now:
            self._widen_at = inf
            self._set_mss(self._common_mss(self._syn_options))
        if self.state < ESTABLISHED:
            return now + KEEPALIVE_INTERVAL
        due = self._heard_at + (HALF_CLOSED_IDLE if self._fin_received else KEEPALIVE_IDLE)
        due += self._probes * KEEPALIVE_INTERVAL
        if due > now:
            return min(due, self._widen_at)
        if self._probes >= KEEPALIVE_PROBES:
            self._time_out()
            return None
        if not self.sender.flight:
            self._probe(now)
            self._probes += 1
        return now + KEEPALIVE_INTERVAL

    def _retransmission_timeout(self, now: float) -> None:
        sender = self.sender
        if self.state is FIN_WAIT_2:
            self._retransmit_at = inf
            if self._owned:
                return
            self._finish()  # nobody owns it, and the client never closed
            return
        if self._is_probe:
            self._probe_tail(now)
            return
        self._tries += 1
        if self._tries == 1:
            self._stalled_at = now - sender.rtt.rto
        limit = self.user_timeout
        if self._tries > _TRIES.get(self.state, RETRIES) or (limit is not None and now - self._stalled_at >= limit):
            self._time_out()
            return
        self._tail = None
        sender.rtt.timed_out()
        self._retransmit_at = now + sender.rtt.rto
        if limit is not None:
            self._retransmit_at = min(self._retransmit_at, self._stalled_at + limit)
        if self.state < ESTABLISHED:
            self.host.outgoing.append(self._syn)
        elif sender.flight:
            self._suspect_black_hole(now)
            stamp = None if self.timestamps is None else self.timestamps.value(now)
            sender.timed_out(again=self._tries > 1, stamp=stamp)
            self._transmit(now)
        elif sender.unsent_size and sender.window:
            self._transmit(now, override=True)
        elif sender.unsent_size:
            self._probe(now)
        else:
            self._retransmit_at = inf

    def _probe_tail(self, now: float) -> None:
        """RFC 8985 §7.3: nothing was heard for two round trips; a segment at the end shows what is missing before it.

        A single packet in flight may wait for the client's delayed ACK, and is left to the retransmission timer.
        """
        sender = self.sender
        rtt = sender.rtt
        self._is_probe = False
        self._retransmit_at += rtt.rto - rtt.probe_timeout
        if self._tail is not None or sender.losses is not None or sender.next - sender.una <= self.mss:
            return
        due = sender.sent_at + rtt.probe_timeout
        if due > now:
            self._is_probe = True
            self._retransmit_at = due
            return
        segment = sender.tail_probe(now)
        self._emit_segment(segment, now)
        if segment.retransmitted:
            self._tail = sender.next
        self._retransmit_at = now + rtt.rto

    def _look_again(self, now: float) -> None:
        """What may only have been late has not come (RFC 8985 §6.3)."""
        stamp = None if self.timestamps is None else self.timestamps.value(now)
        if self.sender.look_again(stamp, now):
            self._tail = None
            self._restart_timer(now)
        self._watch_losses()
        self._transmit(now)

    def _watch_losses(self) -> None:
        losses = self.sender.losses
        self._look_at = inf if losses is None else losses.look_again
        if self._look_at < self.wake_at:
            self.host.schedule(self, self._look_at)

    def _time_out(self) -> None:
        self.was_reset = True
        if self.state >= ESTABLISHED:
            self._emit_reset(self.sender.next, self.receiver.next, RST | ACK)
        self._finish()

    # The path.

    def path_mtu(self, seq: int, mtu: int, now: float) -> None:
        """A router on the way to the client can carry only `mtu` bytes; `seq` is the quoted sequence number.

        RFC 1191 §6, RFC 8201 §4. An error whose quote is not in flight is forged or old (RFC 5927 §4.1, §7).
        """
        sender = self.sender
        if self.state < ESTABLISHED or (seq - sender.una) % (1 << 32) >= sender.next - sender.una:
            return
        mss = max(mtu, SMALLEST_MTU_V4 if self._is_ipv4 else SMALLEST_MTU_V6) - self._header_size
        if mss < self.mss:
            self._narrow(mss, now)
            sender.too_big()
            self._restart_timer(now)
            self._transmit(now)

    def unreachable_reported(self, seq: int, reason: Reason) -> None:
        """An ICMP error says that our segment with this sequence number did not get there.

        It ends an attempt to connect if it will not pass (RFC 9293 §3.9.2.2). To a connection that was open once it is
        a hint and no more: anybody could have sent it (RFC 5927 §5.2).
        """
        sender = self.sender
        if self.state is SYN_SENT:
            if (seq + 1 - sender.next) % (1 << 32):
                return
            self.soft_error = reason
            if reason in _HARD:
                self.was_reset = True
                self._finish()
        elif (seq - sender.una) % (1 << 32) < sender.next - sender.una:
            self.soft_error = reason

    def _narrow(self, mss: int, now: float) -> None:
        """The path carries no more than this; perhaps another does later."""
        self._widen_at = now + WIDEN_AFTER * (1 << min(self._narrowed, 6))
        self._narrowed += 1
        self.host.watch_idle(self._widen_at)
        self._set_mss(mss)

    def _suspect_black_hole(self, now: float) -> None:
        """Full-size segments that never arrive may be too big for a path that does not say so."""
        sizes = BLACK_HOLE.get(self._tries)
        head = self.sender.flight[0]
        if sizes is not None and head.end - head.start >= self.mss:
            smaller = sizes[not self._is_ipv4] - (0 if self.timestamps is None else TIMESTAMPS_SIZE)
            if smaller < self.mss:
                self._narrow(smaller, now)

    # Ends.

    def _reset_by_peer(self) -> None:
        self.was_reset = True
        self._finish()

    def _linger(self) -> None:
        self.flush_ack()  # of the FIN: from now on only a repeated one is answered
        self._move(TIME_WAIT)
        self._end(lingers=True)

    def _finish(self) -> None:
        self._end(lingers=False)

    def _end(self, lingers: bool) -> None:
        was_half_open = self.state <= SYN_RECEIVED and not self._is_active
        self._move(CLOSED)
        self.closed = True
        sender = self.sender
        if sender.unsent_size or sender.una != sender.next:
            sender.drop()
        if self.was_reset:
            if self.receiver.queued:
                self._fin_received = False  # the end of a stream whose bytes are dropped is not its end
            self.receiver.drop()
        self._ack_at = self._retransmit_at = self._look_at = inf
        self.ack_due = False
        self.syn = b""
        self.host.finished(self, lingers, was_half_open)
        self._notify()
