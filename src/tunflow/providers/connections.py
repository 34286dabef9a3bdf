"""A provider's own connections, around the tunnel or through it: NWTCPConnection and NWUDPSession.

Apple gives them states and handlers; here a connection that exists is connected, and what would be a handler is an
`await`. Datagrams have both: a task's turn between the socket and the provider is a fifth of what a packet tunnel adds
to a ping.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from tunflow.endpoint import Buffer, Endpoint


class TCPConnection(ABC):
    """A byte stream. Errors are OSError, as sockets have them; reading after the end gives b""."""

    @property
    @abstractmethod
    def local_address(self) -> Endpoint:
        """Our end."""

    @property
    @abstractmethod
    def remote_address(self) -> Endpoint:
        """The far end."""

    @abstractmethod
    async def read(self, most: int = 65536) -> bytes:
        """What has arrived, at most `most` bytes, at least one; b"" at the end of the stream."""

    @abstractmethod
    async def read_exactly(self, size: int) -> bytes:
        """So many bytes. Raises EOFError when the stream ends before."""

    @abstractmethod
    async def write(self, *pieces: Buffer) -> None:
        """Send, and wait while too much is under way already."""

    @abstractmethod
    def write_close(self) -> None:
        """Send the end of the stream; reading goes on."""

    @abstractmethod
    def cancel(self) -> None:
        """Give it up at once."""


class UDPSession(ABC):
    """Datagrams to and from one far end."""

    @property
    @abstractmethod
    def local_address(self) -> Endpoint:
        """Our end."""

    @property
    @abstractmethod
    def resolved_endpoint(self) -> Endpoint:
        """The far end, as an address."""

    @property
    @abstractmethod
    def maximum_datagram_length(self) -> int:
        """Bytes that one datagram may have."""

    @abstractmethod
    async def read_datagrams(self) -> list[bytes]:
        """What has arrived, at least one. Raises OSError."""

    @abstractmethod
    def set_read_handler(self, handler: Callable[[list[bytes]], None]) -> None:
        """Have `handler` called with what arrives, in the event itself, instead of `read_datagrams`.

        What it raises is the provider's failure, as in a task. What the system says of datagrams that were sent (an
        ICMP error) is passed over.
        """

    @abstractmethod
    async def write_datagrams(self, datagrams: Sequence[Buffer]) -> None:
        """Send them in order, waiting while the system takes none. Raises OSError."""

    @abstractmethod
    def write_at_once(self, datagrams: Sequence[Buffer]) -> int:
        """Send in order what the system takes without waiting; how many that was. Raises OSError."""

    @abstractmethod
    def cancel(self) -> None:
        """Close it."""
