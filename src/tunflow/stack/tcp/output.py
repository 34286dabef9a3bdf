"""The segments of a connection that leave: their headers, the window that they offer, and their options.

Nothing is acknowledged at once: `Receiver.ack_due` is set, and the stack flushes when the batch that was read is done,
so a batch costs one ACK; any segment that leaves before carries it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from tunflow.endpoint import Buffer
from tunflow.stack.tcp.header import HeaderTemplate
from tunflow.stack.tcp.host import ConnectionHost
from tunflow.stack.tcp.receiver import Receiver
from tunflow.stack.tcp.sender import Sender
from tunflow.stack.tcp.sequence import MODULUS
from tunflow.stack.tcp.timestamps import SIZE as TIMESTAMPS_SIZE
from tunflow.stack.tcp.timestamps import Timestamps
from tunflow.wire.tcp import ACK, Options, build_options

DEFAULT_MSS = 536
DEFAULT_MSS_V6 = 1220
"""RFC 9293 §3.7.1: what a peer that sends no MSS option can take."""

SMALLEST_MSS = 64
"""An MSS option below this is taken as this: a peer must not make us send a header for every few bytes."""

LARGEST_PACKET = 65535


def common_mss(offered: int | None, mtu: int, ip_and_tcp: int, option_size: int) -> int:
    """Return the bytes of payload in a packet at most (RFC 9293 §3.7.1).

    `offered` is the peer's MSS option, `mtu` the device's, `ip_and_tcp` the size of the headers, and `option_size` that
    of the options in every segment.
    """
    default = DEFAULT_MSS if ip_and_tcp == 40 else DEFAULT_MSS_V6
    return max(SMALLEST_MSS, min(offered or default, mtu - ip_and_tcp) - option_size)


class Output:
    """Where segments leave: what `sender` and `receiver` say goes to the stack's `outgoing`."""

    __slots__ = ("host", "receiver", "sacks", "scale", "sender", "template", "timestamps")

    def __init__(self, host: ConnectionHost, template: HeaderTemplate, receiver: Receiver, sender: Sender) -> None:
        self.host = host
        self.template = template
        self.receiver = receiver
        self.sender = sender
        self.scale = 0
        """The shift of the windows that we offer (RFC 7323 §2)."""
        self.sacks = False
        """True if the peer understands SACK blocks (RFC 2018)."""
        self.timestamps: Timestamps | None = None
        """The timestamps option, if both sides speak it."""

    @property
    def is_ipv4(self) -> bool:
        """True if the headers are IPv4's; else they are IPv6's."""
        return self.template.size == 40

    @property
    def header_size(self) -> int:
        """Bytes of IP and TCP header, with the options that every segment carries."""
        return self.template.size + (0 if self.timestamps is None else TIMESTAMPS_SIZE)

    def fit(self, offered: int | None) -> None:
        """Cut packets to what a peer with this MSS option takes and the device carries."""
        option_size = 0 if self.timestamps is None else TIMESTAMPS_SIZE
        self.set_mss(common_mss(offered, self.host.mtu, self.template.size, option_size))

    def set_mss(self, mss: int) -> None:
        """Cut packets to this many bytes of payload from now on."""
        option_size = 0 if self.timestamps is None else TIMESTAMPS_SIZE
        self.template.set_mss(mss, option_size)
        self.sender.set_mss(mss, LARGEST_PACKET - self.template.size - option_size)

    def emit(self, pieces: Sequence[Buffer], size: int, seq: int, flags: int, now: float) -> None:
        """Send `pieces`, which are `size` bytes, at `seq`, with the ACK that is due."""
        receiver = self.receiver
        field = receiver.window >> self.scale
        if field > 65535:
            field = 65535
        edge = receiver.next + (field << self.scale)
        if edge > receiver.advertised:
            receiver.advertised = edge
        options = b""
        timestamps = self.timestamps
        if timestamps is not None:
            options = timestamps.encode(now)
            timestamps.last_ack = receiver.next
        if self.sacks and (receiver.early is not None or receiver.duplicate is not None):
            # Blocks ride on ACKs without data only, so that no segment is longer than the MSS allows.
            if not size:
                options += self._sack_option()
                receiver.ack_due = False
        else:
            receiver.ack_due = False
        if receiver.ack_at != inf:
            receiver.ack_at = inf
            receiver.delays_acks = True  # something carried the ACK in time
        self.host.outgoing.append((*self.template.build(seq, receiver.next, flags, field, size, options), *pieces))

    def _sack_option(self) -> bytes:
        blocks = self.receiver.sack_blocks()
        wrapped = tuple((left % MODULUS, right % MODULUS) for left, right in blocks)
        return build_options(Options(sack=wrapped[: 4 if self.timestamps is None else 3]))

    def probe(self, now: float) -> None:
        """Ask for an ACK: an old sequence number is not acceptable, so the client must say what it expects (§3.8.4).

        It serves as zero-window probe too; unlike one with a byte of data it leaves nothing in flight.
        """
        self.emit([], 0, self.sender.next - 1, ACK, now)

    def reset(self, seq: int, ack: int, flags: int) -> None:
        """Send a segment that ends the connection, or one that never was."""
        stamp = b"" if self.timestamps is None else self.timestamps.encode(self.host.now)
        self.host.outgoing.append(self.template.build(seq, ack, flags, 0, 0, stamp))
