"""The reliability layer: control packets arrive once and in order, whatever the wire does to them.

A sender keeps a few packets under way and repeats them with doubling pauses; one that later packets have overtaken
three times is repeated at once. A receiver holds early packets back and acknowledges everything that it can take.
Read first: openvpn-rfc, "Reliability layer".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from tunflow.errors import BadPacket
from tunflow.protocols.openvpn.packet import LARGEST_ACKS, Opcode

SEND_WINDOW = 6
RECEIVE_WINDOW = 12
RETRANSMIT = 2.0
"""Seconds before the first repetition (`tls-timeout`)."""
LONGEST_PAUSE = 16.0
"""Seconds between repetitions at most: a handshake has a minute, and silence of half of it helps nobody."""
OVERTAKEN = 3
"""Later packets acknowledged before one is taken for lost."""


@dataclass(slots=True)
class Unacknowledged:
    """A packet of ours that is not acknowledged yet."""

    packet_id: int
    opcode: Opcode
    payload: bytes
    due: float
    pause: float
    overtaken: int = 0


class ReliableSender:
    """Our packets under one key."""

    def __init__(self, retransmit: float = RETRANSMIT) -> None:
        self._retransmit = retransmit
        self._next = 0
        self._waiting: deque[tuple[Opcode, bytes]] = deque()
        self._under_way: dict[int, Unacknowledged] = {}

    @property
    def is_idle(self) -> bool:
        """True if everything was acknowledged."""
        return not self._waiting and not self._under_way

    @property
    def has_been_heard(self) -> bool:
        """True if the peer acknowledged anything."""
        return self._next > len(self._under_way)

    def push(self, opcode: Opcode, payload: bytes) -> None:
        """Send this, in its turn."""
        self._waiting.append((opcode, payload))

    def acknowledge_untrusted(self, acks: Sequence[int]) -> None:
        """The peer has these. Ids that mean nothing are ignored: it may acknowledge twice."""
        for packet_id in acks:
            if self._under_way.pop(packet_id, None) is None:
                continue
            for other in self._under_way.values():
                if other.packet_id < packet_id:
                    other.overtaken += 1

    def take_due(self, now: float) -> list[Unacknowledged]:
        """What has to leave now, for the first time or again."""
        while self._waiting and self._fits():
            opcode, payload = self._waiting.popleft()
            self._under_way[self._next] = Unacknowledged(self._next, opcode, payload, now, self._retransmit)
            self._next += 1
        due = []
        for each in self._under_way.values():
            if each.overtaken >= OVERTAKEN:
                each.overtaken = 0
                each.due = now
            if each.due <= now:
                each.due = now + each.pause
                each.pause = min(2 * each.pause, LONGEST_PAUSE)
                due.append(each)
        return due

    def next_timeout(self) -> float | None:
        """When something has to be repeated; None while nothing is under way."""
        return min((each.due for each in self._under_way.values()), default=None)

    def _fits(self) -> bool:
        """Return True if the window has room: the peer can hold no more than its own window behind the oldest."""
        oldest = min(self._under_way, default=self._next)
        return len(self._under_way) < SEND_WINDOW and self._next < oldest + RECEIVE_WINDOW


class ReliableReceiver:
    """The peer's packets under one key."""

    def __init__(self) -> None:
        self._next = 0
        self._early: dict[int, tuple[Opcode, bytes]] = {}
        self._acks: list[int] = []
        self._recent: list[int] = []
        """Acknowledged last: said again along with others, for the packet that said it may be lost."""

    def receive_untrusted(self, packet_id: int, opcode: Opcode, payload: bytes) -> list[tuple[Opcode, bytes]]:
        """The packets that are in order now. Raises BadPacket for one too far ahead, which is not acknowledged."""
        if packet_id >= self._next + RECEIVE_WINDOW:
            raise BadPacket(f"control packet {packet_id} is beyond the window")
        if packet_id not in self._acks:
            self._acks.append(packet_id)
        if packet_id < self._next:
            return []  # again: our acknowledgement was lost
        self._early.setdefault(packet_id, (opcode, payload))
        ready = []
        while self._next in self._early:
            ready.append(self._early.pop(self._next))
            self._next += 1
        return ready

    @property
    def owes_acks(self) -> bool:
        """True if something is to be acknowledged."""
        return bool(self._acks)

    def take_acks(self, most: int = LARGEST_ACKS) -> list[int]:
        """Ids to acknowledge, at most so many; where there is room, those of before once more."""
        taken, self._acks = self._acks[:most], self._acks[most:]
        again = [packet_id for packet_id in self._recent if packet_id not in taken]
        self._recent = (taken + again)[:most]
        return self._recent.copy()
