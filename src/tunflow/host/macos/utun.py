"""macOS utun devices. Not run on a Mac yet: written from the headers, and tested against recorded calls.

A utun is a socket of the kernel control `com.apple.net.utun_control`. One `read` gives one packet, behind four bytes
with its address family in network order; there is no offload, so the device has a large MTU instead.

Read first: xnu bsd/net/if_utun.h, bsd/sys/kern_control.h, bsd/sys/sys_domain.h.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
from collections.abc import Sequence
from fcntl import ioctl

from tunflow.endpoint import Buffer
from tunflow.errors import LocalError
from tunflow.host.tun import TunDevice

AF_SYSTEM = 32
SYSPROTO_CONTROL = 2
CTLIOCGINFO = 0xC0644E03
UTUN_OPT_IFNAME = 2
UTUN_CONTROL = b"com.apple.net.utun_control"
CTL_INFO = struct.Struct("I96s")
"""struct ctl_info: ctl_id, ctl_name."""

MTU = 65535
"""Without offload each packet costs a read and a walk through the stack, so packets had better be large."""
_READ_SIZE = 65535 + 40
_FAMILIES = {4: struct.pack("!I", 2), 6: struct.pack("!I", 30)}
"""AF_INET and AF_INET6 of xnu bsd/sys/socket.h."""
_NAME_SIZE = 16
_NAME = re.compile(r"utun(\d{1,5})")


class UtunDevice(TunDevice):
    """A packet device on a utun's socket."""

    def __init__(self, control: socket.socket, name: str) -> None:
        """Take over the connected, non-blocking `control`."""
        super().__init__(control.detach(), name, vnet=False, mtu=MTU)
        self._family = bytearray(4)
        self._packet = memoryview(bytearray(_READ_SIZE))

    @classmethod
    def open(cls, name: str = "utun") -> UtunDevice:
        """Make the device `utunN`, or with "utun" the next free one; it goes with its socket. Raises LocalError."""
        unit = _unit(name)
        try:
            control = socket.socket(AF_SYSTEM, socket.SOCK_DGRAM, SYSPROTO_CONTROL)
        except OSError as error:
            raise LocalError(f"no kernel control socket: {error.strerror}: this is for macOS") from None
        try:
            control_id, _ = CTL_INFO.unpack(ioctl(control, CTLIOCGINFO, CTL_INFO.pack(0, UTUN_CONTROL)))
            control.connect((control_id, unit))
            control.setblocking(False)
            got = control.getsockopt(SYSPROTO_CONTROL, UTUN_OPT_IFNAME, _NAME_SIZE)
        except OSError as error:
            control.close()
            raise LocalError(_explain(name, error)) from None
        return cls(control, got.rstrip(b"\0").decode())

    def read(self, limit: int) -> list[bytes]:
        """Up to `limit` waiting packets. Raises EOFError when the device is gone."""
        packets: list[bytes] = []
        into: list[bytearray | memoryview] = [self._family, self._packet]
        try:
            for _ in range(limit):
                size = os.readv(self._fd, into)
                packets.append(bytes(self._packet[: size - len(self._family)]))
        except BlockingIOError:
            pass
        except OSError as error:
            if not packets and error.errno not in (errno.ENOBUFS, errno.ENOMEM):
                raise EOFError(f"{self.name} is gone: {error.strerror}") from None
        return packets

    def _put(self, pieces: Sequence[Buffer]) -> bool:
        first = pieces[0]
        family = _FAMILIES.get(first[0] >> 4 if len(first) else 0)
        return family is not None and super()._put([family, b"".join(pieces)])


def _unit(name: str) -> int:
    """The control's unit for a device's name: one more than its number, 0 for whichever is free."""
    if name == "utun":
        return 0
    match = _NAME.fullmatch(name)
    if match is None:
        raise LocalError(
            f"device name {name!r}: macOS calls tunnel devices utun0, utun1 …; utun takes the next free one"
        )
    return int(match[1]) + 1


def _explain(name: str, error: OSError) -> str:
    if error.errno in (errno.EPERM, errno.EACCES):
        return f"utun device {name!r}: not permitted: run tunflow as root"
    if error.errno == errno.EBUSY:
        return f"utun device {name!r} exists already: choose another number, or utun for the next free one"
    return f"utun device {name!r}: {error.strerror}"
