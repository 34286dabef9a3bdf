"""The way out through one server, over the hop before it: what most proxy protocols need no class of their own for.

A chain of servers is made by laying one on the other: each asks the hop below for a stream to its own server and speaks
its codec inside. So a flow through three servers still costs one descriptor, and no server knows of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tunflow.endpoint import Address, Endpoint
from tunflow.errors import BadPacket
from tunflow.flow import FlowInfo
from tunflow.protocols.codec import DatagramCodec, StreamCodec, StreamDatagramCodec
from tunflow.protocols.contract import (
    Association,
    Carries,
    DatagramRoute,
    DatagramWay,
    FramedDatagrams,
    FramedStream,
    NameSource,
    NoDatagrams,
    OutboundContext,
    StandingWay,
    StreamRoute,
    refuses_none,
)

StreamTo = Callable[[Endpoint, FlowInfo | None], StreamCodec]
"""A codec that asks the server for a target. Raises ProxyRefused for what cannot be asked."""


class Request(NamedTuple):
    """A stream on which a server is asked for a place to send datagrams to, and the place it named once it agreed."""

    codec: StreamCodec
    place: Callable[[], Endpoint | None]


class Frames(NamedTuple):
    """How a server takes datagrams in streams: what is said on one that begins with a datagram to a target (None for
    nothing), and the frames on it."""

    begin: Callable[[Endpoint], tuple[StreamCodec | None, StreamDatagramCodec]]
    is_per_target: bool = False
    """As `FramedDatagrams.is_per_target`."""
    refuses: Callable[[Endpoint], str | None] = refuses_none
    """As `FramedDatagrams.refuses`."""


class ServerOutbound:
    """Streams by `stream_to`; datagrams in streams of `frames`, or else by a codec of `datagram_codec`, after a
    `request` where one is due.

    As `contract.Outbound`.
    """

    resolver: NameSource | None = None

    def __init__(
        self,
        label: str,
        server: Endpoint,
        context: OutboundContext,
        stream_to: StreamTo,
        datagram_codec: Callable[[], DatagramCodec] | None = None,
        request: Callable[[], Request] | None = None,
        wants_flow: bool = False,
        frames: Frames | None = None,
    ) -> None:
        below = context.below
        self.label = f"{below.label} -> {label}" if below.server is not None and below.label else label
        self.server = below.server
        self.wants_flow = wants_flow or below.wants_flow
        self.carries = Carries.STREAMS | Carries.NAMES
        if frames is not None or (datagram_codec is not None and Carries.DATAGRAMS in below.carries):
            self.carries |= Carries.DATAGRAMS
        self._own_label = label
        self._server = server
        self._below = below
        self._address_of = context.address_of
        self._stream_to = stream_to
        self._datagram_codec = datagram_codec
        self._request = request
        self._frames = frames

    def stream(self, target: Endpoint, flow: FlowInfo | None = None) -> StreamRoute:
        """As `Outbound.stream`."""
        return self.speaking(self._stream_to(target, flow), flow)

    def speaking(self, codec: StreamCodec, flow: FlowInfo | None = None) -> StreamRoute:
        """A stream to the server, on which `codec` speaks."""
        return self._below.stream(self._server, flow).over(codec, self.label)

    def datagrams(self) -> DatagramWay:
        """As `Outbound.datagrams`. Raises NoDatagrams."""
        if self._frames is not None:
            frames = self._frames
            return FramedDatagrams(self._framed, frames.is_per_target, self.label, frames.refuses)
        if self._datagram_codec is None:
            raise NoDatagrams(f"{self._own_label} carries no UDP")
        below = self._below.datagrams()
        if self._request is not None:
            return self._asked_for(below, self._datagram_codec(), self._request())
        codec = self._datagram_codec()
        if not isinstance(below, Association):
            return below.over(codec, self._server, self.label)
        route_after = below.route_after
        return Association(below.controls, lambda at: route_after(at).over(codec, self._server, self.label), self.label)

    def _framed(self, target: Endpoint) -> FramedStream:
        """A stream for datagrams. Raises LocalError."""
        assert self._frames is not None
        codec, frames = self._frames.begin(target)
        route = self._below.stream(self._server)
        route = route._replace(label=self.label) if codec is None else route.over(codec, self.label)
        return FramedStream(route, frames)

    def _asked_for(self, below: DatagramWay, codec: DatagramCodec, request: Request) -> Association:
        control = self.speaking(request.codec)
        controls = (*below.controls, control) if isinstance(below, Association) else (control,)

        def route_after(reached: Address) -> StandingWay:
            way = below.route_after(reached) if isinstance(below, Association) else below
            if way is below and isinstance(way, DatagramRoute):
                way = way._replace(addresses=(reached,))
            place = request.place()
            if place is None or not place.port:
                raise BadPacket("the server names no place for datagrams")
            is_unnamed = isinstance(place.host, bytes) and not any(place.host)
            if isinstance(way, DatagramRoute) and way.codec is None:
                return DatagramRoute((self._address(reached, place, is_unnamed),), codec, self.label)
            if is_unnamed:
                place = Endpoint(self._server.host, place.port)
            if isinstance(place.host, str) and not isinstance(self._server.host, str):
                raise BadPacket(f"the server wants datagrams at a name, {place.host}")
            return way.over(codec, place, self.label)

        return Association(controls, route_after, self.label)

    def _address(self, reached: Address, place: Endpoint, is_unnamed: bool) -> Address:
        """Where this machine sends; an address of zeros, as servers behind translators give it, is the server's own."""
        if is_unnamed:
            return reached.with_port(place.port)
        if isinstance(place.host, str):
            raise BadPacket(f"the server wants datagrams at a name, {place.host}")
        return self._address_of(place)
