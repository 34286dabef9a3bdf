"""A flow that stays open: `held_flow.py HOST PORT` echoes a byte and says "open", then each line on stdin sends another
and says "alive"; says "reset" and ends as soon as the connection does, and "silence" after 600 s of nothing at all."""

from __future__ import annotations

import select
import socket
import sys


def main() -> None:
    """Hold the flow until its end or that of stdin."""
    sock = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=30)
    sock.settimeout(30)
    echo(sock)
    say("open")
    while True:
        ready, _, _ = select.select([sock, sys.stdin], [], [], 600)
        if not ready:
            say("silence")
            return
        try:
            if sock in ready:
                sock.recv(1)
                say("ended")
                return
            if not sys.stdin.readline():
                return
            echo(sock)
        except ConnectionError:
            say("reset")
            return
        say("alive")


def echo(sock: socket.socket) -> None:
    """A byte there and back."""
    sock.sendall(b"x")
    if sock.recv(1) != b"x":
        raise ConnectionResetError


def say(word: str) -> None:
    """One line, at once."""
    print(word, flush=True)


main()
