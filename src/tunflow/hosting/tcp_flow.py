"""A program's TCP connection as a provider sees it (`providers.flows` has the rules), on a connection of the stack.

The connection's owner is `_Owner`, which holds the flow weakly: a flow that its provider forgot is gone, and its
connection with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

from tunflow.conduit import ClientConduit
from tunflow.dataplane.decision import Carry, Decision
from tunflow.endpoint import Buffer, Endpoint, endpoint
from tunflow.flow import FlowInfo
from tunflow.hosting.splice import splice
from tunflow.hosting.waiter import Waiter
from tunflow.outbound.chain import goes_direct
from tunflow.providers.connections import TCPConnection as OutsideConnection
from tunflow.providers.dialers import FlowDialer
from tunflow.providers.errors import AppProxyFlowError, AppProxyFlowErrorCode, flow_error
from tunflow.providers.flow_metadata import FlowMetaData
from tunflow.providers.flows import TCPFlow
from tunflow.stack.icmp import Reason

if TYPE_CHECKING:
    from tunflow.dataplane.statistics import Statistics
    from tunflow.loop.reactor import Reactor
    from tunflow.protocols.contract import Outbound
    from tunflow.stack.stack import Stack

READ_SIZE = 256 * 1024
"""Bytes that one read gives at most: a connection's whole buffer."""

Code = AppProxyFlowErrorCode


class FlowPlane(Protocol):
    """What a flow needs of whoever carries packets."""

    @property
    def reactor(self) -> Reactor:
        """The clock."""

    @property
    def stack(self) -> Stack:
        """The connections' stack."""

    @property
    def statistics(self) -> Statistics:
        """Counts bytes."""


class StackTCPFlow(TCPFlow):
    """See `TCPFlow`. `straight` is the way out of flows that are carried without a dialer; `give` takes one back."""

    def __init__(
        self,
        plane: FlowPlane,
        connection: ClientConduit,
        info: FlowInfo,
        straight: Outbound,
        give: Callable[[Decision], None],
    ) -> None:
        self._plane = plane
        self._give = give
        self._connection = connection
        self._info = info
        self._straight = straight
        self._meta_data = FlowMetaData(info)
        self._opened = self._given_away = False
        self._read_closed = self._write_closed = False
        self._connecting = False
        """True if the SYN is ours and not answered yet."""
        self._ended = False
        """True if the provider is done with both directions."""
        self._reader = Waiter()
        self._writers: deque[tuple[memoryview, asyncio.Future[None]]] = deque()
        self.owner = _Owner(weakref.ref(self))

    @classmethod
    def opened_by_us(
        cls, plane: FlowPlane, connection: ClientConduit, info: FlowInfo, straight: Outbound
    ) -> StackTCPFlow:
        """A flow on a connection whose SYN is ours; see `until_open`."""
        flow = cls(plane, connection, info, straight, _not_given_back)
        flow._opened = flow._connecting = True
        connection.user = flow.owner
        return flow

    async def until_open(self) -> None:
        """Wait until the far end of a connection of ours has answered. Raises OSError."""
        connection = self._connection
        while not connection.open:
            if connection.closed:
                number = errno.ECONNREFUSED if connection.was_reset else errno.ETIMEDOUT
                raise OSError(number, f"{self.remote_endpoint}: {os.strerror(number)}")
            await self._reader.wait()
        self._connecting = False

    @property
    def meta_data(self) -> FlowMetaData:
        """Whose flow it is."""
        return self._meta_data

    @property
    def remote_hostname(self) -> str | None:
        """The name, where it is known."""
        return self._info.hostname

    @property
    def remote_endpoint(self) -> Endpoint:
        """Where the program wants to go."""
        target = self._info.target
        return target if self._info.hostname is None else Endpoint(self._info.hostname, target.port)

    @property
    def is_given_away(self) -> bool:
        """True if tunflow carries the flow itself."""
        return self._given_away

    async def open(self, local_endpoint: Endpoint | None = None) -> None:  # noqa: ARG002
        """Answer the program's SYN."""
        if self._opened or self._given_away or self._write_closed:
            raise AppProxyFlowError(Code.INVALID_ARGUMENT, "the flow is open or over already")
        if self._connection.closed:
            raise AppProxyFlowError(Code.PEER_RESET, "the program gave up before the flow was opened")
        self._opened = True
        self._connection.user = self.owner
        self._connection.accept(self._plane.reactor.now)

    async def read(self) -> bytes:
        """What the program sent."""
        return b"".join(await self.read_pieces())

    async def read_pieces(self) -> list[Buffer]:
        """The same without a copy; empty at the end."""
        if self._reader:
            raise AppProxyFlowError(Code.READ_ALREADY_PENDING)
        connection = self._connection
        while True:
            if not self._opened or self._read_closed:
                raise AppProxyFlowError(Code.ABORTED if self._read_closed and self._opened else Code.NOT_CONNECTED)
            if connection.readable:
                pieces = connection.take(READ_SIZE)
                self._plane.statistics.tcp_bytes_up += sum(map(len, pieces))
                return pieces
            if connection.at_eof:
                return []
            if connection.closed:
                raise AppProxyFlowError(Code.PEER_RESET)
            await self._reader.wait()

    async def write(self, data: Buffer) -> None:
        """Queue data for the program, waiting for room."""
        if not self._opened or self._write_closed:
            raise AppProxyFlowError(Code.NOT_CONNECTED)
        if self._connection.closed:
            raise AppProxyFlowError(Code.PEER_RESET)
        # What is queued must not change any more.
        view = memoryview(data if isinstance(data, bytes) else bytes(data))
        if not self._writers:
            view = self._send(view)
        if not view:
            return
        done = asyncio.get_running_loop().create_future()
        entry = (view, done)
        self._writers.append(entry)
        try:
            await done
        finally:
            if done.cancelled():
                with contextlib.suppress(ValueError):
                    self._writers.remove(entry)

    def _send(self, view: memoryview) -> memoryview:
        """Queue as much as there is room for; the rest."""
        connection = self._connection
        room = min(connection.send_room, len(view))
        if room > 0:
            connection.send([view[:room]], self._plane.reactor.now)
            self._plane.statistics.tcp_bytes_down += room
        return view[max(0, room) :]

    def close_read(self, error: BaseException | None = None) -> None:
        """Discard what the program sends."""
        if self._read_closed or self._given_away:
            return
        self._read_closed = True
        self._reader.wake()
        if error is not None and self._opened:
            self._abort()
            return
        self.service()
        self._end_if_done()

    def close_write(self, error: BaseException | None = None) -> None:
        """The end of the stream, or a failure."""
        if self._write_closed or self._given_away:
            return
        self._write_closed = True
        if not self._opened:
            self._refuse(flow_error(error) if error is not None else None)
        elif error is not None:
            self._abort()
        else:
            if not self._writers:
                self._connection.close_write(self._plane.reactor.now)
            self._end_if_done()

    async def carry(self, dialer: FlowDialer | None = None, target: Endpoint | None = None) -> None:
        """Hand the connection back to the driver."""
        if self._given_away or self._read_closed or self._write_closed:
            raise AppProxyFlowError(Code.NOT_CONNECTED, "the flow is over, or given away already")
        if self._reader or self._writers:
            raise AppProxyFlowError(Code.READ_ALREADY_PENDING, "the flow is being read or written")
        way = cast("Outbound", dialer) if dialer is not None else self._straight
        if target is None:
            target = self._info.target if goes_direct(way) else self.remote_endpoint
        if goes_direct(way) and isinstance(target.host, str):
            target = await _resolved(target)
        self.give_away(Carry(way, target))

    def let_go(self) -> None:
        """The flow was declined before it was anybody's: it does nothing any more."""
        self._given_away = True

    def give_away(self, decision: Decision) -> None:
        """The flow is the provider's no more: the driver does with it as `decision` says."""
        self._given_away = True
        self._give(decision)

    async def splice(self, connection: OutsideConnection) -> None:
        """Pump both ways."""
        await splice(self, connection)

    # What the connection tells.

    def rebind(self, stream: ClientConduit) -> None:
        """Go on with `stream`, which is the same flow."""
        self._connection = stream

    def service(self) -> None:
        """The connection changed."""
        connection = self._connection
        if self._read_closed:
            while connection.readable:
                connection.take(READ_SIZE)
        elif self._reader and (connection.readable or connection.at_eof or connection.closed or self._connecting):
            self._reader.wake()
        while self._writers:
            if connection.closed:
                _, done = self._writers.popleft()
                if not done.done():
                    done.set_exception(AppProxyFlowError(Code.PEER_RESET))
                continue
            view, done = self._writers[0]
            rest = self._send(view)
            if rest:
                self._writers[0] = (rest, done)
                return
            self._writers.popleft()
            if not done.done():
                done.set_result(None)
            if not self._writers and self._write_closed:
                connection.close_write(self._plane.reactor.now)
                self._end_if_done()

    # Ends.

    def _refuse(self, error: AppProxyFlowError | None) -> None:
        """The program's SYN still waits: tell it in the network's own way."""
        self._read_closed = self._ended = True
        connection, plane = self._connection, self._plane
        connection.user = None
        code = None if error is None else error.code
        if connection.held:
            if code is Code.HOST_UNREACHABLE:
                plane.stack.unreachable(connection.syn, Reason.HOST, plane.reactor.now)
            connection.reject(reset=code not in {Code.HOST_UNREACHABLE, Code.TIMED_OUT})

    def _abort(self) -> None:
        self._read_closed = self._write_closed = self._ended = True
        self._connection.user = None
        self._reader.wake()
        self._connection.abort()
        self.service()  # whoever still writes hears of it

    def _end_if_done(self) -> None:
        if self._read_closed and self._write_closed and not self._writers and not self._ended and self._opened:
            self._ended = True
            self._connection.abandon(self._plane.reactor.now)

    def __del__(self) -> None:
        connection = self._connection
        if not self._ended and not self._given_away and (connection.readable or not connection.closed):
            # Not here: whatever runs now may be in the middle of the stack.
            self._plane.reactor.call_soon(connection.abort)


class _Owner:
    """What the stack's connection holds."""

    __slots__ = ("_flow",)

    def __init__(self, flow: weakref.ref[StackTCPFlow]) -> None:
        self._flow = flow

    def service(self) -> None:
        """Tell the flow, if there still is one."""
        flow = self._flow()
        if flow is not None:
            flow.service()

    def rebind(self, stream: ClientConduit) -> None:
        """Tell the flow that its connection is another object."""
        flow = self._flow()
        if flow is not None:
            flow.rebind(stream)


def _not_given_back(decision: Decision) -> None:
    raise AssertionError(f"no policy is there for {decision}")


async def _resolved(target: Endpoint) -> Endpoint:
    """The address of a name, by the system's resolver. Raises AppProxyFlowError."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(target.host, target.port)
    except OSError as error:
        raise AppProxyFlowError(Code.HOST_UNREACHABLE, f"{target}: {error.strerror}") from error
    except ValueError as error:  # what IDNA cannot encode, or a byte of zeros
        raise AppProxyFlowError(Code.HOST_UNREACHABLE, f"{target.host!r} is no name of a host") from error
    return endpoint(str(found[0][4][0]), target.port)
