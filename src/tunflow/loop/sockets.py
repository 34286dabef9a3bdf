"""The sockets that leave this host: all are made here, so that none of them enters the tunnel it serves."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

_STREAM = int(socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER on with zero seconds: closing discards what is queued and sends a reset (socket(7))."""

SO_BINDTODEVICE = 25
"""linux/asm-generic/socket.h; Python has it on Linux only."""


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """What tells our own packets from captured ones."""

    mark: int = 0
    """The firewall mark (SO_MARK) that policy routing knows; 0 for none."""
    interface: str | None = None
    """The interface to be bound to, whatever the routes say."""

    def open(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket that does not block and is not inherited. Raises OSError."""
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
        if self.mark or self.interface:
            try:
                if self.mark:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self.mark)
                if self.interface:
                    sock.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, self.interface.encode() + b"\0")
            except OSError:
                sock.close()
                raise
        return sock

    def open_stream(self, family: int) -> socket.SocketType:
        """The same for a TCP flow: the bare socket without Python's layer above, which costs a third more to make."""
        if self.mark or self.interface:
            return self.open(family, socket.SOCK_STREAM)
        return socket.SocketType(family, _STREAM)


UNMARKED = SocketOptions()
