"""One accepted stream and its outward socket. What is spoken with the client, and done for it, is its `ClientService`.

The life of a relay, each step only ever followed by the next or by the end:

    header   reading until the service knows what the client wants, or that it is none of ours
    connect  the target is being reached; nothing is read
    relay    two pipes, each with its own half-close; the end of both is the end of the relay

A client whose wish is not a stream (an association of datagrams) is its service's until the end.

Rules: an error on one side is told to the other as a reset, so that neither takes a cut stream for a whole
one; the relay holds two descriptors of the budget from the moment it is accepted.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Protocol

from tunflow.contained import Contained
from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.inbound.pipe import Pipe
from tunflow.inbound.server_context import ServerContext
from tunflow.inbound.silent_peers import silent_seconds
from tunflow.loop.reactor import EDGE, ERROR, HANGUP, READ, READ_HANGUP, WRITE
from tunflow.loop.sockets import RESET_ON_CLOSE

EVENTS = READ | WRITE | READ_HANGUP | EDGE
READABLE = READ | READ_HANGUP | HANGUP | ERROR
ENDING = READ_HANGUP | HANGUP | ERROR

DESCRIPTORS = 2
"""That a relay holds."""

KEEPALIVE_IDLE_SECONDS = 300
"""A peer that vanished is noticed; a flow that is merely idle goes on (RFC 9293 §3.8.4)."""


class Cancellable(Protocol):
    """An attempt that is under way."""

    def cancel(self) -> None:
        """Give up without telling anyone."""


class ClientService(Protocol):
    """What is spoken with one client, and what is done for it. It is made for one relay, and drives that."""

    @property
    def knows_wish(self) -> bool:
        """True if the client has said what it wants."""

    def words(self) -> bytes:
        """What the client is to be told by now, before its wish is known; each byte once."""

    def turn_up(self, view: memoryview) -> tuple[list[Buffer], int]:
        """Turn bytes of the client's into those that go outward; how many of them that used up. Raises BadPacket."""

    def turn_down(self, view: memoryview) -> tuple[list[Buffer], int]:
        """The same for bytes that are for the client. Raises BadPacket."""

    def finish(self) -> list[Buffer]:
        """Return what the client is told behind the last of these."""

    def fulfil(self) -> None:
        """The client's wish is known: do it."""

    def refused(self, error: BadPacket) -> None:
        """The client is none of ours: end the relay, or keep it in silence."""

    def serve(self) -> None:
        """The client, which has no outward side, said something or takes more; only after `Relay.begin`."""

    def over(self) -> None:
        """The relay has ended: give back what is yours."""


class Relay(Contained):
    """Carries one stream from its accepted socket until both directions have ended."""

    def __init__(
        self,
        shared: ServerContext,
        client: socket.socket,
        peer: str,
        make_service: Callable[[Relay], ClientService],
        ended: Callable[[Relay], None],
    ) -> None:
        self.shared = shared
        self.client = client
        self.peer = peer
        """The client's address, for the log."""
        self.is_over = False
        """True once both sides are closed, or somebody else's."""
        self._ended = ended
        self._outward: socket.socket | None = None
        self._connecting: Cancellable | None = None
        self._has_begun = False
        self._is_due = False
        self._is_given_away = False
        self._deadline = shared.reactor.now + silent_seconds(shared.rng)
        self._timer = shared.reactor.call_at(self._deadline, self.close)
        self._service = service = make_service(self)
        self.up = Pipe(client, service.turn_up, shared.scratch)
        self.down = Pipe(None, service.turn_down, shared.scratch, service.finish)
        shared.newcomers[self] = shared.reactor.now
        shared.reactor.add(client.fileno(), EVENTS, self._on_client)

    @property
    def waiting(self) -> int:
        """Bytes that wait to be written, in both directions."""
        return self.up.waiting + self.down.waiting

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"the connection of {self.peer}"

    def cut(self) -> None:
        """As `Contained.cut`."""
        if self._is_given_away and self.client.fileno() >= 0:  # to whom the bug has not let be there
            self.client.close()
            self.shared.budget.give(DESCRIPTORS)
        self.abort()

    # Events.

    def _on_client(self, events: int) -> None:
        up = self.up
        if events & READABLE:
            up.readable = True
            if events & ENDING:
                up.hangup = True
                if events & ERROR:
                    self.abort()
                    return
        if events & WRITE:
            self.down.blocked = False
        self._go_on()

    def _on_outward(self, events: int) -> None:
        down = self.down
        if events & READABLE:
            down.readable = True
            if events & ENDING:
                down.hangup = True
        if events & WRITE:
            self.up.blocked = False
        self.pump()

    def _go_on(self) -> None:
        if self._outward is not None:
            self.pump()
        elif self._connecting is None:
            if self._has_begun:
                self._service.serve()
            else:
                self._read_header()

    def again(self) -> None:
        """There is more to do, once the other connections had their turn."""
        if not self._is_due:
            self._is_due = True
            self.shared.reactor.call_soon(self._due)

    def _due(self) -> None:
        self._is_due = False
        if not self.is_over:
            self._go_on()

    # The client's wish.

    def _read_header(self) -> None:
        up, service = self.up, self._service
        try:
            while up.readable and not service.knows_wish and not up.ended:
                up.fill()
                self.tell(service.words())
        except BadPacket as error:
            self.tell(service.words())
            service.refused(error)
            return
        except OSError:
            self.close()
            return
        if service.knows_wish:
            service.fulfil()
        elif up.ended:
            self.close()

    def tell(self, words: bytes) -> None:
        """Tell the client a few bytes, which an idle socket always takes."""
        if words:
            with contextlib.suppress(OSError):
                self.client.send(words)

    def begin(self) -> None:
        """The client has said what it wants, and may have it."""
        self._has_begun = True
        self._timer.cancel()
        self.shared.newcomers.pop(self, None)
        self.shared.counters.streams += 1

    def fall_silent(self, reason: str) -> None:
        """Keep the client, which did not prove to know the key, among the silent peers; the relay ends."""
        shared = self.shared
        shared.counters.refused += 1
        shared.log.tell(f"refused: {reason}", f"{self.peer}: {reason}; kept in silence")
        if self.up.ended:
            self.close()
            return
        shared.reactor.remove(self.client.fileno())
        shared.silence.hold(self.client, self._deadline)
        self._leave(1)

    def hand_over(self) -> bytes:
        """Somebody else goes on with `client`, and with the budget's descriptors; return what was read from it."""
        self.shared.reactor.remove(self.client.fileno())
        self._leave(0)
        self._is_given_away = True
        return b"".join(self.up.pending)

    def wait_for(self, connecting: Cancellable | None) -> None:
        """Leave the client's bytes where they are until `carry`; None if it was called already, or the relay ended."""
        self._connecting = connecting

    # Bytes.

    def carry(self, outward: socket.socket) -> None:
        """Join the client with `outward`, which is connected."""
        if self.is_over:
            outward.close()
            return
        self._outward = outward
        if outward.family != socket.AF_UNIX:  # a stream of a session is the end of a pair
            outward.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            keep_alive(outward)
        self.up.sink = outward
        self.down.source = outward
        self.down.sink = self.client
        self.shared.reactor.add(outward.fileno(), EVENTS, self._on_outward)
        self.pump()

    def pump(self) -> None:
        """Move what can be moved now."""
        up, down = self.up, self.down
        try:
            more = up.pump()
            if down.pump():
                more = True
        except BadPacket as error:
            self.garbled(error)
            return
        except OSError:
            self.abort()
            return
        if up.done and down.done:
            self.close()
        elif more:
            self.again()

    # Ends.

    def garbled(self, error: BadPacket) -> None:
        """A side sent what does not decode, in the middle of the flow."""
        self.shared.log.tell(f"stream: {error}", f"{self.peer}: {error}; stream reset")
        self.abort()

    def abort(self) -> None:
        """Reset both sides."""
        for side in (self.client, self._outward):
            if side is not None and not self.is_over:
                with contextlib.suppress(OSError):
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.close()

    def close(self) -> None:
        """Close both sides; what was written to them still goes out."""
        if self.is_over:
            return
        self.shared.reactor.remove(self.client.fileno())
        self.client.close()
        if self._outward is not None:
            self.shared.reactor.remove(self._outward.fileno())
            self._outward.close()
        self._leave(DESCRIPTORS)

    def _leave(self, descriptors: int) -> None:
        """The end of the relay: forget what it waited for and give its descriptors back."""
        self.is_over = True
        self._timer.cancel()
        self.shared.newcomers.pop(self, None)
        try:
            self._service.over()
            if self._connecting is not None:
                self._connecting.cancel()
        finally:
            self._ended(self)
            self.shared.budget.give(descriptors)


def keep_alive(stream: socket.socket) -> None:
    """Let the kernel find out about a peer that vanished."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS)
