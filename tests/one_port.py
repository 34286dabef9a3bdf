"""Servers with TCP and UDP at one port, at one address of loopback or several."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack

TRIES = 100
"""More than ports that other programs have can be met by in a row."""


def sockets_at_one_port(*hosts: str) -> list[tuple[socket.socket, socket.socket]]:
    """For each host a listener and a socket for datagrams, all at a port that the kernel chooses.

    A port that is free for one of them may be another program's for the next: then all get another. Raises OSError.
    """
    for _ in range(TRIES):
        with ExitStack() as opened:
            made: list[tuple[socket.socket, socket.socket]] = []
            try:
                for host in hosts:
                    stream = opened.enter_context(
                        socket.create_server((host, made[0][0].getsockname()[1] if made else 0))
                    )
                    datagrams = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                    datagrams.bind(stream.getsockname())
                    made.append((stream, datagrams))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                raise
            opened.pop_all()
            return made
    raise AssertionError(f"no port of {TRIES} was free for all")
