"""What a TCP connection needs of the stack that it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from tunflow.device import Packet
from tunflow.stack.budget import MemoryBudget


class ConnectionHost(Protocol):
    """The stack of a connection. Where a method takes a connection, it is a `TCPConnection`."""

    outgoing: list[Packet]
    changed: list[Any]
    """Connections whose owner should look, each of them once."""
    acks: list[Any]
    """Connections whose `flush_ack` is to be called when the batch is done, each of them once."""
    starved: dict[Any, None]
    """Connections whose owner is to look once the budget has memory again: they hold nothing, and have no room."""
    half_open: int
    """Connections of clients whose SYN is held, or answered and not yet acknowledged."""
    receive_limit: int
    send_limit: int
    mtu: int
    budget: MemoryBudget
    now: float
    """When the packets in hand arrived, or the timers fired."""
    schedule: Callable[[Any, float], None]
    """Call `handle_timeout` of the connection at that time or a little earlier."""
    watch_idle: Callable[[float], None]
    """Call `handle_idle` of all connections at that time or a little later."""

    def initial_sequence(self, key: bytes, now: float) -> int:
        """Return a sequence number to begin with (RFC 6528)."""

    def timestamp_offset(self, key: bytes) -> int:
        """Return where the timestamps of a connection begin (RFC 7323 §5.4)."""

    def finished(self, connection: Any, lingers: bool, was_half_open: bool) -> None:
        """Forget the connection; `lingers`: it is owed a place in TIME-WAIT."""
