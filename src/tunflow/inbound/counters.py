"""What a server has done so far."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Of one server, or one local port."""

    streams: int = 0
    associations: int = 0
    refused: int = 0
    stream_bytes_up: int = 0
    """From clients of a local port, as the three below."""
    stream_bytes_down: int = 0
    datagram_bytes_up: int = 0
    datagram_bytes_down: int = 0
