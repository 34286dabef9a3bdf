"""A client that names its target in a server's protocol and then sends its stream (Shadowsocks).

Whoever sends wrong bytes does not hear that they are: it is kept in silence (`silent_peers`).
"""

from __future__ import annotations

import socket
from typing import Protocol

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.inbound.connect import OFF_LIMITS, Connecting, why
from tunflow.inbound.relay import Relay
from tunflow.protocols.codec import StreamCodec


class ServerCodec(StreamCodec, Protocol):
    """A server-side stream codec, which learns from the client where the stream goes."""

    @property
    def target(self) -> Endpoint | None:
        """Where to, once the client's header is whole."""


class TargetService:
    """As `ClientService`, by a server's codec."""

    __slots__ = ("_codec", "_relay", "turn_up")

    def __init__(self, codec: ServerCodec, relay: Relay) -> None:
        self._codec = codec
        self._relay = relay
        self.turn_up = codec.open_untrusted
        """As `ClientService.turn_up`."""

    @property
    def knows_wish(self) -> bool:
        """As `ClientService.knows_wish`."""
        return self._codec.target is not None

    def words(self) -> bytes:
        """As `ClientService.words`: nothing, the server never speaks first."""
        return b""

    def turn_down(self, view: memoryview) -> tuple[list[Buffer], int]:
        """As `ClientService.turn_down`."""
        return self._codec.seal((view,)), len(view)

    def finish(self) -> list[Buffer]:
        """As `ClientService.finish`."""
        return self._codec.finish()

    def fulfil(self) -> None:
        """As `ClientService.fulfil`."""
        target = self._codec.target
        assert target is not None
        connect(self._relay, target)

    def refused(self, error: BadPacket) -> None:
        """As `ClientService.refused`."""
        self._relay.fall_silent(str(error))

    def serve(self) -> None:
        """As `ClientService.serve`: there is nothing but the stream."""

    def over(self) -> None:
        """As `ClientService.over`: there is nothing to give back."""


def connect(relay: Relay, target: Endpoint) -> None:
    """Join the client with the target that it named, if that is there and not off limits; reset it if not."""
    shared = relay.shared
    goal = shared.rewrite.get(target)

    def told(outward: socket.socket | None, error: int) -> None:
        if outward is not None:
            relay.carry(outward)
            return
        cause = "off limits" if error == OFF_LIMITS else f"connect {target} {error}"
        shared.log.tell(cause, f"cannot reach {target}: {why(error)}")
        relay.abort()

    relay.begin()
    off_limits = () if goal else shared.off_limits
    relay.wait_for(Connecting(shared.reactor, shared.resolver, goal or target, told, off_limits))
