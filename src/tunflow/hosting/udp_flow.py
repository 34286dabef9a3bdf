"""A program's UDP socket as a provider sees it (`providers.flows` has the rules), on a mapping of the stack."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from tunflow.dataplane.decision import Carry, DatagramCase, Decision
from tunflow.endpoint import Buffer, Endpoint
from tunflow.hosting.waiter import Waiter
from tunflow.providers.dialers import FlowDialer
from tunflow.providers.errors import AppProxyFlowError, AppProxyFlowErrorCode
from tunflow.providers.flow_metadata import FlowMetaData
from tunflow.providers.flows import UDPFlow
from tunflow.stack.icmp import Reason
from tunflow.stack.udp import MAX_BATCH, UDPRun

if TYPE_CHECKING:
    from tunflow.protocols.contract import Outbound

WAITING = 256
WAITING_BYTES = 1 << 20
"""Runs of datagrams, and their bytes, that wait for a provider to read them; more are dropped, as a full socket
would."""

LARGEST = 65507
"""Bytes of payload in one datagram (RFC 768, RFC 791)."""

LARGEST_RUN = 60_000
"""Bytes of datagrams that go to the program in one packet."""

Code = AppProxyFlowErrorCode


class StackUDPFlow(UDPFlow):
    """See `UDPFlow`. `straight` is the way out of flows that are carried without a dialer."""

    def __init__(self, case: DatagramCase, straight: Outbound) -> None:
        self._context = case.context
        self._mapping = case.udp.mapping
        self._info = case.flow
        self._straight = straight
        self._meta_data = FlowMetaData(case.flow)
        self._opened = self._read_closed = self._write_closed = False
        self._gone = False
        self._waiting: deque[UDPRun] = deque()
        self._waiting_bytes = 0
        self._reader = Waiter()
        self.owner = _Owner(self, case)

    @property
    def meta_data(self) -> FlowMetaData:
        """Whose flow it is."""
        return self._meta_data

    @property
    def remote_hostname(self) -> str | None:
        """The name of the first destination, where it is known."""
        return self._info.hostname

    @property
    def local_endpoint(self) -> Endpoint:
        """The program's socket."""
        return self._mapping.client

    @property
    def is_given_away(self) -> bool:
        """True if tunflow carries the flow itself."""
        return self.owner.decide is not None

    async def open(self, local_endpoint: Endpoint | None = None) -> None:  # noqa: ARG002
        """Nobody waits for it: UDP has no connection."""
        if self._opened or self.is_given_away or self._write_closed:
            raise AppProxyFlowError(Code.INVALID_ARGUMENT, "the flow is open or over already")
        self._opened = True

    async def read_datagrams(self) -> list[tuple[bytes, Endpoint]]:
        """What the program sent."""
        if self._reader:
            raise AppProxyFlowError(Code.READ_ALREADY_PENDING)
        while True:
            if not self._opened or self._read_closed:
                raise AppProxyFlowError(Code.ABORTED if self._read_closed and self._opened else Code.NOT_CONNECTED)
            if self._waiting:
                runs, self._waiting = self._waiting, deque()
                self._waiting_bytes = 0
                return [(bytes(datagram), run.flow.target) for run in runs for datagram in run.datagrams()]
            if self._gone:
                return []
            await self._reader.wait()

    async def write_datagrams(self, datagrams: Sequence[tuple[Buffer, Endpoint]]) -> None:
        """Datagrams of one size from one source go to the program in one packet."""
        if not self._opened or self._write_closed or self._gone:
            raise AppProxyFlowError(Code.NOT_CONNECTED)
        family = len(self._mapping.client.host)
        for payload, source in datagrams:
            if isinstance(source.host, str) or len(source.host) != family:
                raise AppProxyFlowError(Code.INVALID_ARGUMENT, f"no datagram can come to the program from {source}")
            if len(payload) > LARGEST:
                raise AppProxyFlowError(Code.DATAGRAM_TOO_LARGE, f"{len(payload)} bytes; at most {LARGEST} fit")
        start, count = 0, len(datagrams)
        while start < count:
            source, size = datagrams[start][1], len(datagrams[start][0])
            end, most = start + 1, start + min(MAX_BATCH, LARGEST_RUN // max(1, size))
            while end < min(count, most) and size and datagrams[end][1] == source and len(datagrams[end][0]) == size:
                end += 1
            payloads = [bytes(payload) for payload, _ in datagrams[start:end]]
            self._context.deliver(self._mapping, source, payloads, size if end - start > 1 else 0)
            start = end

    def close_read(self, error: BaseException | None = None) -> None:  # noqa: ARG002
        """Discard what the program sends."""
        self._read_closed = True
        self._waiting.clear()
        self._reader.wake()
        self._end_if_done()

    def close_write(self, error: BaseException | None = None) -> None:
        """With an error, the program hears "port unreachable" about what it sent."""
        if self._write_closed or self.is_given_away:
            return
        self._write_closed = True
        if error is not None and self._waiting:
            self._context.undelivered(self._waiting[-1], Reason.PORT)
        self._end_if_done()

    async def carry(self, dialer: FlowDialer | None = None) -> None:
        """Let the driver carry what waits and what comes."""
        if self.is_given_away or self._read_closed or self._write_closed or self._gone:
            raise AppProxyFlowError(Code.NOT_CONNECTED, "the flow is over, or given away already")
        way = cast("Outbound", dialer) if dialer is not None else self._straight
        self.give_away(lambda run: Carry(way, run.flow.target))

    def let_go(self) -> None:
        """The flow was declined before it was anybody's: it does nothing any more."""
        self._gone = True

    def give_away(self, decide: Callable[[UDPRun], Decision]) -> None:
        """The flow is the provider's no more: `decide` says what becomes of what waits and what comes."""
        self.owner.decide = decide
        runs, self._waiting = self._waiting, deque()
        for run in runs:
            self.owner.send(run)

    # What the mapping tells.

    def arrived(self, run: UDPRun) -> None:
        """Datagrams of the program's."""
        size = sum(map(len, run.payloads))
        if self._read_closed or len(self._waiting) >= WAITING or self._waiting_bytes + size > WAITING_BYTES:
            self._context.statistics.udp_dropped += len(run.payloads)
            return
        self._context.statistics.udp_bytes_up += size
        self._waiting.append(run)
        self._waiting_bytes += size
        self._reader.wake()

    def ended(self) -> None:
        """The program's socket is gone, or was silent for too long."""
        self._gone = True
        self._reader.wake()

    def _end_if_done(self) -> None:
        if self._read_closed and self._write_closed and not self._gone:
            self._gone = True
            self.owner.forget()

    def __del__(self) -> None:
        if not self._gone and not self.is_given_away:
            self._context.reactor.call_soon(self.owner.forget)


class _Owner:
    """What the stack's mapping holds: the flow, weakly, or what else becomes of its datagrams."""

    __slots__ = ("_case", "_flow", "decide")

    def __init__(self, flow: StackUDPFlow, case: DatagramCase) -> None:
        self._flow = weakref.ref(flow)
        self._case = case
        self.decide: Callable[[UDPRun], Decision] | None = None

    def send(self, run: UDPRun) -> None:
        """Datagrams of the program's."""
        if self.decide is not None:
            self._case.beside(run).give(self.decide(run))
            return
        flow = self._flow()
        if flow is not None:
            flow.arrived(run)

    def close(self) -> None:
        """The mapping is over."""
        flow = self._flow()
        if flow is not None:
            flow.ended()

    def forget(self) -> None:
        """The provider is done: what the program sends next is a new flow."""
        mapping = self._case.udp.mapping
        self._case.context.stack.udp.close(mapping)
        if mapping.user is not None:
            mapping.user.close()
