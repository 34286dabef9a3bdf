"""`half_close.py HOST PORT BYTES`: send that many pseudo-random bytes, close our half, then read the digest.

Prints "ok" when the far side counted and hashed what was sent.
"""

from __future__ import annotations

import hashlib
import random
import socket
import sys

host, port, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
block = random.Random(size).randbytes(1 << 20)
digest = hashlib.sha256()
with socket.create_connection((host, port), timeout=60) as sock:
    for start in range(0, size, len(block)):
        piece = block[: size - start]
        digest.update(piece)
        sock.sendall(piece)
    sock.shutdown(socket.SHUT_WR)
    answer = b"".join(iter(lambda: sock.recv(4096), b"")).decode().split()
assert answer == [str(size), digest.hexdigest()], answer
print("ok")
