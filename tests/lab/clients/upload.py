"""`upload.py HOST PORT BYTES [half-close]`: send that many pseudo-random bytes, then read their digest.

The far side knows the end from a first line with the count, or, with `half-close`, from the end of our stream.

Prints "ok" when the far side counted and hashed what was sent.
"""

from __future__ import annotations

import hashlib
import random
import socket
import sys

host, port, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
half_close = sys.argv[4:] == ["half-close"]
block = random.Random(size).randbytes(1 << 20)
digest = hashlib.sha256()
with socket.create_connection((host, port), timeout=60) as sock:
    if not half_close:
        sock.sendall(f"{size}\n".encode())
    for start in range(0, size, len(block)):
        piece = block[: size - start]
        digest.update(piece)
        sock.sendall(piece)
    if half_close:
        sock.shutdown(socket.SHUT_WR)
    answer = b"".join(iter(lambda: sock.recv(4096), b"")).decode().split()
assert answer == [str(size), digest.hexdigest()], answer
print("ok")
