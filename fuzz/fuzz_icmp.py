"""ICMP and ICMPv6 messages: parse to a message that builds again, or BadPacket.

Each input is also tried with its checksum made right, or random input would never get past it.
"""

from __future__ import annotations

from tunflow.errors import BadPacket
from tunflow.wire import icmp
from tunflow.wire.checksum import checksum, transport_checksum
from tunflow.wire.protocols import ICMPV6

_ADDRESS = bytes(15) + b"\x01"

SEEDS: list[bytes] = [
    icmp.build_v4(icmp.Echo(True, 1, 2, b"ping")),
    icmp.build_v4(icmp.Unreachable(icmp.UnreachableV4.PORT, bytes(28))),
    icmp.build_v4(icmp.PacketTooBig(1400, bytes(28))),
    icmp.build_v6(_ADDRESS, _ADDRESS, icmp.Echo(False, 1, 2, b"ping")),
    icmp.build_v6(_ADDRESS, _ADDRESS, icmp.PacketTooBig(1400, bytes(48))),
    icmp.build_v6(_ADDRESS, _ADDRESS, icmp.TimeExceeded(0, bytes(48))),
]


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    _parse(data)
    if len(data) >= 8:
        blank = data[:2] + bytes(2) + data[4:]
        _parse(data[:2] + checksum(blank).to_bytes(2, "big") + data[4:])
        value = transport_checksum(_ADDRESS, _ADDRESS, ICMPV6, blank)
        _parse(data[:2] + value.to_bytes(2, "big") + data[4:])


def _parse(data: bytes) -> None:
    try:
        message = icmp.parse_v4_untrusted(data)
        again = icmp.parse_v4_untrusted(icmp.build_v4(message))
        assert type(again) is type(message)
    except BadPacket:
        pass
    try:
        message = icmp.parse_v6_untrusted(_ADDRESS, _ADDRESS, data)
        again = icmp.parse_v6_untrusted(_ADDRESS, _ADDRESS, icmp.build_v6(_ADDRESS, _ADDRESS, message))
        assert type(again) is type(message)
    except BadPacket:
        pass
