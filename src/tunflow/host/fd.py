"""A packet device that somebody else opened and handed down as a descriptor.

A TUN device says itself what it is (TUNGETIFF), wherever its interface lives: the descriptor may come from
another network namespace. A Unix datagram or seqpacket socket is taken as a device too; it carries plain
packets, one a message.

Read first: Linux drivers/net/tun.c (`tun_flags`), include/uapi/linux/if_tun.h.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from fcntl import ioctl

from tunflow.errors import LocalError
from tunflow.host.tun import (
    DEFAULT_MTU,
    IFF_TAP,
    IFF_VNET_HDR,
    IFREQ_FLAGS,
    TUNGETIFF,
    TunDevice,
)

_ACCEPTED = "expected a TUN device opened with IFF_TUN and IFF_NO_PI"

_PROBE = struct.pack("!HH", 0, 0x88B5) + bytes(64)
"""`struct tun_pi` with the EtherType of local experiments (IEEE 802), which no host has a receiver for."""


def from_fd(fd: int, mtu: int | None = None) -> TunDevice:
    """The device behind `fd`, which is taken over.

    It becomes non-blocking, is not inherited further and is closed with the device. `mtu` in bytes is what
    the caller knows of the interface; None asks it, which works in its own network namespace, and falls back
    to 1500. Raises LocalError, after which `fd` still is the caller's.
    """
    try:
        mode = os.fstat(fd).st_mode
    except OSError as error:
        raise LocalError(f"file descriptor {fd}: {error.strerror}: {_ACCEPTED}") from None
    device = _from_socket(fd, mtu) if stat.S_ISSOCK(mode) else _from_tun(fd, mtu)
    os.set_blocking(fd, False)
    os.set_inheritable(fd, False)
    return device


def _from_tun(fd: int, mtu: int | None) -> TunDevice:
    try:
        reply = ioctl(fd, TUNGETIFF, bytes(IFREQ_FLAGS.size))
    except OSError:
        raise LocalError(f"file descriptor {fd} is not an attached TUN device: {_ACCEPTED}") from None
    name_bytes, flags = IFREQ_FLAGS.unpack(reply)
    name = name_bytes.rstrip(b"\0").decode(errors="replace")
    if flags & IFF_TAP:
        raise LocalError(f"file descriptor {fd} is the TAP device {name!r}: {_ACCEPTED}")
    if _has_packet_information(fd):
        raise LocalError(f"file descriptor {fd} is the TUN device {name!r} without IFF_NO_PI: {_ACCEPTED}")
    device = TunDevice(fd, name, vnet=bool(flags & IFF_VNET_HDR), mtu=mtu)
    device.negotiate()
    return device


def _has_packet_information(fd: int) -> bool:
    """Return True if the device was opened without IFF_NO_PI, and so has 4 bytes in front of every packet.

    TUNGETIFF cannot tell: Linux reports IFF_NOFILTER in the same bit, which every TUN device has. But a
    packet whose first bytes are that prefix is no IP packet, and refused as such, exactly where they are not
    taken for the prefix.
    """
    try:
        os.write(fd, _PROBE)
    except OSError as error:
        return error.errno != errno.EINVAL
    return True


def _from_socket(fd: int, mtu: int | None) -> TunDevice:
    with socket.socket(fileno=os.dup(fd)) as probe:
        family, kind = probe.family, probe.type
    if family != socket.AF_UNIX or kind not in (socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        raise LocalError(f"file descriptor {fd} is a {family.name} {kind.name} socket: {_ACCEPTED}")
    return TunDevice(fd, f"fd {fd}", vnet=False, mtu=mtu or DEFAULT_MTU)
