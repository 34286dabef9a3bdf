"""Any bytes as a client's HTTP stream: steps forward, or BadPacket; cut anywhere it has the same requests, and a second
connection with the same bytes is taken as the first was. Of what may pass h11 serves no host that was not found."""

from __future__ import annotations

import re
from itertools import islice

import h11

from tunflow.errors import BadPacket
from tunflow.sniff.http import HTTPRequest, HTTPRequests

SEEDS = [
    b"GET /a HTTP/1.1\r\nHost: one.example\r\n\r\nGET /b HTTP/1.1\r\nHost: two.example\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\nHost: z\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcCONNECT y:1 HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: y\r\n\r\nGET / HTTP/1.1\r\nHost:\r\n z\r\n\r\n",
    b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET http://y/ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x:80@y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: y\rHost: z\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\na0\r\n\r\nGET http:///z HTTP/1.1\r\n\r\n",
    b"CONNECT http://x/ HTTP/1.1\r\nHost: y\r\n\r\n",
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


def served(data: bytes) -> set[bytes]:
    """The hosts that h11 has requests for, by their Host fields, up to the first that it refuses; it answers each."""
    server, hosts = h11.Connection(h11.SERVER), set[bytes]()
    try:
        server.receive_data(data)
        while isinstance(event := server.next_event(), h11.Event):
            if isinstance(event, h11.Request):
                hosts |= {value for name, value in event.headers if name == b"host"}
            elif isinstance(event, h11.EndOfMessage):
                server.send(h11.Response(status_code=404, headers=[(b"content-length", b"0")]))
                server.send(h11.EndOfMessage())
                server.start_next_cycle()
    except h11.ProtocolError:
        pass
    return hosts


def one_input(data: bytes) -> None:
    """Walk through it, whole, in two halves and cut behind lines; each twice."""
    whole = walk(data, (len(data),))
    ends = [each.end() for each in islice(re.finditer(rb"\n(?![\r\n])", data), CUTS)]
    for cut in (len(data), len(data) // 2, *ends):
        cuts = (cut, len(data))
        first, second = walk(data, cuts), walk(data, cuts)
        assert first == second, "a second connection is taken otherwise"
        assert whole is None or first is None or whole == first, "cuts change what is asked for"
    if whole is not None and data:  # none is the end, to h11
        found = {host for request in whole for host in request.hosts}
        for host in served(data):
            name = host.decode("latin-1").lower().rpartition(":")[0] or host.decode("latin-1").lower()
            assert not name or name.strip("[]").rstrip(".") in found, f"{name} was not found"
