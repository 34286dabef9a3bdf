"""A client that sends whole HTTP requests to a local proxy port: a `Forwarder` between its socket and the sites'.

Rules: a side is read only while nothing waits to be written to the other, so a connection never holds more than a
read's worth in each direction; it holds two descriptors, one for the client and one for the site of the moment; between
two requests it makes room like a newcomer.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable

from tunflow.contained import Contained
from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.inbound.connect import why
from tunflow.inbound.relay import DESCRIPTORS, EVENTS, Cancellable, keep_alive
from tunflow.inbound.server_context import ServerContext
from tunflow.inbound.side import Side
from tunflow.inbound.target_dial import Reached, reach
from tunflow.inbound.udp import endpoint_of
from tunflow.loop.reactor import ERROR, Timer
from tunflow.loop.sockets import RESET_ON_CLOSE
from tunflow.protocols.codec import Refusal, StreamCodec
from tunflow.protocols.contract import Outbound
from tunflow.protocols.http.answers import local_page
from tunflow.protocols.http.forwarder import Forwarder
from tunflow.protocols.http.sign_in import Known

STEPS_PER_TURN = 8
"""Reads before other connections get their turn."""

IDLE_SECONDS = 60.0
"""How long a client may take to send a request's header, and how long it is kept between two requests."""

LINGER_SECONDS = 2.0
"""How long a client whose request was not read to its end has to read the answer (RFC 9112 §9.6)."""


class SiteTraffic:
    """The part of a client's connection that goes to one site, as `conduit.Carrier`."""

    __slots__ = ("_abort", "bytes_down", "bytes_up", "is_over")

    def __init__(self, abort: Callable[[], None]) -> None:
        self._abort = abort
        self.bytes_up = 0
        """As `Carrier.bytes_up`."""
        self.bytes_down = 0
        """As `Carrier.bytes_down`."""
        self.is_over = False
        """As `Carrier.is_over`."""

    def cut(self) -> None:
        """As `Carrier.cut`; the client's connection ends with it."""
        self._abort()


class Forwarding(Contained):
    """One client's connection; `first` are the bytes that were read from it already."""

    def __init__(
        self,
        shared: ServerContext,
        client: socket.socket,
        peer: str,
        first: bytes,
        dialer: Outbound,
        known: Known | None,
        ended: Callable[[Forwarding], None],
        note: Callable[[Endpoint, SiteTraffic], None] | None = None,
    ) -> None:
        """`note` is told of each site that the client's requests go to."""
        self._shared = shared
        self._peer = peer
        self._dialer = dialer
        self._ended = ended
        self._note = note
        self._traffic: SiteTraffic | None = None
        self._client = Side(client)
        self._site: Side | None = None
        self._codec: StreamCodec | None = None
        self._tail = b""
        self._dialing: Cancellable | None = None
        self._idle: Timer | None = None
        self._again = False
        self._closed = False
        self._machine = Forwarder(self._page, known)
        self._machine.from_client_untrusted(first)
        self._wait_for_request()
        shared.reactor.add(client.fileno(), EVENTS, self._on_client)

    def _page(self, path: str) -> bytes:
        return local_page(str(endpoint_of(self._client.socket.getsockname())), path)

    @property
    def waiting(self) -> int:
        """Bytes that wait to be written, on both sides."""
        return self._client.waiting + (self._site.waiting if self._site is not None else 0)

    # Between two requests.

    def _wait_for_request(self) -> None:
        self._shared.newcomers[self] = self._shared.reactor.now
        self._idle = self._shared.reactor.call_later(IDLE_SECONDS, self.close)

    def _note_request(self) -> None:
        self._shared.newcomers.pop(self, None)
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    # Events.

    def _on_client(self, events: int) -> None:
        self._client.take(events)
        if events & ERROR:
            self.abort()
        else:
            self._pump()

    def _on_site(self, events: int) -> None:
        if self._site is not None:
            self._site.take(events)
            self._pump()

    def _pump(self) -> None:
        for _ in range(STEPS_PER_TURN):
            if self._closed or not self._step():
                return
        if not self._again:
            self._again = True
            self._shared.reactor.call_soon(self._pump_again)

    def _pump_again(self) -> None:
        self._again = False
        self._pump()

    def _step(self) -> bool:
        """Do what can be done now. Return True if there may be more."""
        more = self._machine.advance()
        self._obey()
        try:
            if self._closed or not self._write():
                return False
            moved = self._read_client()
        except OSError:
            self.abort()
            return False
        return self._read_site() or moved or more

    def _obey(self) -> None:
        """Do what the machine asks for."""
        machine, shared = self._machine, self._shared
        if machine.complaint is not None:
            shared.counters.refused += 1
            shared.log.tell(f"refused: {machine.complaint}", f"{self._peer}: {machine.complaint}")
            machine.complaint = None
        if machine.cut:
            self.abort()
            return
        if not machine.idle:
            self._note_request()
        elif self._idle is None:
            self._wait_for_request()
        if machine.hang_up:
            machine.hang_up = False
            self._drop_site()
        if machine.dial is not None:
            target, machine.dial = machine.dial, None
            self._drop_site()
            shared.counters.streams += 1
            if self._note is not None:
                self._traffic = SiteTraffic(self.abort)
                self._note(target, self._traffic)
            self._dialing = reach(shared, self._dialer, target, self)

    # The site.

    def reached(self, way: Reached) -> None:
        """As `target_dial.OutcomeListener.reached`."""
        self._dialing = None
        self._site = Side(way.outward)
        self._codec, self._tail = way.codec, way.tail
        way.outward.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        keep_alive(way.outward)
        self._machine.dialled()
        if self._codec is not None and not self._machine.to_site:
            self._site.outgoing = self._codec.seal([])  # the site may have to speak first
        self._hear(way.early)
        self._shared.reactor.add(way.outward.fileno(), EVENTS, self._on_site)
        self._pump()

    def not_reached(self, refusal: Refusal, reason: str) -> None:
        """As `target_dial.OutcomeListener.not_reached`."""
        self._dialing = None
        self._machine.not_dialled(refusal, reason)
        self._pump()

    def _hear(self, pieces: list[Buffer]) -> None:
        size = sum(map(len, pieces))
        self._shared.counters.stream_bytes_down += size
        if self._traffic is not None:
            self._traffic.bytes_down += size
        for piece in pieces:
            if piece:
                self._machine.from_site_untrusted(piece)

    def _site_broke(self, why: str) -> None:
        self._drop_site()
        self._machine.site_lost(why)

    def _drop_site(self) -> None:
        if self._traffic is not None:
            self._traffic.is_over = True
            self._traffic = None
        if self._dialing is not None:
            self._dialing.cancel()
            self._dialing = None
        if self._site is not None:
            self._shared.reactor.remove(self._site.socket.fileno())
            self._site.socket.close()
            self._site = None

    # Bytes.

    def _write(self) -> bool:
        """Write what waits on both sides. Return False if this was the end. Raises OSError about the client."""
        machine, client = self._machine, self._client
        if machine.to_client:
            client.outgoing += machine.to_client
            machine.to_client.clear()
        if self._site is not None:
            try:
                self._write_site(self._site)
            except OSError as error:
                self._site_broke(why(error.errno or errno.EIO))
                return True
        if not client.flush():
            return True
        if machine.over:
            self._finish()
        elif self._site is not None and client.is_done and self._site.is_done:
            self.close()
        return not self._closed

    def _write_site(self, site: Side) -> None:
        waiting = self._machine.to_site
        if waiting:
            size = sum(map(len, waiting))
            self._shared.counters.stream_bytes_up += size
            if self._traffic is not None:
                self._traffic.bytes_up += size
            site.outgoing += waiting if self._codec is None else self._codec.seal(list(waiting))
            waiting.clear()
        site.flush()

    def _read_client(self) -> bool:
        """Read once, if it is the client's turn. Return True if something came. Raises OSError."""
        machine, client, site = self._machine, self._client, self._site
        if not client.readable or client.ended or not machine.takes_client:
            return False
        if machine.to_site or (site is not None and site.outgoing):
            return False
        data = client.read(self._shared.scratch)
        if data is None:
            return False
        if data or not machine.tunnel:
            machine.from_client_untrusted(data)
        elif site is not None:
            site.ending = True
        return True

    def _read_site(self) -> bool:
        """Read once, if the client has taken what came before. Return True if something came."""
        site = self._site
        if site is None or not site.readable or site.ended or self._client.outgoing or self._machine.to_client:
            return False
        have = len(self._tail)
        scratch = self._shared.scratch
        scratch[:have] = self._tail
        try:
            data = site.read(scratch[have:])
            if data is None:
                return False
            if data:
                self._hear(self._opened(scratch[: have + len(data)]))
            elif have:
                raise BadPacket("the stream ends within a record")
            elif self._machine.tunnel:
                self._client.ending = True
            else:
                self._machine.from_site_untrusted(b"")
        except BadPacket as error:
            self._site_broke(str(error))
        except OSError as error:
            self._site_broke(why(error.errno or errno.EIO))
        return True

    def _opened(self, wire: memoryview) -> list[Buffer]:
        """What the servers carried. Raises BadPacket."""
        if self._codec is None:
            return [bytes(wire)]
        pieces, used = self._codec.open_untrusted(wire)
        self._tail = bytes(wire[used:])
        return pieces

    # The end.

    def _finish(self) -> None:
        """The client has got its last answer; it may still be sending."""
        self._drop_site()
        try:
            self._client.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        if self._client.ended:
            self.close()
            return
        self._shared.reactor.remove(self._client.socket.fileno())
        self._shared.silence.hold(self._client.socket, self._shared.reactor.now + LINGER_SECONDS)
        self._leave(1)

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"the connection of {self._peer}"

    def cut(self) -> None:
        """As `Contained.cut`."""
        self.abort()

    def abort(self) -> None:
        """Reset both sides."""
        for side in (self._client, self._site):
            if side is not None and not self._closed:
                with contextlib.suppress(OSError):
                    side.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.close()

    def close(self) -> None:
        """Close both sides."""
        if not self._closed:
            self._shared.reactor.remove(self._client.socket.fileno())
            self._client.socket.close()
            self._leave(DESCRIPTORS)

    def _leave(self, descriptors: int) -> None:
        """Forget what was waited for, and give descriptors back."""
        self._closed = True
        self._note_request()
        self._drop_site()
        self._ended(self)
        self._shared.budget.give(descriptors)
