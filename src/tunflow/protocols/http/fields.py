"""Which header fields an HTTP proxy passes on, and which are for it alone.

Read first: RFC 9110 §7.6.1 (Connection), §7.6.2 (Max-Forwards), §7.8 (Upgrade), §10.1.1 (Expect); RFC 9112 §3.2.2
(Host), §6 (framing).

Rules: what `Connection` names is the hop's, with the fields that it forgets; framing fields stay whatever it says, or
the next hop would read another message than this one; no `Via`: it would tell every site that there is a proxy.
"""

from __future__ import annotations

import sys

import h11

from tunflow.numbers import NotANumber, whole_number

_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"proxy-authorization", b"te", b"upgrade", b"host"}
)
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})

Fields = list[tuple[bytes, bytes]]
Message = h11.Request | h11.Response | h11.InformationalResponse


def values(message: Message, name: bytes) -> list[bytes]:
    """The members of a field that is a list, in lower case. `name` is in lower case too."""
    joined = b",".join(value for found, value in message.headers if found == name)
    return [member.strip().lower() for member in joined.split(b",") if member.strip()]


def request_fields(request: h11.Request, authority: str) -> Fields:
    """What the site gets to see of a request's fields; `authority` is its URI's (RFC 9112 §3.2.2)."""
    kept = [(b"Host", authority.encode()), *_kept(request)]
    if request.http_version < b"1.1":  # RFC 9110 §10.1.1: an expectation in HTTP/1.0 is ignored
        kept = [field for field in kept if field[0].lower() != b"expect"]
    elif b"upgrade" in values(request, b"connection"):
        kept += _upgrade(request)
    return kept


def response_fields(response: h11.Response | h11.InformationalResponse) -> Fields:
    """What the client gets to see of a response's fields."""
    kept = _kept(response)
    if response.status_code in {101, 426}:  # RFC 9110 §15.2.2, §15.5.22: they mean nothing without it
        kept += _upgrade(response)
    return kept


def forwards_left(request: h11.Request) -> int | None:
    """How often an OPTIONS or TRACE request may still be forwarded (RFC 9110 §7.6.2); None: as often as need be."""
    if request.method not in {b"OPTIONS", b"TRACE"}:
        return None
    found = values(request, b"max-forwards")
    try:
        return whole_number(found[0], sys.maxsize) if found else None
    except NotANumber:
        return None


def with_forwards_left(fields: Fields, count: int) -> Fields:
    """The same fields with another Max-Forwards."""
    kept = [field for field in fields if field[0].lower() != b"max-forwards"]
    return [*kept, (b"Max-Forwards", b"%d" % count)]


def _kept(message: Message) -> Fields:
    hop = (_HOP_BY_HOP | set(values(message, b"connection"))) - _FRAMING
    return [(name, value) for name, value in message.headers.raw_items() if name.lower() not in hop]


def _upgrade(message: Message) -> Fields:
    asked = [(b"Upgrade", value) for name, value in message.headers if name == b"upgrade"]
    return [*asked, (b"Connection", b"Upgrade")] if asked else []
