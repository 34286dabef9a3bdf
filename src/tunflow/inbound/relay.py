"""One accepted stream and its outward socket.

The life of a relay, each step only ever followed by the next or by the end:

    header   reading until the codec knows the target; wrong bytes or too few of them end in silence
    connect  the target's name is resolved and its addresses tried; nothing is read
    relay    two pipes, each with its own half-close; the end of both is the end of the relay

Rules: an error on one side is told to the other as a reset, so that neither takes a cut stream for a whole
one; the relay holds two descriptors of the budget from the moment it is accepted.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.inbound.budget import DescriptorBudget
from tunflow.inbound.connect import Connecting, why
from tunflow.inbound.pipe import Pipe
from tunflow.inbound.resolver import Resolver
from tunflow.inbound.silence import SilentPeers, silent_seconds
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.containment import Contained
from tunflow.loop.reactor import EDGE, ERROR, HANGUP, READ, READ_HANGUP, WRITE, Reactor
from tunflow.protocols.codec import StreamCodec

EVENTS = READ | WRITE | READ_HANGUP | EDGE
READABLE = READ | READ_HANGUP | HANGUP | ERROR
ENDING = READ_HANGUP | HANGUP | ERROR

DESCRIPTORS = 2

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER on with zero seconds: closing discards what is queued and sends a reset (socket(7))."""

KEEPALIVE_IDLE_SECONDS = 300
"""A peer that vanished is noticed; a flow that is merely idle goes on (RFC 9293 §3.8.4)."""


class ServerCodec(StreamCodec, Protocol):
    """A server-side stream codec, which learns from the client where the stream goes."""

    @property
    def target(self) -> Endpoint | None:
        """Where to, once the client's header is whole."""


class Cancellable(Protocol):
    """An attempt that is under way."""

    def cancel(self) -> None:
        """Give up without telling anyone."""


class Newcomer(Protocol):
    """A connection that has not said what it wants."""

    def close(self) -> None:
        """Make room for another."""


@dataclass(slots=True)
class Counters:
    """What the server has done so far."""

    streams: int = 0
    associations: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every part of a server shares."""

    reactor: Reactor
    rng: Callable[[int], bytes]
    log: CauseLog
    budget: DescriptorBudget
    resolver: Resolver
    silence: SilentPeers
    scratch: memoryview
    rewrite: Mapping[Endpoint, Endpoint]
    counters: Counters = field(default_factory=Counters)
    newcomers: dict[Newcomer, float] = field(default_factory=dict)
    """Connections that do not know their target yet, and since when, oldest first."""


class Relay(Contained):
    """Carries one stream from its accepted socket until both directions have ended."""

    def __init__(
        self,
        shared: Surroundings,
        client: socket.socket,
        peer: str,
        codec: ServerCodec,
        ended: Callable[[Relay], None],
    ) -> None:
        self._shared = shared
        self._client = client
        self._peer = peer
        self._codec = codec
        self._ended = ended
        self._outward: socket.socket | None = None
        self._connecting: Cancellable | None = None
        self._again = False
        self._closed = False
        self._up = Pipe(client, codec.open_untrusted, shared.scratch)
        self._down = Pipe(None, self._seal, shared.scratch)
        self._deadline = shared.reactor.now + silent_seconds(shared.rng)
        self._timer = shared.reactor.call_at(self._deadline, self.close)
        shared.newcomers[self] = shared.reactor.now
        shared.reactor.add(client.fileno(), EVENTS, self._on_client)

    def _seal(self, view: memoryview) -> tuple[list[Buffer], int]:
        return self._codec.seal((view,)), len(view)

    def _on_client(self, events: int) -> None:
        up = self._up
        if events & READABLE:
            up.readable = True
            if events & ENDING:
                up.hangup = True
                if events & ERROR:
                    self.abort()
                    return
        if events & WRITE:
            self._down.blocked = False
        if self._outward is not None:
            self._pump()
        elif self._connecting is None:
            self._read_header()

    def _on_outward(self, events: int) -> None:
        down = self._down
        if events & READABLE:
            down.readable = True
            if events & ENDING:
                down.hangup = True
        if events & WRITE:
            self._up.blocked = False
        self._pump()

    def _read_header(self) -> None:
        up = self._up
        try:
            while up.readable and self._codec.target is None and not up.ended:
                up.fill()
        except BadPacket as error:
            self._fall_silent(str(error))
            return
        except OSError:
            self.close()
            return
        target = self._codec.target
        if target is not None:
            self._connect(target)
        elif up.ended:
            self.close()

    def _fall_silent(self, reason: str) -> None:
        shared = self._shared
        shared.counters.refused += 1
        shared.log.tell(f"refused: {reason}", f"{self._peer}: {reason}; kept in silence")
        if self._up.ended:
            self.close()
            return
        shared.reactor.remove(self._client.fileno())
        self._leave(1)
        shared.silence.hold(self._client, self._deadline)

    def _begin(self) -> None:
        """The client has said what it wants."""
        self._timer.cancel()
        self._shared.newcomers.pop(self, None)
        self._shared.counters.streams += 1

    def _connect(self, target: Endpoint) -> None:
        shared = self._shared
        self._begin()
        goal = shared.rewrite.get(target, target)
        self._connecting = Connecting(
            shared.reactor,
            shared.resolver,
            goal,
            lambda outward, error: self._on_connect(target, outward, error),
        )

    def _on_connect(self, target: Endpoint, outward: socket.socket | None, error: int) -> None:
        if outward is None:
            reason = why(error)
            self._shared.log.tell(f"connect {target} {error}", f"cannot reach {target}: {reason}")
            self.abort()
            return
        self._carry(outward)

    def _carry(self, outward: socket.socket) -> None:
        """Both sides are there."""
        self._outward = outward
        outward.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        keep_alive(outward)
        self._up.sink = outward
        self._down.source = outward
        self._down.sink = self._client
        self._shared.reactor.add(outward.fileno(), EVENTS, self._on_outward)
        self._pump()

    def _pump(self) -> None:
        up, down = self._up, self._down
        try:
            more = up.pump()
            if down.pump():
                more = True
        except BadPacket as error:
            self._shared.log.tell(f"stream: {error}", f"{self._peer}: {error}; stream reset")
            self.abort()
            return
        except OSError:
            self.abort()
            return
        if up.done and down.done:
            self.close()
        elif more and not self._again:
            self._again = True
            self._shared.reactor.call_soon(self._pump_again)

    def _pump_again(self) -> None:
        self._again = False
        if not self._closed:
            self._pump()

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"the connection of {self._peer}"

    def cut(self) -> None:
        """As `Contained.cut`."""
        self.abort()

    def abort(self) -> None:
        """Reset both sides."""
        for side in (self._client, self._outward):
            if side is not None and not self._closed:
                with contextlib.suppress(OSError):
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.close()

    def close(self) -> None:
        """Close both sides; what was written to them still goes out."""
        if self._closed:
            return
        self._shared.reactor.remove(self._client.fileno())
        self._client.close()
        if self._outward is not None:
            self._shared.reactor.remove(self._outward.fileno())
            self._outward.close()
        self._leave(DESCRIPTORS)

    def _leave(self, descriptors: int) -> None:
        """The end of the relay: forget what it waited for and give its descriptors back."""
        self._closed = True
        self._timer.cancel()
        self._shared.newcomers.pop(self, None)
        if self._connecting is not None:
            self._connecting.cancel()
        self._ended(self)
        self._shared.budget.give(descriptors)


def keep_alive(stream: socket.socket) -> None:
    """Let the kernel find out about a peer that vanished."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS)
