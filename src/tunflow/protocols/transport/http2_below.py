"""Streams to a server in shared connections of HTTP/2, as what lies below a protocol."""

from __future__ import annotations

from collections.abc import Callable

from tunflow.endpoint import endpoint
from tunflow.protocols.codec import StreamCodec
from tunflow.protocols.contract import OutboundContext, StreamRoute
from tunflow.protocols.link import format_where
from tunflow.protocols.session_pool import MultiplexedOutbound, SessionPool
from tunflow.protocols.transport.http2 import Headers, HTTP2Session
from tunflow.protocols.transport.http2_kinds import (
    grpc_headers,
    http_headers,
    judge_grpc,
    judge_http,
    xhttp_headers,
)
from tunflow.protocols.transport.transport import Transport


def on_http2(
    transport: Transport,
    server: tuple[str, int],
    context: OutboundContext,
    tls: Callable[[], StreamCodec | None],
) -> MultiplexedOutbound:
    """What lies below a protocol with a server behind `transport`; `tls` makes what the connections stand on."""
    where, below = endpoint(*server), context.below
    scheme = "https" if transport.tls else "http"
    authority = transport.host or transport.sni or format_where(*server)

    def route() -> StreamRoute:
        way, codec = below.stream(where), tls()
        return way if codec is None else way.over(codec, below.label)

    def headers() -> Headers:
        if transport.network == "grpc":
            return grpc_headers(scheme, authority, transport.path, is_multi=transport.multi)
        if transport.network == "xhttp":
            return xhttp_headers(scheme, authority, transport.path, context.random_bytes)
        return http_headers(scheme, authority, transport.path)

    judge = judge_grpc if transport.network == "grpc" else judge_http

    def make() -> HTTP2Session:
        return HTTP2Session(headers(), judge)

    return MultiplexedOutbound(below, SessionPool(route, make))
