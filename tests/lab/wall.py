"""`wall.py ADDRESS REAL_PORT VICTIM WORD POISON...`: the far end of a path on which answers are injected.

Stands on UDP port 53 of ADDRESS. A query from VICTIM whose name holds WORD is answered at once, twice, with an address
of POISON each, identifier, port and letters as they must be, which is all that an injector on the path could send; the
resolver on 127.0.0.1:REAL_PORT gets every query too, and its answer follows 80 ms later, as from far away. Names are
read as the injectors of 2015 did: a compression pointer in a question is not understood.
"""

from __future__ import annotations

import heapq
import itertools
import random
import select
import socket
import sys
import time

address, real_port, victim, word, *poison = sys.argv[1:]
DELAY = 0.08
front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
front.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
front.bind((address, 53))
back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
back.connect(("127.0.0.1", int(real_port)))
asked: dict[int, tuple[bytes, tuple[str, int]]] = {}
numbers = itertools.cycle(range(65536))
late: list[tuple[float, int, bytes, tuple[str, int]]] = []
order = itertools.count()
dice = random.Random(1)


def question_end(query: bytes) -> int | None:
    """Where a question in plain labels ends."""
    at = 12
    while query[at]:
        if query[at] > 63:
            return None
        at += 1 + query[at]
    return at + 5


def inject(query: bytes, client: tuple[str, int]) -> None:
    """Two wrong answers."""
    end = question_end(query)
    if client[0] != victim or end is None or word.encode() not in query[12:end].lower():
        return
    for wrong in dice.sample(poison, 2):
        head = query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:end]
        front.sendto(head + b"\xc0\x0c\0\1\0\1\0\0\1\x2c\0\4" + socket.inet_aton(wrong), client)


print("ready", flush=True)
while True:
    patience = max(0.0, late[0][0] - time.monotonic()) if late else None
    ready, _, _ = select.select([front, back], [], [], patience)
    if front in ready:
        query, client = front.recvfrom(4096)
        inject(query, client)
        number = next(numbers)
        asked[number] = query[:2], client
        back.send(number.to_bytes(2, "big") + query[2:])
    if back in ready:
        answer = back.recv(65535)
        identifier, client = asked.pop(int.from_bytes(answer[:2], "big"), (b"", ("", 0)))
        if identifier:
            heapq.heappush(late, (time.monotonic() + DELAY, next(order), identifier + answer[2:], client))
    while late and late[0][0] <= time.monotonic():
        _, _, answer, client = heapq.heappop(late)
        front.sendto(answer, client)
