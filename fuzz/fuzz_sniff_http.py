"""Any bytes as the start of an HTTP stream: a request, more needed, or BadPacket; and more bytes change no answer."""

from __future__ import annotations

import contextlib

from tunflow.errors import BadPacket
from tunflow.sniff.first_bytes import sniff_untrusted
from tunflow.sniff.http import parse_request_untrusted

SEEDS = [
    b"GET /path HTTP/1.1\r\nUser-Agent: x\r\nHost: www.example.com:80\r\n\r\n",
    b"CONNECT example.com:443 HTTP/1.1\r\n\r\n",
    b"POST http://user@example.com/ HTTP/1.0\n\n",
]


def one_input(data: bytes) -> None:
    """Parse it whole and its first half."""
    with contextlib.suppress(BadPacket):
        sniff_untrusted(data)
    try:
        early = parse_request_untrusted(data[: len(data) // 2])
    except BadPacket:
        return
    try:
        request = parse_request_untrusted(data)
    except BadPacket:
        assert early is None
        return
    assert early is None or request == early
