"""ICMP and ICMPv6: echo requests from clients, errors in both directions.

Read first: RFC 792, RFC 1122 §3.2.2, RFC 1812 §4.3.2, RFC 4443. The rules:

1. An echo request is not answered here. It goes to the driver, which knows what an answer would mean.
2. An error is never sent about an error, about a fragment other than the first, to or about an address that
   is not one host's (RFC 1122 §3.2.2, RFC 4443 §2.4 (e)), nor faster than a token bucket allows (RFC 4443
   §2.4 (f)).
3. Errors from clients are reported with the flow that they quote; whoever owns the flow judges them. A quote
   is hearsay: it may be forged, and must match what was really sent (RFC 5927 §4.1).

Router solicitations, neighbour discovery, multicast listener reports and all other messages are ignored: the
link is a TUN without neighbours.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from tunflow.device import Packet
from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.wire import icmp, ipv4, ipv6, protocols, virtio_net

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
    message: icmp.Unreachable | icmp.PacketTooBig | icmp.TimeExceeded
    protocol: int
    """Of the quoted packet: TCP or UDP."""
    source: Endpoint
    """Of the quoted packet, so the far side of the flow."""
    destination: Endpoint
    """Of the quoted packet, so the client."""
    transport: memoryview
    """What is quoted of the transport header and payload: at least 8 bytes, for TCP with the sequence
    number."""


class TokenBucket:
    """Lets `rate` events a second through, and `burst` at once after a pause."""

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._updated: float | None = None

    def take(self, now: float) -> bool:
        """Whether one more event may happen at `now` (seconds)."""
        if self._updated is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._updated) * self._rate)
        self._updated = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class ICMP:
    """What the stack has to do with ICMP of either family; see the module's rules."""

    def __init__(self) -> None:
        self.echo_requests: list[EchoRequest] = []
        """For the driver to take away."""
        self.errors: list[ErrorReport] = []
        """For the stack to take away."""
        self.dropped = 0
        """Messages that were malformed or had no business coming."""
        self.suppressed = 0
        """Errors that the token bucket held back."""
        self._bucket = TokenBucket(ERRORS_PER_SECOND, ERROR_BURST)

    def receive(self, src: bytes, dst: bytes, segment: memoryview) -> None:
        """Take in what followed the IP header (addresses packed, the family is theirs). Never raises.

        The checksum is always verified: no kernel leaves that of ICMP to the device.
        """
        try:
            is_ipv4 = len(src) == 4
            message = icmp.parse_v4_untrusted(segment) if is_ipv4 else icmp.parse_v6_untrusted(src, dst, segment)
            if isinstance(message, icmp.Echo) and message.is_request:
                if not (_is_one_host(src) and _is_one_host(dst)):  # RFC 1122 §3.2.2.6: MAY be discarded
                    raise BadPacket("echo request to or from a group")
                _, identifier, sequence, payload = message
                self.echo_requests.append(EchoRequest(src, dst, identifier, sequence, payload))
            elif isinstance(message, icmp.Unreachable | icmp.PacketTooBig | icmp.TimeExceeded):
                self.errors.append(_report_untrusted(src, message))
        except BadPacket:
            self.dropped += 1

    def echo_reply(self, request: EchoRequest) -> Packet:
        """The packet that answers a ping."""
        reply = icmp.Echo(False, request.identifier, request.sequence, request.payload)
        return _packet(request.dst, request.src, reply)

    def unreachable(self, original: memoryview, reason: Reason, now: float) -> Packet | None:
        """The error that tells the sender of the plain IP packet `original` why it goes nowhere.

        None when rule 2 forbids it. The error's source is the original's destination: to a client the stack
        *is* every address, and has none that is more its own, so by RFC 4443 §2.2 (a) the address that was
        spoken to answers. It is also the only one that passes the client's filters for sure. The original may
        be a super-segment; as much of it is quoted as the RFCs want (RFC 1812 §4.3.2.3, RFC 4443 §3.1).
        """
        try:
            src, dst, end = _answerable_untrusted(original)
        except BadPacket:
            return None
        if not self._bucket.take(now):
            self.suppressed += 1
            return None
        code = reason.value[0] if len(src) == 4 else reason.value[1]
        return _packet(dst, src, icmp.Unreachable(code, original[:end]))


def _packet(src: bytes, dst: bytes, message: icmp.Message) -> Packet:
    if len(src) == 4:
        body = icmp.build_v4(message)
        return [virtio_net.PLAIN, ipv4.build(src, dst, protocols.ICMP, len(body)), body]
    body = icmp.build_v6(src, dst, message)
    return [virtio_net.PLAIN, ipv6.build(src, dst, protocols.ICMPV6, len(body)), body]


def _is_one_host(address: bytes) -> bool:
    """Whether a packed address can be that of a single host: not unspecified, multicast, broadcast or
    reserved."""
    if len(address) == 16:
        return address[0] != 0xFF and any(address)
    return 0 < address[0] < 224


def _answerable_untrusted(packet: memoryview) -> tuple[bytes, bytes, int]:
    """Source, destination and length of a packet that an error may be sent about. Raises BadPacket for any
    other."""
    if packet and packet[0] >> 4 == 4:
        header = ipv4.parse_untrusted(packet)
        src, dst, end = header.src, header.dst, header.total_length
        protocol, at, offset = header.protocol, header.header_length, header.fragment_offset
        loopback = src[0] == 127
    else:
        header6 = ipv6.parse_untrusted(packet)
        src, dst, end = header6.src, header6.dst, header6.total_length
        protocol, at, fragment = ipv6.walk_extensions_untrusted(packet)
        offset = fragment.offset if fragment else 0
        loopback = src == bytes(15) + b"\x01"
    if offset:
        raise BadPacket("a fragment other than the first")
    if loopback or not _is_one_host(src) or not _is_one_host(dst):
        raise BadPacket("not from one host to one host")
    if protocol in (protocols.ICMP, protocols.ICMPV6):
        if at >= end:
            raise BadPacket("ICMP without a message")
        kind = packet[at]
        is_error_v6 = kind < 128 or kind == _REDIRECT_V6
        if kind in _ERROR_TYPES_V4 if protocol == protocols.ICMP else is_error_v6:
            raise BadPacket("an ICMP error")
    return src, dst, end


def _report_untrusted(
    reporter: bytes, message: icmp.Unreachable | icmp.PacketTooBig | icmp.TimeExceeded
) -> ErrorReport:
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
    source = Endpoint(src, int.from_bytes(transport[:2], "big"))
    destination = Endpoint(dst, int.from_bytes(transport[2:4], "big"))
    return ErrorReport(reporter, message, protocol, source, destination, transport)
