"""`dns_stream.py RESOLVER SUFFIX COUNT`: COUNT queries in one write over TCP, half-close, then read all answers; before
that, a stranger's bytes on another connection. Prints how many names were answered."""

from __future__ import annotations

import os
import socket
import sys

import dns.message

resolver, suffix, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with socket.create_connection((resolver, 53), timeout=30) as stranger:
    stranger.sendall(b"\0\7garbage" + os.urandom(200_000))
queries = [dns.message.make_query(f"t{number}.{suffix}", "A").to_wire() for number in range(count)]
answered = set()
with socket.create_connection((resolver, 53), timeout=30) as sock:
    sock.sendall(b"".join(len(query).to_bytes(2, "big") + query for query in queries))
    sock.shutdown(socket.SHUT_WR)
    data = b""
    while piece := sock.recv(65536):
        data += piece
while data:
    size = int.from_bytes(data[:2], "big")
    answer = dns.message.from_wire(data[2 : 2 + size])
    assert len(answer.answer) == 1
    answered.add(answer.question[0].name)
    data = data[2 + size :]
print(len(answered))
