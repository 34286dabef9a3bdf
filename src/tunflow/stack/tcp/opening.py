"""How a connection begins: the SYN of either side, and what both agreed on (RFC 9293 §3.5)."""

from __future__ import annotations

from enum import Enum, auto
from functools import lru_cache

from tunflow.device import Packet
from tunflow.stack.tcp.output import Output
from tunflow.stack.tcp.sequence import unwrap
from tunflow.stack.tcp.timestamps import Timestamps
from tunflow.wire.tcp import ACK, RST, SYN, Options, build_options, parse_options

SYN_RETRIES = 7
"""RFC 9293 §3.8.3 (MUST-23): a SYN is repeated for at least three minutes; seven repeats last 183 seconds."""

SYN_ACK_RETRIES = 5

WINDOW_SCALE = 7
"""RFC 7323 §2: the shift that we ask for; 65535 << 7 is 8 MiB, well above any `receive_limit`."""

EVERYTHING = Options(window_scale=WINDOW_SCALE, sack_permitted=True)
"""What our own SYN asks for, beside timestamps."""


@lru_cache(64)
def _plain_options(mss: int, window_scale: int | None, sack_permitted: bool) -> bytes:
    """The options of a SYN without timestamps: for nearly all connections the same."""
    return build_options(Options(mss, window_scale, sack_permitted))


class SYNAnswer(Enum):
    """What a segment in SYN-SENT means."""

    NONE = auto()
    REFUSED = auto()
    CROSSED = auto()
    """It is a SYN of the client's own (a simultaneous open), and was answered."""
    AGREED = auto()


class Opening:
    """The SYNs of a connection. `offered` are the options of the client's; `is_local`: it is on this host."""

    __slots__ = ("is_active", "is_local", "offered", "output", "packet")

    def __init__(self, output: Output, offered: Options, is_local: bool) -> None:
        self.output = output
        self.offered = offered
        self.is_local = is_local
        self.is_active = False
        """True if the first SYN was ours."""
        self.packet: Packet = ()
        """Our SYN or SYN,ACK while it is not acknowledged."""

    def ask(self, key: bytes, now: float) -> None:
        """Send our SYN: nobody has sent one yet."""
        host = self.output.host
        sender = self.output.sender
        self.is_active = True
        sender.start = sender.una = sender.next = host.initial_sequence(key, now) + 1
        stamps = Timestamps(host.timestamp_offset(key), 0, 0, now)
        self._send(SYN, EVERYTHING._replace(timestamps=(stamps.value(now), 0)), now)

    def answer(self, key: bytes, now: float) -> None:
        """Send a SYN,ACK to the client's SYN."""
        sender = self.output.sender
        sender.start = sender.una = sender.next = self.output.host.initial_sequence(key, now) + 1
        self.agree(self.offered, key, now)
        self._send(SYN | ACK, self.offered, now)

    def answered(self, seq: int, ack: int, flags: int, options: bytes, key: bytes, now: float) -> SYNAnswer:
        """Take a segment that came after our SYN, and return what it means (RFC 9293 §3.10.7.3)."""
        output = self.output
        if flags & ACK and unwrap(ack, output.sender.next) != output.sender.next:
            if not flags & RST:
                output.reset(ack, 0, RST)
            return SYNAnswer.NONE
        if flags & RST:
            return SYNAnswer.REFUSED if flags & ACK else SYNAnswer.NONE
        if not flags & SYN:
            return SYNAnswer.NONE
        receiver = output.receiver
        receiver.next = receiver.advertised = seq + 1
        self.agree(parse_options(options), key, now)
        if not flags & ACK:  # §3.5, figure 8
            self._send(SYN | ACK, self.offered, now)
            return SYNAnswer.CROSSED
        receiver.advertised += min(receiver.window, 65535)
        return SYNAnswer.AGREED

    def agree(self, options: Options, key: bytes, now: float) -> None:
        """Take the options of the client's SYN or SYN,ACK; ours offered all that we speak."""
        output = self.output
        sender = output.sender
        self.offered = options
        if options.window_scale is not None:
            sender.scale = options.window_scale
            output.scale = WINDOW_SCALE
        output.sacks = sender.sacks = options.sack_permitted
        sender.probes_tail = options.sack_permitted and not self.is_local
        if options.timestamps is not None:
            offset = output.host.timestamp_offset(key)
            output.timestamps = Timestamps(offset, options.timestamps[0], output.receiver.next, now)
        if output.timestamps is not None or self.is_active:  # else it is what it was when the SYN came
            output.fit(options.mss)
        if self.is_local:
            output.receiver.whole = sender.largest_segment
            sender.limit = 2 * output.host.send_limit  # one half is filled while the client takes the other

    def _send(self, flags: int, offered: Options, now: float) -> None:
        """Send our SYN or SYN,ACK: it says everything that we speak, in an answer only what was `offered`."""
        output = self.output
        host = output.host
        mss = host.mtu - output.template.size
        scale = WINDOW_SCALE if offered.window_scale is not None else None
        if offered.timestamps is None:
            options = _plain_options(mss, scale, offered.sack_permitted)
        else:
            stamps = output.timestamps
            value = offered.timestamps if stamps is None else (stamps.value(now), stamps.recent)
            options = build_options(Options(mss, scale, offered.sack_permitted, timestamps=value))
        receiver = output.receiver
        window = min(receiver.window, 65535)  # RFC 7323 §2.2: the window of a SYN is never scaled
        receiver.advertised = receiver.next + window
        acked = receiver.next if flags & ACK else 0
        self.packet = output.template.build(output.sender.next - 1, acked, flags, window, 0, options)
        host.outgoing.append(self.packet)
