"""The times that WireGuard keeps, by their names, and one peer's timers (the paper, §6).

All in seconds. What a timer does when it is due is the peer's.
"""

from __future__ import annotations

from math import inf

REKEY_AFTER_TIME = 120.0
"""The initiator of a session makes a new one when it sends after so long."""
REJECT_AFTER_TIME = 180.0
"""Keys are not used after so long."""
REKEY_ATTEMPT_TIME = 90.0
"""A handshake is given up after so long without an answer."""
REKEY_TIMEOUT = 5.0
"""An initiation is repeated after so long, and not sooner."""
REKEY_TIMEOUT_JITTER = 0.334
"""And up to so much more, so that two ends do not repeat at the same time."""
KEEPALIVE_TIMEOUT = 10.0
"""Whoever got data and had nothing to send for so long says that it is there."""
NEW_HANDSHAKE_TIMEOUT = KEEPALIVE_TIMEOUT + REKEY_TIMEOUT
"""Whoever sent data and heard nothing for so long makes a new session."""
REKEY_ON_RECEIVE_TIME = REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT
"""The initiator makes a new session when it receives after so long."""
ERASE_TIME = 3 * REJECT_AFTER_TIME
"""All keys are erased after so long without a new session."""
HANDSHAKE_INITIATION_RATE = 0.02
"""A peer's next initiation is not looked at sooner."""
MAX_TIMER_HANDSHAKES = int(REKEY_ATTEMPT_TIME // REKEY_TIMEOUT)
"""Repetitions before a handshake is given up."""


class Timers:
    """When each of a peer's timers is due; `inf` while it is not set."""

    __slots__ = ("erase_keys", "new_handshake", "persistent_keepalive", "retransmit_handshake", "send_keepalive")

    def __init__(self) -> None:
        self.retransmit_handshake = inf
        self.send_keepalive = inf
        self.new_handshake = inf
        self.erase_keys = inf
        self.persistent_keepalive = inf

    @property
    def next(self) -> float:
        """When the first is due."""
        return min(
            self.retransmit_handshake,
            self.send_keepalive,
            self.new_handshake,
            self.erase_keys,
            self.persistent_keepalive,
        )
