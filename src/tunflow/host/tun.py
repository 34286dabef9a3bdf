"""Linux TUN devices with checksum and segmentation offload.

Rules:
- one `read` call of the kernel gives one packet, which with offload is up to 64 KB of TCP or UDP payload; one
`writev` gives one back, and the kernel does not cut it up on its way to a local socket;
- what the kernel refuses is done without: first UDP segmentation (before Linux 6.2), then TCP segmentation,
checksums, and last the virtio-net header itself; `offload` says what was obtained;
- a packet that the kernel does not take is counted, never raised: to the flow it is a lost packet.

Read first: Linux Documentation/networking/tuntap.rst, include/uapi/linux/if_tun.h, tun(4); `wire.virtio_net`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Sequence
from enum import Flag
from fcntl import ioctl

from tunflow.device import VNET_SIZE, Packet
from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket, LocalError
from tunflow.wire import virtio_net
from tunflow.wire.offload import segment

DEFAULT_MTU = 1500
"""What a TUN device has when nobody sets another, and what is taken when it cannot be asked."""

_NODE = "/dev/net/tun"
_MAX_NAME = 15
"""IFNAMSIZ less the terminating zero."""

TUNSETIFF = 0x400454CA
TUNSETOFFLOAD = 0x400454D0
TUNGETIFF = 0x800454D2
TUNSETVNETHDRSZ = 0x400454D8
TUNSETVNETLE = 0x400454DC
SIOCGIFMTU = 0x8921

IFF_TUN = 0x0001
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000
IFF_TUN_EXCL = 0x8000

IFREQ_FLAGS = struct.Struct("16sH22x")
"""`struct ifreq` with ifr_flags."""
_IFREQ_MTU = struct.Struct("16si20x")
_INT = struct.Struct("i")

_READ_SIZE = VNET_SIZE + 40 + 65535
"""The largest packet there is: an IPv6 header and 64 KB behind it."""
_SMALL = 4096
_IOV_MAX = os.sysconf("SC_IOV_MAX")
_HEAP_HINT = 4 << 20

_GONE = frozenset(
    (errno.EBADF, errno.EBADFD, errno.ENODEV, errno.EPIPE, errno.ECONNRESET, errno.ECONNREFUSED, errno.ENOTCONN)
)
"""The descriptor was closed, the interface deleted, or the other end of a socket pair is gone."""
_NO_MEMORY = frozenset((errno.ENOBUFS, errno.ENOMEM))


class Offload(Flag):
    """What the kernel leaves to us; the values are those of TUNSETOFFLOAD."""

    NONE = 0
    CSUM = 0x01
    TSO4 = 0x02
    TSO6 = 0x04
    USO4 = 0x20
    USO6 = 0x40


_TSO = Offload.CSUM | Offload.TSO4 | Offload.TSO6
_STEPS = (_TSO | Offload.USO4 | Offload.USO6, _TSO, Offload.CSUM, Offload.NONE)
"""What to ask for, best first. The kernel knows USO only as a pair, and nothing without CSUM."""


class TunDevice:
    """A TUN device (or a socket that carries packets as one does, see `host.fd`)."""

    def __init__(self, fd: int, name: str, *, vnet: bool, mtu: int | None = None) -> None:
        """Take over the non-blocking `fd`. `mtu` in bytes; None asks the interface when first needed."""
        self._fd = fd
        self._mtu = mtu
        self.name = name
        self.vnet_offset = VNET_SIZE if vnet else 0
        self.offload = Offload.NONE
        self._scratch = memoryview(bytearray(_READ_SIZE))
        self._scratch_list = [self._scratch]
        self._bulky = False
        """True if the last packet was large, so the next one is read into memory of its own and not copied.

        Small ones are copied out of one buffer: a fresh one for each would leave holes of nearly 64 KB between the
        small things that are allocated meanwhile and stay.
        """
        # A read of a large packet allocates the largest and gives most of it back. glibc's first settings return and
        # fault in those pages again each time (15 faults and 45 us a read instead of 0.1 and 6 us, with 60
        # packets of 64 KB held). Freeing one large allocation raises its mmap and trim thresholds for good:
        # mallopt(3), M_MMAP_THRESHOLD.
        bytes(_HEAP_HINT)

    @classmethod
    def open(cls, name: str = "tunflow%d") -> TunDevice:
        """Make a device that lives as long as its descriptor; `%d` stands for a number. Raises LocalError."""
        return cls._open(name, IFF_TUN_EXCL)

    @classmethod
    def attach(cls, name: str) -> TunDevice:
        """Take an existing persistent device. Raises LocalError."""
        try:
            socket.if_nametoindex(name)
        except (OSError, ValueError):  # the latter where it cannot be a name at all
            message = f"no network device {name!r}: expected a TUN device (ip tuntap add dev NAME mode tun)"
            raise LocalError(message) from None
        return cls._open(name, 0)

    @classmethod
    def _open(cls, name: str, exclusive: int) -> TunDevice:
        if not 0 < len(name.encode()) <= _MAX_NAME:
            raise LocalError(f"device name {name!r}: expected 1 to {_MAX_NAME} bytes")
        try:
            fd = os.open(_NODE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise LocalError(_why_no_node(error)) from None
        try:
            flags = IFF_TUN | IFF_NO_PI | exclusive
            try:
                reply = _set_interface(fd, name, flags | IFF_VNET_HDR)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                reply = _set_interface(fd, name, flags)
        except OSError as error:
            os.close(fd)
            raise LocalError(_why_no_interface(name, error, bool(exclusive))) from None
        got_name, got_flags = IFREQ_FLAGS.unpack(reply)
        device = cls(fd, got_name.rstrip(b"\0").decode(), vnet=bool(got_flags & IFF_VNET_HDR))
        try:
            device.negotiate()
        except LocalError:
            device.close()
            raise
        return device

    def negotiate(self) -> None:
        """Obtain as much offload as the kernel gives; `offload` says how much. Raises LocalError."""
        if not self.vnet_offset:
            # An earlier owner may have asked for some, and here nothing would tell a partial checksum from a
            # wrong one.
            ioctl(self._fd, TUNSETOFFLOAD, 0)
            return
        try:
            ioctl(self._fd, TUNSETVNETHDRSZ, _INT.pack(VNET_SIZE))
        except OSError as error:
            message = f"{self.name}: the virtio-net header cannot be set to {VNET_SIZE} bytes: {error.strerror}"
            raise LocalError(message) from None
        with contextlib.suppress(OSError):  # Linux before 4.0 has only the machine's own byte order
            ioctl(self._fd, TUNSETVNETLE, _INT.pack(1))
        for wanted in _STEPS:
            try:
                ioctl(self._fd, TUNSETOFFLOAD, wanted.value)
            except OSError:
                continue
            self.offload = wanted
            return

    def forgo_offload(self) -> None:
        """Have the kernel cut packets to the MTU and put checksums in, for a reader that wants plain packets."""
        with contextlib.suppress(OSError):  # a socket, or a kernel without offload: there is nothing to forgo
            ioctl(self._fd, TUNSETOFFLOAD, 0)
            self.offload = Offload.NONE

    @property
    def mtu(self) -> int:
        """The largest plain packet in bytes, as the interface had it when first asked."""
        if self._mtu is None:
            self._mtu = _interface_mtu(self.name) or DEFAULT_MTU
        return self._mtu

    def fileno(self) -> int:
        """The device's descriptor; -1 when closed."""
        return self._fd

    def read(self, limit: int) -> list[bytes]:
        """Up to `limit` waiting packets. Raises EOFError when the device is gone."""
        packets: list[bytes] = []
        fd = self._fd
        scratch, into = self._scratch, self._scratch_list
        try:
            for _ in range(limit):
                if self._bulky:
                    packet = os.read(fd, _READ_SIZE)
                else:
                    size = os.readv(fd, into)
                    packet = bytes(scratch[:size])
                self._bulky = len(packet) > _SMALL
                packets.append(packet)
        except BlockingIOError:
            pass
        except OSError as error:
            if not packets and error.errno not in _NO_MEMORY:
                raise EOFError(f"{self.name} is gone: {error.strerror}") from None
        if packets and not packets[-1]:  # only a socket ends so
            packets = [packet for packet in packets if packet]
            if not packets:
                raise EOFError(f"{self.name} was closed by the other side")
        return packets

    def write(self, packets: Sequence[Packet]) -> int:
        """Hand packets over; how many were refused. Raises EOFError when the device is gone."""
        if not self.vnet_offset:
            return sum(not self._write_plain(packet) for packet in packets)
        refused = 0
        writev = os.writev
        fd = self._fd
        for packet in packets:
            try:
                writev(fd, packet)
            except OSError as error:
                refused += not self._write_again(packet, error)
        return refused

    def close(self) -> None:
        """Close the descriptor; a device made by `open` goes with it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write_again(self, packet: Packet, error: OSError) -> bool:
        """Return True if a packet that the kernel refused could be given to it in another form."""
        self._raise_if_gone(error)
        if error.errno != errno.EINVAL:
            return False
        if len(packet) > _IOV_MAX:
            packet = [packet[0], b"".join(packet[1:])]
            if self._put(packet):
                return True
        # Before Linux 6.2 it does not know the UDP type, so here it is cut; if it is malformed, here is where
        # that shows.
        return self._write_plain(packet, virtio_net.PLAIN)

    def _write_plain(self, packet: Packet, front: bytes = b"") -> bool:
        """Return True if all of the plain packets that `packet` stands for were taken, each behind `front`."""
        try:
            plain = segment(packet)
        except BadPacket:
            return False
        taken = True
        for pieces in plain:
            whole: list[Buffer] = [front, *pieces] if front else pieces
            if len(whole) > _IOV_MAX:
                whole = [b"".join(whole)]
            taken &= self._put(whole)
        return taken

    def _put(self, pieces: Sequence[Buffer]) -> bool:
        try:
            os.writev(self._fd, pieces)
        except OSError as error:
            self._raise_if_gone(error)
            return False
        return True

    def _raise_if_gone(self, error: OSError) -> None:
        if error.errno in _GONE:
            raise EOFError(f"{self.name} is gone: {error.strerror}") from None


def _set_interface(fd: int, name: str, flags: int) -> bytes:
    return ioctl(fd, TUNSETIFF, IFREQ_FLAGS.pack(name.encode(), flags))


def _interface_mtu(name: str) -> int | None:
    """The interface's MTU in bytes; None when it cannot be seen from here (another network namespace)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        try:
            reply = ioctl(control, SIOCGIFMTU, _IFREQ_MTU.pack(name.encode(), 0))
        except OSError:
            return None
    mtu: int = _IFREQ_MTU.unpack(reply)[1]
    return mtu


def _why_no_node(error: OSError) -> str:
    """One line for a user whose /dev/net/tun does not open."""
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return f"{_NODE} is missing: load the driver (modprobe tun) or give the container its device (--device {_NODE})"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{_NODE}: permission denied: open it to this user (chmod 666 {_NODE}, or a group), or to the container"
    return f"{_NODE}: {error.strerror}"


def _why_no_interface(name: str, error: OSError, exclusive: bool) -> str:
    """One line for a user whose device cannot be made or taken."""
    if error.errno in (errno.EPERM, errno.EACCES):
        return (
            f"TUN device {name!r}: not permitted: it needs CAP_NET_ADMIN, or a device made for this user"
            f" (ip tuntap add dev NAME mode tun user USER)"
        )
    if error.errno == errno.EBUSY:
        if exclusive:
            return f"TUN device {name!r} exists already: choose another name or attach to it"
        return f"TUN device {name!r} is in use by another process: end that process or choose another device"
    if error.errno == errno.EINVAL:
        return f"{name!r} is not usable as a TUN device: expected a TUN (not TAP) device with a single queue"
    return f"TUN device {name!r}: {error.strerror}"
