"""Ports at which nobody is."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def nobody_at(kind: socket.SocketKind = socket.SOCK_STREAM) -> Iterator[tuple[str, int]]:
    """An address of loopback that refuses whoever comes. It is kept: the next socket could be given a port that was
    only let go, and then somebody would be there."""
    with socket.socket(socket.AF_INET, kind) as kept:
        kept.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_DGRAM:
            kept.connect(("127.0.0.1", 1))  # now it takes nothing from others, who are told that nobody is there
        yield kept.getsockname()
