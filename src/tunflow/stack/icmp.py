"""ICMP and ICMPv6: echo requests from clients, errors in both directions.

Read first: RFC 792, RFC 1122 §3.2.2, RFC 1812 §4.3.2, RFC 4443. The rules:

1. An echo request is not answered here. It goes to the driver, which knows what an answer would mean.
2. An error is never sent about an error, about a fragment other than the first, to or about an address that
   is not one host's (RFC 1122 §3.2.2, RFC 4443 §2.4 (e)), nor faster than one token bucket for all of them
   allows (RFC 4443 §2.4 (f)).
3. Errors from clients are reported with the flow that they quote; whoever owns the flow judges them. A quote
   is hearsay: it may be forged, and must match what was really sent (RFC 5927 §4.1).
4. An error says that it comes from whom it is from: a router or host outside that reported it; the tunnel's own
   address where the tunnel is the hop (time exceeded); else the destination, for to a client the stack *is* every
   address (RFC 4443 §2.2 (a)), and no filter of the client's keeps an answer from there out.

Router solicitations, neighbour discovery, multicast listener reports and all other messages are ignored: the
link is a TUN without neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from tunflow.device import Packet
from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.stack import martians
from tunflow.wire import icmp, ipv4, ipv6, protocols, udp, virtio_net

ERRORS_PER_SECOND = 1000.0
ERROR_BURST = 50.0
"""Errors sent at most, and at once. RFC 4443 §2.4 (f) asks for a token bucket; the numbers are Linux's
long-standing ones (net.ipv4.icmp_msgs_per_sec and icmp_msgs_burst)."""

_ERROR_TYPES_V4 = frozenset((3, 4, 5, 11, 12))
"""RFC 1122 §3.2.2: destination unreachable, source quench, redirect, time exceeded, parameter problem."""
_REDIRECT_V6 = 137
"""RFC 4443 §2.4 (e.2): no error about a redirect, nor about an error, whose types are below 128 (§2.1)."""


class Reason(Enum):
    """Why a destination cannot be reached: the codes that say so in IPv4 and in IPv6."""

    NET = (icmp.UnreachableV4.NETWORK, icmp.UnreachableV6.NO_ROUTE)
    HOST = (icmp.UnreachableV4.HOST, icmp.UnreachableV6.ADDRESS)
    PORT = (icmp.UnreachableV4.PORT, icmp.UnreachableV6.PORT)
    ADMIN_PROHIBITED = (
        icmp.UnreachableV4.COMMUNICATION_PROHIBITED,
        icmp.UnreachableV6.COMMUNICATION_PROHIBITED,
    )

    def error(self, *, is_ipv4: bool) -> icmp.Unreachable:
        """The message that says so, with nothing quoted yet."""
        return icmp.Unreachable(self.value[0] if is_ipv4 else self.value[1], b"")


class EchoRequest(NamedTuple):
    """A client's ping: packed addresses, and what the reply must repeat."""

    src: bytes
    dst: bytes
    identifier: int
    sequence: int
    payload: Buffer


class ErrorReport(NamedTuple):
    """An error from a client about a packet that we are supposed to have sent."""

    reporter: bytes
    """The packed address that the error comes from."""
    message: icmp.Error
    protocol: int
    """Of the quoted packet: TCP or UDP."""
    source: Endpoint
    """Of the quoted packet, so the far side of the flow."""
    destination: Endpoint
    """Of the quoted packet, so the client."""
    transport: "memoryview"  # noqa: UP037 - mypyc 2.4 does not find the bare name in a field
    """What is quoted of the transport header and payload: at least 8 bytes, for TCP with the sequence
    number."""

    @property
    def is_from_client(self) -> bool:
        """True if the quoted packet's own destination says so, rather than a router before it."""
        return self.reporter == self.destination.host

    @property
    def sequence(self) -> int:
        """The sequence number of a quoted TCP segment."""
        return int.from_bytes(self.transport[4:8], "big")

    @property
    def reason(self) -> Reason | None:
        """Why the quoted packet was not delivered; None for any code that means nothing of the kind."""
        if not isinstance(self.message, icmp.Unreachable):
            return None
        codes = _REASONS_V4 if len(self.reporter) == 4 else _REASONS_V6
        return codes.get(self.message.code)


_REASONS_V4: dict[int, Reason] = {int(reason.value[0]): reason for reason in Reason}
_REASONS_V6: dict[int, Reason] = {int(reason.value[1]): reason for reason in Reason}


class TokenBucket:
    """Lets `rate` events a second through, and `burst` at once after a pause."""

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._updated: float | None = None

    def take(self, now: float) -> bool:
        """Return True if one more event may happen at `now` (seconds)."""
        if self._updated is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._updated) * self._rate)
        self._updated = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class ICMP:
    """What the stack has to do with ICMP of either family; see the module's rules.

    `own` are the tunnel's own addresses; the first of a family is the hop that time exceeded comes from.
    """

    def __init__(self, own: Iterable[bytes] = ()) -> None:
        self.echo_requests: list[EchoRequest] = []
        """For the driver to take away."""
        self.errors: list[ErrorReport] = []
        """For the stack to take away."""
        self.dropped = 0
        """Messages that were malformed or had no business coming."""
        self.suppressed = 0
        """Errors that the token bucket held back."""
        self._hops = {len(address): address for address in sorted(own, reverse=True)}
        self._bucket = TokenBucket(ERRORS_PER_SECOND, ERROR_BURST)

    def receive(self, src: bytes, dst: bytes, segment: memoryview) -> None:
        """Take in what followed the IP header (addresses packed, the family is theirs). Never raises.

        The checksum is always verified: no kernel leaves that of ICMP to the device.
        """
        try:
            message = icmp.parse_v4_untrusted(segment) if len(src) == 4 else icmp.parse_v6_untrusted(src, dst, segment)
            if isinstance(message, icmp.Echo) and message.is_request:
                _, identifier, sequence, payload = message
                self.echo_requests.append(EchoRequest(src, dst, identifier, sequence, payload))
            elif isinstance(message, icmp.Error):
                self.errors.append(_report_untrusted(src, dst, message))
        except BadPacket:
            self.dropped += 1

    def echo_reply(self, request: EchoRequest) -> Packet:
        """The packet that answers a ping."""
        reply = icmp.Echo(False, request.identifier, request.sequence, request.payload)
        return _packet(request.dst, request.src, reply)

    def unreachable(self, original: memoryview, reason: Reason, now: float) -> Packet | None:
        """The error that tells the sender of the plain IP packet `original` why it goes nowhere; see `error`."""
        is_ipv4 = len(original) > 0 and original[0] >> 4 == 4
        return self.error(original, reason.error(is_ipv4=is_ipv4), None, now)

    def protocol_unknown(self, original: memoryview, now: float) -> Packet | None:
        """The error that says that nobody takes the protocol in the plain IP packet `original` (RFC 1122 §3.2.2.1,
        RFC 4443 §3.4); see `error`."""
        try:
            if len(original) and original[0] >> 4 == 4:
                return self.error(original, icmp.Unreachable(icmp.UnreachableV4.PROTOCOL, b""), None, now)
            named_at = ipv6.walk_extensions_untrusted(original).named_at
        except BadPacket:
            return None
        return self.error(original, icmp.ParameterProblem(icmp.UNRECOGNIZED_NEXT_HEADER, named_at, b""), None, now)

    def time_exceeded(self, original: memoryview, now: float) -> Packet | None:
        """The error that says that `original` had no hop left when it came here (RFC 1812 §5.3.1, RFC 4443 §3.3).

        None without an address of our own to say it from: the destination's would put it one hop away.
        """
        hop = self._hops.get(4 if len(original) and original[0] >> 4 == 4 else 16)
        return None if hop is None else self.error(original, icmp.TimeExceeded(0, b""), hop, now)

    def error(self, original: memoryview, message: icmp.Error, reporter: bytes | None, now: float) -> Packet | None:
        """`message` to the sender of the plain IP packet `original`, quoting it; None when rule 2 forbids it.

        It comes from `reporter`; None, or what cannot send to the client, stands for the original's destination
        (rule 4). The original may be a super-segment; as much of it is quoted as the RFCs want (RFC 1812 §4.3.2.3,
        RFC 4443 §3.1).
        """
        try:
            src, dst, end = _answerable_untrusted(original)
        except BadPacket:
            return None
        if not self._bucket.take(now):
            self.suppressed += 1
            return None
        if reporter is None or len(reporter) != len(src) or not martians.may_be_source(reporter):
            reporter = dst
        return _packet(reporter, src, message._replace(quote=original[:end]))

    def about_datagram(
        self,
        client: Endpoint,
        target: Endpoint,
        payload: Buffer,
        message: icmp.Error,
        reporter: bytes | None,
        now: float,
    ) -> Packet | None:
        """As `error`, about a datagram of `client`'s that is at hand without its headers.

        They are made anew from what is known. `payload` may be a part of what was sent, or empty: the UDP header is
        the 8 bytes by which the client knows its socket (RFC 792).
        """
        src, dst = client.host, target.host
        if isinstance(src, str) or isinstance(dst, str) or len(src) != len(dst):
            return None
        limit = icmp.MAX_QUOTE_V4 if len(src) == 4 else icmp.MAX_QUOTE_V6
        quoted = bytes(payload[:limit])
        build = ipv4.build if len(src) == 4 else ipv6.build
        segment = udp.build(client.port, target.port, len(payload)) + quoted
        header = build(src, dst, protocols.UDP, len(segment))
        return self.error(memoryview(header + segment), message, reporter, now)


def _packet(src: bytes, dst: bytes, message: icmp.Message) -> Packet:
    if len(src) == 4:
        body = icmp.build_v4(message)
        return [virtio_net.PLAIN, ipv4.build(src, dst, protocols.ICMP, len(body)), body]
    body = icmp.build_v6(src, dst, message)
    return [virtio_net.PLAIN, ipv6.build(src, dst, protocols.ICMPV6, len(body)), body]


def _answerable_untrusted(packet: memoryview) -> tuple[bytes, bytes, int]:
    """Source, destination and length of a packet that an error may be sent about. Raises BadPacket for any
    other."""
    if packet and packet[0] >> 4 == 4:
        header = ipv4.parse_untrusted(packet)
        src, dst, end = header.src, header.dst, header.total_length
        protocol, at, offset = header.protocol, header.header_length, header.fragment_offset
    else:
        header6 = ipv6.parse_untrusted(packet)
        src, dst, end = header6.src, header6.dst, header6.total_length
        protocol, at, fragment, _ = ipv6.walk_extensions_untrusted(packet)
        offset = fragment.offset if fragment else 0
    if offset:
        raise BadPacket("a fragment other than the first")
    if not (martians.may_be_source(src) and martians.may_be_destination(dst)):
        raise BadPacket("not from one host to one host")
    if protocol in (protocols.ICMP, protocols.ICMPV6):
        if at >= end:
            raise BadPacket("ICMP without a message")
        kind = packet[at]
        is_error_v6 = kind < 128 or kind == _REDIRECT_V6
        if kind in _ERROR_TYPES_V4 if protocol == protocols.ICMP else is_error_v6:
            raise BadPacket("an ICMP error")
    return src, dst, end


def _report_untrusted(reporter: bytes, to: bytes, message: icmp.Error) -> ErrorReport:
    """What an error quotes. We send no IP options and no extension headers, so neither does a quote of
    ours."""
    quote = memoryview(message.quote)
    if len(reporter) == 4:
        if len(quote) < ipv4.HEADER_SIZE or quote[0] != 0x45:
            raise BadPacket("ICMP error quotes no IPv4 packet of ours")
        protocol, src, dst = quote[9], bytes(quote[12:16]), bytes(quote[16:20])
        transport = quote[ipv4.HEADER_SIZE :]
    else:
        if len(quote) < ipv6.HEADER_SIZE or quote[0] >> 4 != 6:
            raise BadPacket("ICMP error quotes no IPv6 packet of ours")
        protocol, src, dst = quote[6], bytes(quote[8:24]), bytes(quote[24:40])
        transport = quote[ipv6.HEADER_SIZE :]
    if protocol not in (protocols.TCP, protocols.UDP) or len(transport) < 8:
        raise BadPacket("ICMP error quotes neither TCP nor UDP")
    if src != to:
        raise BadPacket("ICMP error is not for whom it quotes")  # RFC 792: it goes to the source of the original
    source = Endpoint(src, int.from_bytes(transport[:2], "big"))
    destination = Endpoint(dst, int.from_bytes(transport[2:4], "big"))
    return ErrorReport(reporter, message, protocol, source, destination, transport)
