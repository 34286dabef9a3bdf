"""The codecs of a transport, from the wire up, and what a protocol on shared connections has below it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from tunflow.endpoint import endpoint
from tunflow.protocols.chain import ChainedStream
from tunflow.protocols.codec import StreamCodec
from tunflow.protocols.contract import OutboundContext
from tunflow.protocols.link import format_where
from tunflow.protocols.transport.transport import ON_HTTP2, Reality, Transport


class TLSLayer(StreamCodec, Protocol):
    """TLS, with nothing on it."""

    @property
    def is_tls13(self) -> bool:
        """True if the version is 1.3, once it is established."""


class Layers:
    """Makes fresh layers of a transport, from the wire up."""

    def __init__(self, makers: Sequence[Callable[[], StreamCodec]]) -> None:
        self._makers = makers

    def under(self, codec: StreamCodec) -> StreamCodec:
        """The codec of a protocol on fresh layers."""
        for make in reversed(self._makers):
            codec = ChainedStream(make(), codec)
        return codec

    def bare(self) -> StreamCodec | None:
        """Fresh layers alone; None where there are none."""
        if not self._makers:
            return None
        return Layers(self._makers[:-1]).under(self._makers[-1]())


def laid(transport: Transport, server: tuple[str, int], context: OutboundContext) -> tuple[OutboundContext, Layers]:
    """The layers of the transport to `server` (host and port), and what is to be used of the world above them.

    What stands on HTTP/2 shares its connections: there `below` of that are streams in them.
    """
    made = layers(transport, server, context)
    if transport.network not in ON_HTTP2:
        return context, made
    from tunflow.protocols.transport.http2_below import on_http2  # noqa: PLC0415  (h2 is not for who does not use it)

    below = on_http2(transport, server, context, made.bare)
    if transport.network != "grpc":
        return replace(context, below=below), Layers(())
    from tunflow.protocols.transport.gun import GunCodec  # noqa: PLC0415

    return replace(context, below=below), Layers([GunCodec])


def layers(transport: Transport, server: tuple[str, int], context: OutboundContext) -> Layers:
    """The layers of the transport to `server` (host and port), up to the connection that HTTP/2 has."""
    makers: list[Callable[[], StreamCodec]] = []
    if transport.tls:
        makers.append(tls_layer(transport, server, context))
    if transport.network in {"ws", "httpupgrade"}:
        from tunflow.protocols.transport import websocket  # noqa: PLC0415  (wsproto likewise)

        upgrade = websocket.WebSocketClient if transport.network == "ws" else websocket.HTTPUpgradeClient
        host = transport.host or (transport.sni if transport.sni else format_where(*server))
        makers.append(lambda: upgrade(host, transport.path))

    return Layers(makers)


def tls_layer(transport: Transport, server: tuple[str, int], context: OutboundContext) -> Callable[[], TLSLayer]:
    """Makes fresh TLS to `server` (host and port), for a transport that has it."""
    if transport.reality is not None:
        return _reality_layer(transport, transport.reality, server, context)
    from tunflow.protocols.transport.resumption import Resumption  # noqa: PLC0415  (ssl is not for who has no use)
    from tunflow.protocols.transport.tls import TLSClient  # noqa: PLC0415

    name = transport.sni or server[0]
    pin = bytes.fromhex(transport.pinned) if transport.pinned else None
    alpn = transport.alpn or (("h2",) if transport.network in ON_HTTP2 else ())
    identity = None if transport.certificate is None else (transport.certificate, transport.key)
    settings = context.tls(*alpn, verified=pin is None and not transport.insecure, identity=identity)
    resumption = Resumption(context.unix_time)
    return lambda: TLSClient(settings, name, pin, resumption)


def _reality_layer(
    transport: Transport, reality: Reality, server: tuple[str, int], context: OutboundContext
) -> Callable[[], TLSLayer]:
    from tunflow.protocols.transport.reality import RealityClient, RealityServer, check_algorithms  # noqa: PLC0415

    check_algorithms(reality.verify_key_bytes)
    name = transport.sni or (server[0] if isinstance(endpoint(*server).host, str) else None)
    alpn = transport.alpn or ("h2", "http/1.1")
    short_id = bytes.fromhex(reality.short_id)
    known = RealityServer(name, reality.key_bytes, short_id, alpn, reality.verify_key_bytes)
    return lambda: RealityClient(known, context.unix_time(), context.random_bytes)
