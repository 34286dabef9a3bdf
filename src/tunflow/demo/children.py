"""The processes that the demo keeps beside the tunnel: forked, told to end, and gone with their parent.

A child says one JSON object when it is ready and one when it ends; it ends when its end of a socket pair does, so also
when the parent is killed. Rules: fork only while there is one thread; a child ignores SIGINT, which a terminal sends
to all of us, and leaves ending to the parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable, Mapping
from typing import Any

from tunflow.errors import LocalError, RemoteError

PATIENCE_SECONDS = 10.0

Main = Callable[[socket.socket, Callable[[Mapping[str, Any]], None]], None]
"""A child's work: takes the socket that ends when it should, and `say`, to be called when ready and at the end."""


class Child:
    """A forked process that runs `main`; `siblings` are the ones made before it."""

    def __init__(self, name: str, main: Main, siblings: tuple[Child, ...] = ()) -> None:
        self._name = name
        self._control, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            _be_child(main, theirs, [self._control, *(sibling._control for sibling in siblings)])
        theirs.close()
        self._control.settimeout(PATIENCE_SECONDS)
        self._lines = self._control.makefile("rb")
        self.ready = self._hear()
        """What it said when it was ready. Raises RemoteError when it did not get that far."""

    def end(self) -> dict[str, Any]:
        """Have it end; what it said last."""
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)
        try:
            return self._hear()
        finally:
            self.kill()

    def kill(self) -> None:
        """End it whatever it does; nothing happens when it has ended."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
            self._lines.close()
            self._control.close()

    def _hear(self) -> dict[str, Any]:
        try:
            said: dict[str, Any] = json.loads(self._lines.readline())
        except (OSError, ValueError):
            said = {"error": "it ended without a word"}
        if "error" in said:
            self.kill()
            raise RemoteError(f"the demo's {self._name}: {said['error']}")
        return said


def _be_child(main: Main, control: socket.socket, others: list[socket.socket]) -> None:
    """Run `main` and never come back."""

    def say(facts: Mapping[str, Any]) -> None:
        control.sendall(json.dumps(facts).encode() + b"\n")

    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for other in others:
            other.close()
        main(control, say)
    except (LocalError, OSError) as error:
        with contextlib.suppress(OSError):
            say({"error": str(error)})
    finally:
        os._exit(0)
