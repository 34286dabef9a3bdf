"""One TCP connection with a client behind the device, whichever of the two opened it.

A connection holds its parts, none of which knows the connection:

- `opening`: the SYNs, and what both sides agreed on;
- `sender` and `receiver`: one direction each, with its window;
- `output`: the segments that leave; `transmission`: the sender at work, with its timers;
- `closing` is a module, for a state and a table is all that an end needs.

Rules:

1. It is a machine (`tunflow.machine`): segments, calls of the owner and time go in; packets go to `host.outgoing`.
2. Sequence numbers are unwrapped as soon as they are read (`sequence`) and wrapped when a header is built.
3. The calls of the owner (RFC 9293 §3.10.1 to §3.10.5) and time are handled here, segments in `arrival`. The state is
   moved along the edges of `state.TRANSITIONS`, and by nobody else.
4. The owner learns from `host.changed` that something changed, and looks at `readable`, `at_eof`, `send_room`, `open`
   and `closed` for what it is. Where `send_room` was little when it looked, more of it is a change.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from tunflow.conduit import StreamOwner
from tunflow.contained import Contained
from tunflow.endpoint import Buffer, Endpoint
from tunflow.stack.icmp import Reason
from tunflow.stack.tcp.closing import (
    ABANDONED_TIMEOUT,
    AFTER_FIN_ACKNOWLEDGED,
    AFTER_FIN_SENT,
    KEEPALIVE_INTERVAL,
    KEEPALIVE_PROBES,
    keep_alive_at,
)
from tunflow.stack.tcp.header import HeaderTemplate
from tunflow.stack.tcp.host import ConnectionHost
from tunflow.stack.tcp.opening import SYN_ACK_RETRIES, SYN_RETRIES, Opening
from tunflow.stack.tcp.output import LARGEST_PACKET, Output, common_mss
from tunflow.stack.tcp.receiver import Receiver
from tunflow.stack.tcp.sender import Sender
from tunflow.stack.tcp.sequence import MODULUS
from tunflow.stack.tcp.state import (
    CLOSED,
    ESTABLISHED,
    FIN_WAIT_2,
    SYN_HELD,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
    TRANSITIONS,
    State,
    check_move,
)
from tunflow.stack.tcp.transmission import PROGRESS, ROOM, Transmission
from tunflow.wire.tcp import ACK, RST, Options

LOW_WINDOW = 32 * 1024
"""While a client may still send this much it is not waiting for a window update; the next ACK tells it."""

DELAYED_ACK = 0.02
"""RFC 9293 §3.8.6.3 allows half a second; an answer to a small request comes well within this and carries the ACK."""

_HARD = {Reason.PORT, Reason.ADMIN_PROHIBITED}
"""RFC 9293 §3.9.2.2: what ends an attempt to connect; the rest may pass."""


class Connection(Contained):
    """One connection of a stack.

    Made from a SYN, it waits for its owner to call `accept` or `reject`; made by `Stack.connect`, it sends the SYN and
    tells the owner when it is `open` or `closed`. `client` is the end behind the device, `target` the one that the
    stack plays; `seq` and `options` are those of the client's SYN; `is_local`: the client is on this host, so that no
    wire lies between, on which something could get lost.
    """

    __slots__ = (
        "client", "closed", "has_owner", "heard_at", "host", "is_local", "key", "notified", "opening", "output",
        "probes", "receiver", "sender", "soft_error", "state", "syn", "target", "transmission", "user",
        "user_timeout", "wake_at", "was_reset",
    )  # fmt: skip

    def __init__(
        self,
        host: ConnectionHost,
        key: bytes,
        client: Endpoint,
        target: Endpoint,
        seq: int,
        options: Options,
        syn: bytes,
        is_local: bool = False,
    ) -> None:
        self.host = host
        self.key = key
        self.client = client
        self.target = target
        self.syn = syn
        """The IP packet that asked for the connection, for an ICMP error to quote."""
        self.is_local = is_local
        self.state = SYN_HELD
        self.closed = False
        """True if the connection is over, one way or the other."""
        self.user: StreamOwner | None = None
        """Whoever looks when the connection is in the stack's `changed`."""
        self.user_timeout: float | None = None
        """Seconds that data may go unacknowledged before the connection is given up (RFC 9293 §3.8.3, RFC 5482
        without the option); None: the usual number of retransmissions."""
        self.was_reset = False
        """True if the client ended the connection with RST, or it timed out."""
        self.soft_error: Reason | None = None
        """The last ICMP error that was no reason to end the connection, but may be why it timed out."""
        self.has_owner = True
        """True if somebody takes and sends; not any more once the connection was abandoned."""
        self.heard_at = 0.0
        """When the client last said something."""
        self.probes = 0
        """Keep-alive probes since then."""
        self.notified = False
        self.wake_at = inf
        assert isinstance(client.host, bytes)
        assert isinstance(target.host, bytes)
        mss = common_mss(options.mss, host.mtu, 40 if len(key) == 12 else 60, 0)
        template = HeaderTemplate(target.host, target.port, client.host, client.port, mss)
        self.receiver = Receiver(seq + 1, host.receive_limit, host.budget)
        self.sender = Sender(0, mss, host.send_limit, LARGEST_PACKET - template.size, host.budget)
        self.output = Output(host, template, self.receiver, self.sender)
        self.opening = Opening(self.output, options, is_local)
        self.transmission = Transmission(self.sender, self.output)

    # What the owner asks and does.

    @property
    def readable(self) -> int:
        """Bytes from the client that wait to be taken."""
        return self.receiver.queued

    @property
    def ended(self) -> bool:
        """True if the client closed its side; there may be bytes from before that."""
        return self.receiver.fin_received

    @property
    def at_eof(self) -> bool:
        """True if the client closed its side and everything before that was taken."""
        return self.receiver.fin_received and not self.receiver.queued

    @property
    def send_room(self) -> int:
        """How many bytes `send` should be given at most."""
        room = self.sender.ask_for_room()
        if room <= 0 and not self.sender.held:
            self.host.starved[self] = None  # no acknowledgment will make room, only what others give back
        return room

    @property
    def bytes_sent(self) -> int:
        """Bytes that went to the client so far, repetitions not counted."""
        sender = self.sender
        return sender.next - sender.start - sender.fin_sent

    @property
    def mss(self) -> int:
        """Bytes of payload in a packet at most; a super-segment is several."""
        return self.sender.mss

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
        """True if a content filter ended it: never, for it would stand before this."""
        return False

    @property
    def held(self) -> bool:
        """True if the client's SYN waits for `accept` or `reject`."""
        return self.state is SYN_HELD

    @property
    def open(self) -> bool:
        """True if both sides agreed that there is a connection, and it has not ended yet."""
        return self.state >= ESTABLISHED

    def connect(self, now: float) -> None:
        """Send a SYN: for `Stack.connect`, on a connection that no SYN made."""
        self.state = SYN_SENT
        self.opening.ask(self.key, now)
        self.transmission.restart(now)
        self.host.schedule(self, self.transmission.due)

    def accept(self, now: float) -> None:
        """The far side answered: answer the SYN."""
        self.syn = b""
        self.move(SYN_RECEIVED)
        self.opening.answer(self.key, now)
        self.transmission.restart(now)
        self.host.schedule(self, self.transmission.due)

    def reject(self, reset: bool) -> None:
        """The far side refused (`reset`: answer with RST), or something else tells the client, or nothing does."""
        if reset:
            self.output.reset(0, self.receiver.next, RST | ACK)
        self.finish()

    def take(self, limit: int) -> list[Buffer]:
        """Up to `limit` bytes from the client, as pieces that are the caller's; the window opens by as much."""
        receiver = self.receiver
        pieces = receiver.take(limit)
        if receiver.advertised - receiver.next < LOW_WINDOW and not receiver.ack_due:
            window = receiver.window
            if receiver.next + window - receiver.advertised >= (window + receiver.queued) >> 2:
                # RFC 9293 §3.8.6.2.2: tell of an opened window only when it is worth a packet.
                self.want_ack()
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
            transmission = self.transmission
            transmission.transmit(now)
            if transmission.due < self.wake_at:
                self.host.schedule(self, transmission.due)
        elif self.closed:
            sender.drop()  # nothing will ever take it

    def close_write(self, now: float, last: Sequence[Buffer] = ()) -> None:
        """Queue the `last` bytes, if any, and FIN right behind them. Bytes from the client are still welcome."""
        sender = self.sender
        if sender.fin_queued or self.state is CLOSED:
            return
        if last:
            sender.queue(last)
        sender.fills = False
        sender.fin_queued = True
        if self.state >= ESTABLISHED:
            self.transmission.transmit(now)
            self.follow(PROGRESS, now)

    def abandon(self, now: float) -> None:
        """The owner is done: nobody will take bytes any more. What is queued is still delivered, and then FIN."""
        self.has_owner = False
        self.user = None
        if self.closed:
            self.receiver.drop()
            return
        if self.receiver.queued or (self.state is SYN_SENT and not self.sender.unsent_size):
            self.abort()  # RFC 9293 §3.10.4 and RFC 2525 §2.17: bytes nobody read are a reset, not an orderly end
            return
        self.close_write(now)
        if self.state is FIN_WAIT_2:
            self._wait_for_fin(now)

    def abort(self) -> None:
        """End at once, with RST."""
        if self.state is CLOSED:
            self.receiver.drop()
            return
        if self.state is SYN_HELD:
            self.reject(reset=True)
            return
        if self.state is not SYN_SENT:  # §3.10.5: nothing is there to reset yet
            self._reset()
        self.finish()
        self.receiver.drop()

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"tcp {self.client} -> {self.target}"

    def cut(self) -> None:
        """As `Contained.cut`: whoever owns it finds it reset."""
        self.was_reset = True
        try:
            self.abort()
        finally:
            if not self.closed:
                self.finish()

    # Ends.

    def _fin_acknowledged(self, now: float) -> None:
        state = AFTER_FIN_ACKNOWLEDGED.get(self.state)
        if state is TIME_WAIT:
            self.linger()
        elif state is CLOSED:
            self.finish()
        elif state is FIN_WAIT_2:
            self.move(FIN_WAIT_2)
            if not self.has_owner:
                self._wait_for_fin(now)

    def _wait_for_fin(self, now: float) -> None:
        """Nobody owns the connection, and the client has not closed it: it is in FIN-WAIT-2."""
        self.transmission.due = now + ABANDONED_TIMEOUT
        self.host.schedule(self, self.transmission.due)

    def _reset(self) -> None:
        self.output.reset(self.sender.next, self.receiver.next, RST | ACK)

    def reset_by_peer(self) -> None:
        """End: the client sent RST, or a router said that the client cannot be reached."""
        self.was_reset = True
        self.finish()

    def _time_out(self) -> None:
        self.was_reset = True
        if self.state >= ESTABLISHED:
            self._reset()
        self.finish()

    def linger(self) -> None:
        """End with a place in TIME-WAIT: both sides have closed."""
        self.flush_ack()  # of the FIN: from now on only a repeated one is answered
        self.move(TIME_WAIT)
        self.finish(lingers=True)

    def finish(self, lingers: bool = False) -> None:
        """Be closed from now on; `lingers`: with a place in TIME-WAIT."""
        was_half_open = self.state <= SYN_RECEIVED and not self.opening.is_active
        self.move(CLOSED)
        self.closed = True
        sender = self.sender
        if sender.unsent_size or sender.una != sender.next:
            sender.drop()
        receiver = self.receiver
        if self.was_reset:
            if receiver.queued:
                receiver.fin_received = False  # the end of a stream whose bytes are dropped is not its end
            receiver.drop()
        else:
            receiver.drop_early()
        self.transmission.due = self.transmission.look_at = inf
        receiver.ack_at = inf
        receiver.ack_due = False
        self.syn = b""
        self.host.finished(self, lingers, was_half_open)
        self.notify()

    # Time.

    def handle_timeout(self, now: float) -> None:
        """Do what is due; `host.schedule` is called again for what is not."""
        if self.state is CLOSED:
            return
        receiver = self.receiver
        transmission = self.transmission
        if receiver.ack_at <= now:
            receiver.ack_at = inf
            receiver.delays_acks = False  # nobody answered in time: this client waits for ACKs
            receiver.ack_due = True
            self.flush_ack()
        if transmission.look_at <= now:
            transmission.look_again(now)
            self.follow(PROGRESS, now)
        if transmission.due <= now:
            self._retransmission_timeout(now)
        due = min(receiver.ack_at, transmission.due, transmission.look_at)
        if due != inf:  # when the connection is over, all are
            self.host.schedule(self, due)

    def handle_idle(self, now: float) -> float | None:
        """Keep-alive, if the client was idle for so long, and larger packets, if the path carried only small ones.

        Return when to look again, or None when the connection is over.
        """
        if self.state is CLOSED:
            return None
        transmission = self.transmission
        transmission.widen(now, self.opening.offered.mss)
        if self.state < ESTABLISHED:
            return now + KEEPALIVE_INTERVAL
        due = keep_alive_at(self.heard_at, self.probes, self.receiver.fin_received)
        if due > now:
            return min(due, transmission.widen_at)
        if self.probes >= KEEPALIVE_PROBES:
            self._time_out()
            return None
        if not self.sender.flight:
            self.output.probe(now)
            self.probes += 1
        return now + KEEPALIVE_INTERVAL

    def _retransmission_timeout(self, now: float) -> None:
        transmission = self.transmission
        if self.state is FIN_WAIT_2:
            transmission.due = inf
            if not self.has_owner:
                self.finish()  # nobody owns it, and the client never closed
        elif self.state >= ESTABLISHED:
            if transmission.time_out(now, self.user_timeout):
                self.follow(PROGRESS, now)
            else:
                self._time_out()
        elif transmission.back_off(now, SYN_RETRIES if self.state is SYN_SENT else SYN_ACK_RETRIES, self.user_timeout):
            self.host.outgoing.append(self.opening.packet)
        else:
            self._time_out()

    # What routers say.

    def path_mtu(self, seq: int, mtu: int, now: float) -> None:
        """A router on the way to the client can carry only `mtu` bytes; `seq` is the quoted sequence number."""
        if self.state >= ESTABLISHED:
            self.transmission.path_mtu(seq, mtu, now)
            self.follow(PROGRESS, now)

    def unreachable_reported(self, seq: int, reason: Reason) -> None:
        """An ICMP error says that our segment with this sequence number did not get there.

        It ends an attempt to connect if it will not pass (RFC 9293 §3.9.2.2). To a connection that was open once it is
        a hint and no more: anybody could have sent it (RFC 5927 §5.2).
        """
        sender = self.sender
        if self.state is SYN_SENT:
            if (seq + 1 - sender.next) % MODULUS:
                return
            self.soft_error = reason
            if reason in _HARD:
                self.reset_by_peer()
        elif (seq - sender.una) % MODULUS < sender.next - sender.una:
            self.soft_error = reason

    # What all of this shares.

    def follow(self, outcome: int, now: float) -> None:
        """Follow the sender, which has worked with this outcome of `Transmission`.

        Our FIN may have left or arrived, the owner may wait for room, and its timers may be due at other times.
        """
        sender = self.sender
        if sender.fin_sent:
            state = AFTER_FIN_SENT.get(self.state)
            if state is not None:
                self.move(state)
            if sender.una == sender.next:
                self._fin_acknowledged(now)
        transmission = self.transmission
        due = transmission.due if transmission.due < transmission.look_at else transmission.look_at
        if due < self.wake_at:
            self.host.schedule(self, due)
        if outcome == ROOM:
            self.notify()

    def challenge(self, now: float) -> None:
        """Ask whoever sent this to prove with the right number that it is the client (RFC 5961)."""
        if self.receiver.may_challenge(now):
            self.want_ack()

    def flush_ack(self) -> None:
        """Send the ACK that is due, if no segment carried it in the meantime."""
        if self.receiver.ack_due and self.state >= ESTABLISHED:
            self.output.emit([], 0, self.sender.next, ACK, self.host.now)

    def want_ack(self) -> None:
        """Acknowledge when the batch is done."""
        receiver = self.receiver
        if not receiver.ack_due:
            receiver.ack_due = True
            self.host.acks.append(self)

    def delay_ack(self, now: float) -> None:
        """Acknowledge soon, unless something that leaves before carries the ACK."""
        receiver = self.receiver
        if receiver.ack_at == inf:
            receiver.ack_at = now + DELAYED_ACK
            self.host.schedule(self, receiver.ack_at)

    def move(self, state: State) -> None:
        """Be in another state; raises AssertionError if no edge of the table leads there."""
        if state not in TRANSITIONS[self.state]:
            check_move(self.state, state)  # raises
        self.state = state

    def notify(self) -> None:
        """Have the owner look, once for all changes until it does."""
        if not self.notified and self.has_owner:
            self.notified = True
            self.host.changed.append(self)
