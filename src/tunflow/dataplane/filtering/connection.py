"""A client's TCP connection behind a content filter: what its owner sees of it is what the filter lets pass.

It stands between a connection of the stack and whoever owns it (a relay, a provider's flow), and looks to the owner
like the connection itself. Bytes of the client stay in the connection until they may pass, so that its window holds a
held client back; bytes of the far side are held here, at most what the owner was told there is room for. When the
filter has said its last word the relay is given the connection itself, and the filter costs nothing any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tunflow.conduit import ClientConduit, StreamOwner
from tunflow.contained import Contained
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.filtering.page_owner import PageOwner
from tunflow.dataplane.filtering.session import FilterSession
from tunflow.endpoint import Buffer, Endpoint
from tunflow.stack.tcp.connection import Connection
from tunflow.stack.tcp.state import SYN_HELD


class FilteredConnection(Contained):
    """The parts of `Connection` that an owner uses."""

    __slots__ = (
        "_abandoned", "_allowed", "_context", "_ended", "_far_ended", "_first", "_held", "_held_size", "_incoming_over",
        "_is_before", "_outgoing_over", "_passed", "_receiver", "_session", "connection", "route",
    )  # fmt: skip

    def __init__(self, context: FlowContext, connection: Connection, session: FilterSession) -> None:
        self.connection = connection
        self._context = context
        self._session = session
        self._allowed = 0
        """Bytes of the client that were judged and not taken yet."""
        self._outgoing_over = self._incoming_over = False
        """True if the filter was told of the end of that direction and had nothing against it."""
        self._held: list[Buffer] = []
        self._held_size = 0
        self._far_ended = False
        self._abandoned = False
        self._ended = False
        self._is_before = not session.open
        """True if the owner has this, and not the connection itself."""
        self.route: Callable[[], None] | None = None
        """What to do with the flow once it may begin; None when that was done."""
        self._receiver = connection.receiver
        self._first = self._receiver.next
        """The sequence number of the client's first byte."""
        self._passed: tuple[int, int] | None = None
        """Bytes to the client and from it when the flow was refused; None while it is not."""
        session.changed, session.count = self._changed, self._count

    # What the connection is.

    @property
    def client(self) -> Endpoint:
        """As `Connection.client`."""
        return self.connection.client

    @property
    def target(self) -> Endpoint:
        """As `Connection.target`."""
        return self.connection.target

    @property
    def syn(self) -> bytes:
        """As `Connection.syn`."""
        return self.connection.syn

    @property
    def largest_segment(self) -> int:
        """As `Connection.largest_segment`."""
        return self.connection.sender.largest_segment

    @property
    def unacknowledged(self) -> int:
        """As `Connection.unacknowledged`."""
        return self.connection.unacknowledged

    @property
    def user(self) -> StreamOwner | None:
        """The owner, whom the stack tells of changes."""
        return self.connection.user

    @user.setter
    def user(self, owner: StreamOwner | None) -> None:
        self.connection.user = owner

    @property
    def held(self) -> bool:
        """As `Connection.held`."""
        return self.connection.state is SYN_HELD

    @property
    def open(self) -> bool:
        """As `Connection.open`; not any more once the filter refused."""
        return self.connection.open and not self._session.refused

    @property
    def closed(self) -> bool:
        """True if it is over, also because the filter refused."""
        if self.connection.closed:
            self._end()
            return True
        return self._session.refused

    @property
    def was_reset(self) -> bool:
        """True if it ended out of order."""
        return self._session.refused or self.connection.was_reset

    @property
    def is_refused(self) -> bool:
        """True if the filter said that it may not go on."""
        return self._session.refused

    @property
    def held_bytes(self) -> int:
        """Bytes to the client that wait for a verdict."""
        return self._held_size

    # From the client.

    @property
    def readable(self) -> int:
        """Bytes that may be taken."""
        receiver = self._receiver
        waiting = receiver.queued
        if not waiting:
            return 0
        session = self._session
        if session.open:
            return waiting
        if not self._allowed:
            self._allowed = session.judge(session.outgoing, receiver.pieces, waiting, receiver.fin_received)
            if session.refused or session.open or not self._is_before:
                self._settle()
        return self._allowed

    @property
    def at_eof(self) -> bool:
        """True if the client closed its side, and all that it sent has passed."""
        receiver = self._receiver
        if not receiver.fin_received:
            return False
        session = self._session
        if receiver.queued or session.refused:
            return False
        if not self._outgoing_over:
            window = session.outgoing
            if window is not None and window.may_end and not session.paused:
                self._outgoing_over = True
                return True
            session.judge(window, (), 0, True)
            self._outgoing_over = not session.paused
            self._settle()
        return self._outgoing_over and not session.refused

    def take(self, limit: int) -> list[Buffer]:
        """As `Connection.take`, of what may pass."""
        session = self._session
        if session.open:
            self._allowed = 0
            return self.connection.take(limit)
        size = self._allowed or self.readable
        if size > limit:
            size = limit
        self._allowed -= size
        pieces = self.connection.take(size) if size else []
        return pieces if session.appender is None else session.appender.append(pieces)

    def peek(self) -> Sequence[Buffer]:
        """As `Connection.peek`: also what has not passed, for looking does no harm."""
        return self.connection.peek()

    # To the client.

    @property
    def send_room(self) -> int:
        """Room for the far side's bytes, less what is held."""
        room, held = self.connection.send_room, self._held_size
        return room if not held else max(0, room - held)

    def accept(self, now: float) -> None:
        """As `Connection.accept`."""
        self.connection.accept(now)

    def send(self, pieces: Sequence[Buffer], now: float, more: bool = False) -> None:
        """Bytes for the client, if they may pass; the others wait here."""
        session = self._session
        if not self._held_size and (
            session.open or not (session.incoming is not None or session.paused or session.refused)
        ):
            self.connection.send(pieces, now, more)
            return
        self._hold(pieces)
        self._deliver(now, more)

    def close_write(self, now: float, last: Sequence[Buffer] = ()) -> None:
        """The far side's end, behind its last bytes."""
        session = self._session
        if not self._held_size and (
            session.open or not (session.incoming is not None or session.paused or session.refused)
        ):
            self._far_ended = self._incoming_over = True
            self.connection.close_write(now, last)
            return
        self._hold(last)
        self._far_ended = True
        self._deliver(now, False)

    # Ends.

    def reject(self, reset: bool) -> None:
        """As `Connection.reject`."""
        self.connection.reject(reset)
        self._end()

    def abort(self) -> None:
        """As `Connection.abort`."""
        self._drop_held()
        if not self._session.refused:
            self.connection.abort()
        self._end()

    def abandon(self, now: float) -> None:
        """The owner is done; what the filter still holds for the client goes when it may."""
        if self._session.refused:
            return
        if not self._incoming_over:
            self._far_ended = True
            self._deliver(now, False)
        if self._held_size or not self._incoming_over:
            self._abandoned = True
            self.connection.user = self
        else:
            self._end()
            self.connection.abandon(now)

    # As `StreamOwner`, when the owner is done and something is still held.

    def rebind(self, stream: ClientConduit) -> None:
        """Nobody is left who could see the connection itself."""

    def service(self) -> None:
        """The client may have left: then what is held is nobody's."""
        if self.connection.closed:
            self.connection.user = None  # or each would hold the other until the collector comes
            self._end()

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"filtered {self.connection.about}"

    def cut(self) -> None:
        """As `Contained.cut`: what was not judged does not pass."""
        self._session.refused = True
        try:
            if not self._ended:
                self._refuse(None)
        finally:
            if not self.connection.closed:
                self.connection.cut()

    # How it works.

    def _hold(self, pieces: Sequence[Buffer]) -> None:
        size = sum(map(len, pieces))
        self._held += pieces
        self._held_size += size
        self._context.stack.budget.used += size

    def _drop_held(self) -> None:
        self._held.clear()
        self._context.stack.budget.used -= self._held_size
        self._held_size = 0

    def _deliver(self, now: float, more: bool) -> None:
        """Send what may be sent of what is held, and the end when its turn has come."""
        session = self._session
        if session.refused or self._incoming_over:
            self._drop_held()
            return
        size = session.judge(session.incoming, self._held, self._held_size, self._far_ended)
        pieces = self._split(size) if size else []
        if self._far_ended and not self._held_size and not session.paused and not session.refused:
            self._incoming_over = True
            self.connection.close_write(now, pieces)
        elif pieces:
            self.connection.send(pieces, now, more)
        self._settle()

    def _split(self, size: int) -> list[Buffer]:
        """The first `size` bytes of what is held, which are held no more."""
        self._held_size -= size
        self._context.stack.budget.used -= size
        if not self._held_size:
            first, self._held = self._held, []
            return first
        first = []
        while size:
            piece = self._held[0]
            if len(piece) > size:
                view = memoryview(piece)
                first.append(view[:size])
                self._held[0] = view[size:]
                break
            first.append(self._held.pop(0))
            size -= len(piece)
        return first

    def show_page(self) -> None:
        """Let the client of a refused flow in, to be shown why."""
        self._passed = (0, 0)
        PageOwner(self._context, self.connection, self._session)
        self.connection.accept(self._context.reactor.now)
        self._end()

    def note_end(self) -> None:
        """Look whether it is over."""
        if self.connection.closed:
            self._end()

    def judge_again(self) -> None:
        """The filter's rules changed: whatever the verdict was, it is asked anew, about what has not passed yet."""
        if self.connection.closed:
            self._end()
            return
        self._stand_before(True)
        if self._session.open:
            self._allowed = 0  # the owner took what it liked since
        self._session.again()

    def _changed(self) -> None:
        """A verdict came while nobody asked."""
        connection = self.connection
        if connection.closed:
            self._end()
            return
        now = self._context.reactor.now
        self._settle()
        if self._session.refused or self._session.paused:
            return
        if self.route is not None:
            route, self.route = self.route, None
            self._session.has_begun = True
            route()
            self._settle()
            return
        self._deliver(now, False)
        if self._abandoned and self._incoming_over and not connection.closed:
            self._end()
            connection.abandon(now)
        elif connection.user is not None:
            connection.user.service()

    def _settle(self) -> None:
        """Act on what the session has come to."""
        session = self._session
        if session.refused:
            if not self._ended:
                self._refuse(session.page)
        elif session.open and not self._held_size and not self._far_ended:
            self._stand_before(False)
        else:
            self._stand_before(True)

    def _stand_before(self, before: bool) -> None:
        """Have the owner, if there is one, see the flow through here, or the connection itself."""
        owner = self.connection.user
        if before is not self._is_before and owner is not None:
            self._is_before = before
            owner.rebind(self if before else self.connection)

    def _count(self) -> tuple[int, int]:
        """Bytes that passed to the client and from it; of one that is not let in yet there are none."""
        connection = self.connection
        if self._passed is not None or connection.held:
            return self._passed or (0, 0)
        sender, receiver = connection.sender, self._receiver
        sent = sender.next - sender.start - sender.fin_sent
        return sent, receiver.next - self._first - receiver.fin_received - receiver.queued

    def _refuse(self, page: bytes | None) -> None:
        """End it on the client's side; the owner finds it closed, in the next round."""
        connection = self.connection
        self._passed = self._count()
        if page is not None and connection.held:
            self.show_page()
            return
        owner, connection.user = connection.user, None
        self._allowed = 0
        self._drop_held()
        if page is None or not connection.open:
            connection.abort()
        else:
            PageOwner(self._context, connection, self._session).respond()
        self._end()
        if owner is not None:
            self._context.reactor.call_soon(owner.service)

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            try:
                self._drop_held()
                self._session.close()
            except Exception:
                self._ended = False  # or the filter would remember it for ever
                raise
