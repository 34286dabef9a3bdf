"""Any bytes as a client's HTTP stream: steps forward, or BadPacket; what is passed never exceeds what a head says."""

from __future__ import annotations

import contextlib

from tunflow.errors import BadPacket
from tunflow.filter.http_requests import HTTPRequests

SEEDS = [
    b"GET /a HTTP/1.1\r\nHost: one.example\r\n\r\nGET /b HTTP/1.1\r\nHost: two.example\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcCONNECT y:1 HTTP/1.1\r\n\r\n",
]


def one_input(data: bytes) -> None:
    """Walk through it, whole and in two halves."""
    for cut in (len(data), len(data) // 2):
        machine, passed = HTTPRequests(), 0
        with contextlib.suppress(BadPacket):
            for end in (cut, len(data)):
                while passed < end:
                    step = machine.look_untrusted(data[passed:end])
                    assert step.peek > 0
                    if not step.passed:
                        break
                    passed += step.passed
