"""SEGMENT ARRIVES: what a connection does with a segment of the client's, in the order of steps of RFC 9293 §3.10.7.

RFC 5961 says what a blind attacker may not do. The urgent pointer is not looked at: urgent bytes are bytes of the
stream like any other, in their place (RFC 6093 §6 asks receivers for just that). ECN is not negotiated: ECE and CWR
mean nothing here (RFC 3168 §6.1.1).
"""

from __future__ import annotations

import struct
from math import inf

from tunflow.stack.tcp.closing import AFTER_FIN_RECEIVED, HALF_CLOSED_IDLE
from tunflow.stack.tcp.connection import Connection
from tunflow.stack.tcp.opening import SYNAnswer
from tunflow.stack.tcp.sequence import HALF, MODULUS, Block
from tunflow.stack.tcp.state import CLOSE_WAIT, CLOSED, ESTABLISHED, SYN_HELD, SYN_RECEIVED, TIME_WAIT
from tunflow.stack.tcp.timestamps import Timestamps, read_options
from tunflow.stack.tcp.transmission import BEYOND, NOTHING, PROGRESS
from tunflow.wire.tcp import ACK, FIN, HEADER_SIZE, RST, SYN

_FIELDS = struct.Struct("!IIBBH")
"""Sequence number, acknowledgment number, data offset, flags, window: the header from its fifth byte on."""


def segment_arrived(connection: Connection, packet: bytes, at: int, end: int, now: float) -> None:
    """A segment: its TCP header starts at `at` in `packet`, its payload ends at `end`."""
    seq, ack, offset, flags, window = _FIELDS.unpack_from(packet, at + 4)
    payload_at = at + (offset >> 2 & 0x3C)
    receiver = connection.receiver
    ahead = (seq - receiver.next) & 0xFFFFFFFF  # `unwrap` in place: this is the hottest line there is
    start = receiver.next + (ahead if ahead < HALF else ahead - MODULUS)
    size = end - payload_at
    if size < 0 or offset < 0x50:
        return  # a header that claims more than there is
    if connection.state <= SYN_RECEIVED:
        if connection.state is not SYN_RECEIVED:
            _arrived_before_agreement(connection, packet, at, end, now)
            return
        start, flags = _without_known_syn(connection, start, flags)
    echoed = 0
    blocks: tuple[Block, ...] = ()
    value: int | None = None
    stamps = connection.output.timestamps
    if stamps is not None or offset >= 0x60:
        value, echoed, blocks = read_options(packet, at, payload_at)
        if stamps is not None and not flags & RST and not _is_young(connection, stamps, value, now):
            return
    is_next = start == receiver.next and receiver.advertised > start
    if not is_next and not receiver.is_acceptable(start, size + (flags & FIN) + (flags >> 1 & 1)):
        if not _answer_unacceptable(connection, start, size, flags, now):
            return
        size = 0  # the window is closed: the ACK of a segment just beyond it is still good (§3.10.7.4)
        flags &= ~FIN
    elif value is not None and stamps is not None:
        stamps.take(value, start, now)
    if flags & (RST | SYN):
        _reset_or_syn(connection, start, flags, now)
        return
    if not flags & ACK:
        return
    sender = connection.sender
    una = sender.una
    ahead = (ack - una) & 0xFFFFFFFF
    unwrapped = una + (ahead if ahead < HALF else ahead - MODULUS)
    window <<= sender.scale
    if connection.state is SYN_RECEIVED:
        if not _take_agreement(connection, ack, unwrapped, window, start, now):
            return
    else:
        length = size + (flags & FIN)
        outcome = connection.transmission.acknowledge(unwrapped, window, start, length, now, echoed, blocks)
        if outcome > NOTHING:
            connection.follow(outcome, now)
            if connection.state is CLOSED:
                return
        elif outcome == BEYOND:
            connection.challenge(now)  # RFC 5961 §5.2
            return
    connection.heard_at = now
    connection.probes = 0
    if size:
        _take_payload(connection, start, memoryview(packet)[payload_at:end], now)
    if flags & FIN and start + size == receiver.next and not receiver.fin_received and connection.state is not CLOSED:
        _take_fin(connection, now)


def _without_known_syn(connection: Connection, start: int, flags: int) -> tuple[int, int]:
    """The answer to our SYN,ACK of a simultaneous open begins behind its SYN, which is known (RFC 9293 figure 8)."""
    if connection.opening.is_active and flags & (SYN | ACK) == SYN | ACK and start + 1 == connection.receiver.next:
        return start + 1, flags & ~SYN
    return start, flags


def _take_agreement(connection: Connection, ack: int, unwrapped: int, window: int, start: int, now: float) -> bool:
    """Establish the connection. Return False if the segment does not acknowledge our SYN (RFC 9293 §3.10.7.4)."""
    if unwrapped != connection.sender.una:
        connection.output.reset(ack, 0, RST)
        return False
    _establish(connection, window, start, unwrapped, now)
    return True


def _arrived_before_agreement(connection: Connection, packet: bytes, at: int, end: int, now: float) -> None:
    """A segment in SYN-HELD or SYN-SENT."""
    seq, ack, offset, flags, window = _FIELDS.unpack_from(packet, at + 4)
    receiver = connection.receiver
    if connection.state is SYN_HELD:
        if flags & RST and seq == receiver.next & 0xFFFFFFFF:
            connection.reset_by_peer()
        return
    payload_at = at + (offset >> 2 & 0x3C)
    answer = connection.opening.answered(seq, ack, flags, packet[at + HEADER_SIZE : payload_at], connection.key, now)
    if answer is SYNAnswer.REFUSED:
        connection.reset_by_peer()
    elif answer is SYNAnswer.CROSSED:
        connection.move(SYN_RECEIVED)
        connection.transmission.restart(now)
        connection.host.schedule(connection, connection.transmission.due)
    elif answer is SYNAnswer.AGREED:
        connection.want_ack()
        _establish(connection, window, receiver.next, connection.sender.next, now)
        if end > payload_at:
            _take_payload(connection, receiver.next, memoryview(packet)[payload_at:end], now)
        if flags & FIN and seq + 1 + end - payload_at == receiver.next and connection.state is not CLOSED:
            _take_fin(connection, now)


def _is_young(connection: Connection, stamps: Timestamps, value: int | None, now: float) -> bool:
    """Return False if a timestamp, or the lack of one, rules the segment out (RFC 7323 §3.2)."""
    if value is None:
        return False  # once negotiated, the option is in every segment
    if stamps.is_old(value, now):
        connection.want_ack()  # PAWS, §5.3 R1
        return False
    return True


def _establish(connection: Connection, window: int, start: int, ack: int, now: float) -> None:
    """Our SYN is acknowledged by this segment: data may flow."""
    connection.move(ESTABLISHED)
    opening = connection.opening
    opening.packet = ()
    if opening.is_active:
        connection.notify()
    else:
        connection.host.half_open -= 1
    connection.heard_at = now
    transmission = connection.transmission
    transmission.establish(window, start, ack)
    if connection.sender.unsent_size or connection.sender.fin_queued:
        transmission.transmit(now)
        connection.follow(PROGRESS, now)


def _answer_unacceptable(connection: Connection, start: int, size: int, flags: int, now: float) -> bool:
    """First check: a segment outside the window. Return True if its ACK is to be looked at all the same."""
    if flags & RST:
        return False
    receiver = connection.receiver
    if flags & SYN:
        if connection.state is SYN_RECEIVED:
            connection.host.outgoing.append(connection.opening.packet)  # our answer was lost
        else:
            connection.challenge(now)
        return False
    if size and start < receiver.next:
        receiver.duplicate = (start, min(start + size, receiver.next))
    connection.want_ack()
    return start == receiver.next and bool(flags & ACK)


def _reset_or_syn(connection: Connection, start: int, flags: int, now: float) -> None:
    """RFC 5961 §3.2 and §4.2: only the exact next sequence number resets; anything near gets a challenge."""
    if flags & RST and start == connection.receiver.next:
        connection.reset_by_peer()
    else:
        connection.challenge(now)


def _take_payload(connection: Connection, start: int, payload: memoryview, now: float) -> None:
    """Seventh step: the segment text."""
    receiver = connection.receiver
    if receiver.fin_received or connection.state is CLOSED:
        return  # nothing may follow a FIN
    if not connection.has_owner:
        connection.abort()  # nobody can take it: RFC 9293 §3.10.4
        return
    size = len(payload)
    had_gap = receiver.early is not None  # filling one is acknowledged at once (RFC 5681 section 4.2)
    if receiver.accept(start, payload):
        connection.notify()
        if not had_gap and size < connection.sender.mss and receiver.delays_acks and receiver.ack_at == inf:
            connection.delay_ack(now)
        else:
            connection.want_ack()  # of small ones the second: RFC 5681 section 4.2
    elif connection.output.sacks or receiver.early is None:
        connection.want_ack()  # early, old or beyond the window: say at once what is expected
    else:
        # A client without SACK counts duplicate ACKs: each early segment is owed one (RFC 5681 section 4.2).
        connection.output.emit([], 0, connection.sender.next, ACK, now)


def _take_fin(connection: Connection, now: float) -> None:
    """Eighth step: the client closed its side."""
    receiver = connection.receiver
    receiver.next += 1
    receiver.fin_received = True
    connection.notify()
    state = AFTER_FIN_RECEIVED[connection.state]
    if state is TIME_WAIT:
        receiver.ack_due = True
        connection.linger()
        return
    connection.move(state)
    if state is CLOSE_WAIT:
        connection.delay_ack(now)  # the far side mostly closes soon after, and our FIN then carries the ACK
        connection.host.watch_idle(now + HALF_CLOSED_IDLE)
    else:
        connection.want_ack()
