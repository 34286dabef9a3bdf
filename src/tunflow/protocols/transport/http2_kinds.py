"""What three transports say on a stream of HTTP/2: gRPC ("gun"), HTTP/2 itself, and XHTTP's stream-one.

Read first: Xray's documentation of "gRPC", "HTTP" and "XHTTP"; gRPC over HTTP2 (grpc/grpc, doc/PROTOCOL-HTTP2.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import quote

from tunflow.protocols.codec import ProxyRefused, Refusal
from tunflow.protocols.transport.http2 import Headers

_UNIMPLEMENTED = "12"
_PADDING = 100
"""Bytes that XHTTP's servers want at least; they take ten times as many."""


def grpc_headers(scheme: str, authority: str, service: str, *, is_multi: bool) -> Headers:
    """The request of a gRPC stream; a `service` that begins with "/" is a whole path (`/service/stream`)."""
    if service.startswith("/"):
        words = service[1:].split("/")
        words[-1] = words[-1].split("|")[0]
        path = "/".join(quote(word, safe="") for word in words)
    else:
        path = f"{quote(service, safe='')}/{'TunMulti' if is_multi else 'Tun'}"
    return [
        (":method", "POST"),
        (":scheme", scheme),
        (":path", f"/{path}"),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("user-agent", "grpc-go/1.65.0"),  # what others in front of such a server are: it is no secret that hides us
        ("te", "trailers"),
    ]


def http_headers(scheme: str, authority: str, path: str) -> Headers:
    """The request of a stream of the HTTP/2 transport."""
    return [(":method", "PUT"), (":scheme", scheme), (":path", path), (":authority", authority)]


def xhttp_headers(scheme: str, authority: str, path: str, random_bytes: Callable[[int], bytes]) -> Headers:
    """The request of a stream of XHTTP, whose length differs from one session to the next."""
    padding = "X" * (_PADDING + int.from_bytes(random_bytes(2), "big") % (9 * _PADDING))
    path = path if path.endswith("/") else f"{path}/"
    return [
        (":method", "POST"),
        (":scheme", scheme),
        (":path", path),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("referer", f"{scheme}://{authority}{path}?x_padding={padding}"),
    ]


def judge_grpc(headers: Mapping[str, str]) -> ProxyRefused | None:
    """What an answer, or its end, refuses."""
    status = headers.get("grpc-status", "0")
    if status == _UNIMPLEMENTED:
        return _refused("it knows no such gRPC service: check serviceName")
    if status not in {"0", "1", "2", "14"}:  # cancelled, unknown, unavailable: an end out of order
        return _refused(f"gRPC status {status[:20]!r}")
    return judge_http(headers, "serviceName and the host")


def judge_http(headers: Mapping[str, str], what: str = "path and host") -> ProxyRefused | None:
    """What an answer refuses."""
    status = headers.get(":status", "200")
    return None if status == "200" else _refused(f"it answers {status[:3]} to the request: check {what}")


def _refused(detail: str) -> ProxyRefused:
    return ProxyRefused(Refusal.UNSUPPORTED, detail)
