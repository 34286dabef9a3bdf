"""The three sessions that a peer may have at once: previous, current and next (the paper, §6.3)."""

from __future__ import annotations

from tunflow.protocols.wireguard.transport import Keypair


class Keypairs:
    """Of one peer. Every method that drops sessions returns them, for their indices to be freed."""

    __slots__ = ("current", "next", "previous")

    def __init__(self) -> None:
        self.previous: Keypair | None = None
        self.current: Keypair | None = None
        self.next: Keypair | None = None
        """A responder's newest, until the initiator has shown that it has it too."""

    def add(self, made: Keypair) -> list[Keypair]:
        """Take a session that a handshake made."""
        if made.is_initiator:
            if self.next is not None:
                dropped, self.previous, self.next = [self.previous, self.current], self.next, None
            else:
                dropped, self.previous = [self.previous], self.current
            self.current = made
        else:
            dropped, self.next, self.previous = [self.next, self.previous], made, None
        return [each for each in dropped if each is not None]

    def confirm(self, used: Keypair) -> list[Keypair] | None:
        """What was received under a session shows that the other end has it; None when that was known."""
        if used is not self.next:
            return None
        dropped, self.previous, self.current, self.next = self.previous, self.current, used, None
        return [dropped] if dropped is not None else []

    def clear(self) -> list[Keypair]:
        """Drop all."""
        dropped = [each for each in (self.previous, self.current, self.next) if each is not None]
        self.previous = self.current = self.next = None
        return dropped
