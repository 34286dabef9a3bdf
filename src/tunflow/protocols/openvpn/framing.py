"""Packets in a TCP stream: each behind its length, 16 bits (openvpn-rfc, "TCP")."""

from __future__ import annotations

from collections.abc import Sequence

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket


class StreamFraming:
    """Cuts one stream into packets, and frames packets for one."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed_untrusted(self, data: bytes) -> list[bytes]:
        """The packets that are whole now. Raises BadPacket for one without a byte: the stream has no more sense."""
        rest = self._rest
        rest += data
        packets, at, end = [], 0, len(rest)
        while end - at >= 2:
            size = rest[at] << 8 | rest[at + 1]
            if not size:
                raise BadPacket("a packet without a byte")
            if end - at - 2 < size:
                break
            packets.append(bytes(rest[at + 2 : at + 2 + size]))
            at += 2 + size
        del rest[:at]
        return packets


def framed(packets: Sequence[Buffer]) -> bytes:
    """Packets as they stand in a stream."""
    pieces: list[Buffer] = []
    for packet in packets:
        pieces += (len(packet).to_bytes(2, "big"), packet)
    return b"".join(pieces)
