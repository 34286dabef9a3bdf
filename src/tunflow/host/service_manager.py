"""Tells systemd how a service does (sd_notify(3)); says nothing where another started it."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


class ServiceManager:
    """Made while the rights are still there to reach the socket that NOTIFY_SOCKET names."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        path = os.environ.pop("NOTIFY_SOCKET", "")
        if path:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            try:
                sock.connect("\0" + path[1:] if path.startswith("@") else path)
                self._socket = sock
            except OSError:
                sock.close()

    def tell(self, state: str) -> None:
        """Such as `READY=1`."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.send(state.encode())
