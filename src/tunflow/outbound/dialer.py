"""Dialers: where a flow's socket connects to, and which codec speaks on it.

A dialer opens nothing itself. It answers with a route, which is data, so that one relay serves every protocol and a
flow needs one descriptor. A hostname is left to the last server of the chain; only the first hop's own name is
resolved here, once, before any flow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from tunflow.endpoint import Endpoint
from tunflow.errors import RemoteError
from tunflow.flow import FlowInfo
from tunflow.loop.socket_address import Address
from tunflow.protocols.codec import DatagramCodec, StreamCodec


class StreamRoute(NamedTuple):
    """How to reach a target: the addresses to try in order, and the codec on the stream (None: no change)."""

    addresses: tuple[Address, ...]
    codec: StreamCodec | None
    label: str
    """The dialer's, for the log."""


class DatagramRoute(NamedTuple):
    """How datagrams leave: to the first of `addresses` with a codec, or with neither to each target itself."""

    addresses: tuple[Address, ...]
    codec: DatagramCodec | None
    label: str


class Association(NamedTuple):
    """A way for datagrams that servers give on request, and only as long as a stream to each of them stands.

    It is no route: whoever took it for one would send past the servers.
    """

    controls: tuple[StreamRoute, ...]
    settle: Callable[[Address], DatagramRoute]
    """Makes the route once all of `controls` stand, the first of them to this address. Raises BadPacket when a server
    gave no place to send to."""
    label: str


class Blocked(RemoteError):
    """The dialer refuses the target by policy."""


class NoDatagrams(Blocked):
    """The dialer carries no datagrams at all."""


class StreamDialer(Protocol):
    """Plans streams."""

    wants_flow: bool = False
    """Whether `route` should be told the flow."""

    def route(self, target: Endpoint, flow: FlowInfo | None = None) -> StreamRoute:
        """The way to `target`; `flow` tells whose it is, where that matters (`wants_flow`).

        Raises Blocked, and ProxyRefused where the server is known to refuse.
        """


class DatagramDialer(Protocol):
    """Plans datagram associations."""

    def datagram_route(self) -> DatagramRoute | Association:
        """The way for one client socket's datagrams, to any target, or how to ask for it. Raises Blocked."""
