"""How a connection ends without a reset: both sides close (RFC 9293 §3.6), or the client falls silent (§3.8.4)."""

from __future__ import annotations

from tunflow.stack.tcp.state import (
    CLOSE_WAIT,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LAST_ACK,
    TIME_WAIT,
)

KEEPALIVE_IDLE = 7200.0
KEEPALIVE_INTERVAL = 75.0
KEEPALIVE_PROBES = 9
"""RFC 9293 §3.8.4: two hours at least; interval and number are Linux's."""

HALF_CLOSED_IDLE = 75.0
"""The same for a client that closed its side: kernels forget a closed socket after a minute without data (Linux:
tcp_fin_timeout), and then nobody would ever tell us that what the far side keeps open has no reader."""

ABANDONED_TIMEOUT = 60.0
"""How long FIN-WAIT-2 lasts once nobody owns the connection: RFC 9293 §3.10.4 leaves it open, this is Linux's."""


AFTER_FIN_SENT = {ESTABLISHED: FIN_WAIT_1, CLOSE_WAIT: LAST_ACK}
AFTER_FIN_ACKNOWLEDGED = {FIN_WAIT_1: FIN_WAIT_2, CLOSING: TIME_WAIT, LAST_ACK: CLOSED}
AFTER_FIN_RECEIVED = {ESTABLISHED: CLOSE_WAIT, FIN_WAIT_1: CLOSING, FIN_WAIT_2: TIME_WAIT}
"""The state that follows (RFC 9293 §3.6, figures 12 and 13). In others nothing does: our FIN was sent again, or is
acknowledged once more."""


def keep_alive_at(heard_at: float, probes: int, is_half_closed: bool) -> float:
    """Return when a client that was last heard then, and did not answer so many probes, is to be asked again."""
    return heard_at + (HALF_CLOSED_IDLE if is_half_closed else KEEPALIVE_IDLE) + probes * KEEPALIVE_INTERVAL
