"""What the first bytes of a TCP stream tell, whichever protocol they are."""

from __future__ import annotations

from typing import NamedTuple

from tunflow.sniff import http, tls

LARGEST = max(tls.LARGEST, http.LARGEST)
"""Bytes that are ever worth waiting for."""


class FirstBytes(NamedTuple):
    """A protocol, and the name that it gave."""

    protocol: str
    """`tls` or `http`."""
    hostname: str | None


def sniff_untrusted(stream: bytes) -> FirstBytes | None:
    """What a stream begins with; None while more bytes are needed. Raises BadPacket for neither TLS nor HTTP."""
    if not stream:
        return None
    if stream[0] in tls.RECORD_TYPES:
        hello = tls.parse_records_untrusted(stream)
        return None if hello is None else FirstBytes("tls", hello.server_name)
    request = http.parse_request_untrusted(stream)
    return None if request is None else FirstBytes("http", request.host)
