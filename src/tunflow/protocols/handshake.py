"""What every handshake codec shares: bytes to say, bytes heard, and the flow behind them.

A subclass keeps what it wants to say in `_say` and takes answers from `_hear_untrusted`. Once it sets `established`,
this is a codec that changes nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket

LONGEST_ANSWER = 16 * 1024
"""Bytes of an answer that is not whole; servers limit header blocks to 8 or 16 KB."""


class Handshake(ABC):
    """A stream codec (see `StreamCodec`) that talks before the flow, and then lets it through as it is."""

    __slots__ = ("_answered", "_say", "established")

    def __init__(self, say: Sequence[bytes]) -> None:
        self._say: list[Buffer] = list(say)
        self._answered = False
        """True if all that the server has to say before the flow was heard."""
        self.established = False

    @property
    def transparent(self) -> bool:
        """True if the talking is over on both sides."""
        return self._answered and not self._say

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """As `StreamCodec.seal`."""
        if self._say:
            say, self._say = self._say, []
            return [b"".join(say), *pieces]
        return pieces if isinstance(pieces, list) else list(pieces)

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """As `StreamCodec.open_untrusted`. Raises BadPacket and ProxyRefused."""
        used = 0
        while not self._answered:
            taken = self._hear_untrusted(data[used:])
            if not taken:
                if len(data) - used > LONGEST_ANSWER:
                    raise BadPacket(f"the server's answer has more than {LONGEST_ANSWER} bytes and no end")
                return [], used
            used += taken
        rest = data[used:]
        return ([bytes(rest)] if rest else []), len(data)

    def finish(self) -> list[Buffer]:
        """Nothing: the connection's end is the flow's."""
        return []

    @abstractmethod
    def _hear_untrusted(self, data: memoryview) -> int:
        """Take one message from the front of `data`; how many bytes it had, 0 if it is not whole.

        Raises BadPacket and ProxyRefused.
        """

    def _stands(self) -> None:
        """The last answer was heard, and it was yes."""
        self._answered = self.established = True
