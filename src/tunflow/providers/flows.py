"""A program's connections, as an app proxy gets them: NEAppProxyFlow, NEAppProxyTCPFlow and NEAppProxyUDPFlow.

The rules, which `tunflow.testing.flow_conformance` checks:

1. A flow is not open until `open` returns: until then the program still waits for its connection, and closing the flow
   with an error decides how that ends.
2. One `read` at a time; another one meanwhile fails with READ_ALREADY_PENDING.
3. `write` returns when the program's side has taken the data up to a bounded rest, so a program that does not read
   slows its provider. Data from the program is not taken before it is read, so a provider that does not read slows the
   program.
4. `close_read` and `close_write` are independent (half-close), and both are needed to end a flow.
5. A flow that its provider forgets (nothing refers to it any more) is aborted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from tunflow.endpoint import Buffer, Endpoint
from tunflow.providers.connections import TCPConnection
from tunflow.providers.dialers import FlowDialer
from tunflow.providers.flow_metadata import FlowMetaData


class AppProxyFlow(ABC):
    """NEAppProxyFlow."""

    @property
    @abstractmethod
    def meta_data(self) -> FlowMetaData:
        """Whose flow it is."""

    @property
    @abstractmethod
    def remote_hostname(self) -> str | None:
        """The name that the program asked for, where it is known."""

    @abstractmethod
    async def open(self, local_endpoint: Endpoint | None = None) -> None:
        """Let the program's side begin; comes before anything else. Raises AppProxyFlowError.

        `local_endpoint` is ignored: the program's socket is bound already.
        """

    @abstractmethod
    def close_read(self, error: BaseException | None = None) -> None:
        """No more data is wanted from the program; what it still sends is discarded."""

    @abstractmethod
    def close_write(self, error: BaseException | None = None) -> None:
        """No more data comes for the program: it sees the end of the stream, or with an `error` a failure."""


class TCPFlow(AppProxyFlow):
    """NEAppProxyTCPFlow."""

    @property
    @abstractmethod
    def remote_endpoint(self) -> Endpoint:
        """Where the program wants to go: the name where it is known, else the address."""

    @abstractmethod
    async def read(self) -> bytes:
        """What the program sent, at least a byte; b"" once it has closed its side. Raises AppProxyFlowError."""

    @abstractmethod
    async def write(self, data: Buffer) -> None:
        """Give data to the program. Raises AppProxyFlowError."""

    @abstractmethod
    async def carry(self, dialer: FlowDialer | None = None, target: Endpoint | None = None) -> None:
        """Give the flow away: tunflow carries it through `dialer` (None: straight out) to its end, at full speed.

        The program's connection then succeeds or fails as the far side's does; the flow need not be open, and what it
        was sent but nobody read goes along. Returns when the flow has been handed over: it is the provider's no more.
        Ours, not Apple's. Raises AppProxyFlowError.
        """

    @abstractmethod
    async def splice(self, connection: TCPConnection) -> None:
        """Move everything between the program and a connection of the provider's, both ways, until both are done.

        An error of either side ends the other. Ours, not Apple's. Raises AppProxyFlowError.
        """


class UDPFlow(AppProxyFlow):
    """NEAppProxyUDPFlow: all that one UDP socket of the program's sends and receives."""

    @property
    @abstractmethod
    def local_endpoint(self) -> Endpoint:
        """The program's socket."""

    @abstractmethod
    async def read_datagrams(self) -> list[tuple[bytes, Endpoint]]:
        """What the program sent, each with its destination: at least one; empty when there will be no more.

        Raises AppProxyFlowError.
        """

    @abstractmethod
    async def write_datagrams(self, datagrams: Sequence[tuple[Buffer, Endpoint]]) -> None:
        """Give datagrams to the program, each with the source that it shall see. Raises AppProxyFlowError."""

    @abstractmethod
    async def carry(self, dialer: FlowDialer | None = None) -> None:
        """Give the flow away: tunflow carries its datagrams through `dialer` (None: straight out). See TCPFlow."""
