"""Any bytes as a client's HTTP stream: steps forward, or BadPacket; cut anywhere it has the same requests, and a second
connection with the same bytes is taken as the first was."""

from __future__ import annotations

import re
from itertools import islice

from tunflow.errors import BadPacket
from tunflow.sniff.http import HTTPRequest, HTTPRequests

SEEDS = [
    b"GET /a HTTP/1.1\r\nHost: one.example\r\n\r\nGET /b HTTP/1.1\r\nHost: two.example\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\nHost: z\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcCONNECT y:1 HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: y\r\n\r\nGET / HTTP/1.1\r\nHost:\r\n z\r\n\r\n",
    b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET http://y/ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"OPTIONS rtsp://x/cam RTSP/1.0\r\nCSeq: 1\r\n\r\n",
]
CUTS = 6
"""Ends of lines at which an input is cut, each in turn."""


def walk(data: bytes, cuts: tuple[int, ...]) -> list[HTTPRequest] | None:
    """What is asked for in it, shown up to each cut in turn; None where it cannot be judged."""
    machine, passed, found = HTTPRequests(), 0, []
    try:
        for end in cuts:
            while passed < end:
                step = machine.look_untrusted(data[passed:end])
                assert step.peek > 0
                found += step.requests
                if not step.passed:
                    break
                passed += step.passed
    except BadPacket:
        return None
    return found


def one_input(data: bytes) -> None:
    """Walk through it, whole, in two halves and cut behind lines; each twice."""
    whole = walk(data, (len(data),))
    ends = [each.end() for each in islice(re.finditer(rb"\n(?![\r\n])", data), CUTS)]
    for cut in (len(data), len(data) // 2, *ends):
        cuts = (cut, len(data))
        first, second = walk(data, cuts), walk(data, cuts)
        assert first == second, "a second connection is taken otherwise"
        assert whole is None or first is None or whole == first, "cuts change what is asked for"
