"""The way out through a server's shared connections, over the way out through the server itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tunflow.endpoint import Endpoint
from tunflow.flow import FlowInfo
from tunflow.protocols.codec import ProxyRefused, Refusal, StreamCodec
from tunflow.protocols.contract import (
    Carries,
    ConduitRoute,
    DatagramWay,
    FramedDatagrams,
    FramedStream,
    NameSource,
    Outbound,
    OutboundContext,
    StreamRoute,
)
from tunflow.protocols.mux import cool, preface, request
from tunflow.protocols.mux.settings import COOL, COOL_TARGET, Mux
from tunflow.protocols.mux.smux import SmuxSession
from tunflow.protocols.mux.yamux import YamuxSession
from tunflow.protocols.session_pool import PooledSession, SessionPool, Spread


def over(
    outbound: Outbound, mux: Mux, context: OutboundContext, *, udp: bool, cool_route: Callable[[], StreamRoute] | None
) -> Outbound:
    """As `multiplexed.multiplexed`."""

    def route() -> StreamRoute:
        if mux.protocol == COOL:
            return outbound.stream(COOL_TARGET) if cool_route is None else cool_route()
        codec = preface.preface(mux.protocol, padding=mux.padding, random_bytes=context.random_bytes)
        return outbound.stream(preface.TARGET).over(codec, outbound.label)

    spread = Spread(mux.connections, mux.min_streams) if mux.connections else None
    pool = SessionPool(route, lambda: _session(mux), spread)
    return MuxOutbound(outbound, pool, is_cool=mux.protocol == COOL, udp=udp and mux.udp)


class MuxOutbound:
    """As `contract.Outbound`."""

    resolver: NameSource | None = None
    wants_flow = False

    def __init__(self, outbound: Outbound, pool: SessionPool[PooledSession], *, is_cool: bool, udp: bool) -> None:
        self.label = outbound.label
        self.server = outbound.server
        self.carries = outbound.carries | (Carries.DATAGRAMS if udp else Carries(0))
        self._outbound = outbound
        self._dial = pool.dial
        self._is_cool = is_cool
        self._udp = udp

    def stream(self, target: Endpoint, flow: FlowInfo | None = None) -> StreamRoute:  # noqa: ARG002
        """As `Outbound.stream`."""
        codec: StreamCodec = cool.cool_target(target) if self._is_cool else request.StreamRequest(target)
        return ConduitRoute(self._dial, codec, self.label)

    def datagrams(self) -> DatagramWay:
        """As `Outbound.datagrams`. Raises NoDatagrams."""
        if not self._udp:
            return self._outbound.datagrams()
        return FramedDatagrams(self._framed, is_per_target=False, label=self.label)

    def _framed(self, target: Endpoint) -> FramedStream:
        """A stream for datagrams. Raises LocalError."""
        codec = request.StreamRequest(target, request.DATAGRAMS)
        return FramedStream(ConduitRoute(self._dial, codec, self.label), request.AddressedFrames())


def _session(mux: Mux) -> PooledSession:
    match mux.protocol:
        case "smux":
            return SmuxSession(mux.most)
        case "yamux":
            return YamuxSession(mux.most)
        case "h2mux":
            from tunflow.protocols.transport.http2 import HTTP2Session  # noqa: PLC0415  (h2 is not for who has no use)

            return HTTP2Session([(":method", "CONNECT"), (":authority", "localhost")], _judge, mux.most)
    return cool.CoolSession(mux.most)


def _judge(headers: Mapping[str, str]) -> ProxyRefused | None:
    """What an answer's headers refuse."""
    status = headers.get(":status", "200")
    if status == "200":
        return None
    return ProxyRefused(Refusal.FAILED, f"it answers {status[:3]} to a stream of h2mux")
