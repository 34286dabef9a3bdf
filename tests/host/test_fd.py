"""Descriptors that somebody else opened: which are devices, and what is said of those that are not."""

from __future__ import annotations

import fcntl
import os
import socket
import struct

import pytest
from tun_lab import configure, connect, ip, net_namespace, udp_pieces, wait_readable

from tunflow.errors import LocalError
from tunflow.host import tun
from tunflow.host.fd import from_fd
from tunflow.host.tun import Offload
from tunflow.wire import tcp, virtio_net


def foreign_tun(flags: int, name: str = "foreign") -> int:
    """A descriptor as another program may have opened it: blocking, inheritable."""
    fd = os.open("/dev/net/tun", os.O_RDWR)
    os.set_inheritable(fd, True)
    fcntl.ioctl(fd, tun.TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    return fd


def reports_line(fd: int, what: str) -> None:
    with pytest.raises(LocalError, match=what) as caught:
        from_fd(fd)
    assert "expected a TUN device opened with IFF_TUN and IFF_NO_PI" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.lab
@net_namespace()
def test_inherited_tun_with_virtio_net_header() -> None:
    fd = foreign_tun(tun.IFF_TUN | tun.IFF_NO_PI | tun.IFF_VNET_HDR)
    fcntl.ioctl(fd, tun.TUNSETVNETHDRSZ, struct.pack("i", 12))
    device = from_fd(fd)
    configure(device.name, 1400)
    assert (device.name, device.mtu, device.vnet_offset) == ("foreign", 1400, 10)
    assert Offload.TSO4 in device.offload
    assert not os.get_blocking(fd)
    assert not os.get_inheritable(fd)
    sock, peer = connect(device, 4)
    assert device.write([peer.pieces(tcp.ACK, [bytes(20_000)], gso_size=1000)]) == 0
    assert len(sock.recv(20_000, socket.MSG_WAITALL)) == 20_000
    sock.close()
    device.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


@pytest.mark.lab
@net_namespace()
def test_inherited_tun_without_virtio_net_header() -> None:
    fd = foreign_tun(tun.IFF_TUN | tun.IFF_NO_PI)
    fcntl.ioctl(fd, tun.TUNSETOFFLOAD, 7)  # without a header nothing would tell of a super-segment
    device = from_fd(fd)
    configure(device.name)
    assert (device.vnet_offset, device.offload) == (0, Offload.NONE)
    sock, _ = connect(device, 4)
    sock.send(bytes(4000))
    wait_readable(device)
    assert all(len(packet) <= 1500 for packet in device.read(10))
    sock.close()
    device.close()


@pytest.mark.lab
def test_mtu_of_an_interface_elsewhere() -> None:
    with net_namespace():
        fd = foreign_tun(tun.IFF_TUN | tun.IFF_NO_PI, "elsewhere0")
        ip("link", "set", "dev", "elsewhere0", "mtu", "9000")
    assert from_fd(os.dup(fd)).mtu == 1500
    device = from_fd(fd, mtu=9000)
    assert (device.name, device.mtu) == ("elsewhere0", 9000)
    device.close()


@pytest.mark.lab
@net_namespace()
def test_devices_of_another_kind() -> None:
    reports_line(foreign_tun(tun.IFF_TAP | tun.IFF_NO_PI, "tapped"), "is the TAP device 'tapped'")
    unattached = os.open("/dev/net/tun", os.O_RDWR)
    reports_line(unattached, f"file descriptor {unattached} is not an attached TUN device")
    os.fstat(unattached)  # still the caller's


@pytest.mark.lab
@pytest.mark.parametrize("state", ["up", "down"])
@pytest.mark.parametrize("vnet", [0, tun.IFF_VNET_HDR])
@net_namespace()
def test_only_a_prefix_makes_a_tun_unusable(vnet: int, state: str) -> None:
    prefixed = foreign_tun(tun.IFF_TUN | vnet, "prefixed")
    plain = foreign_tun(tun.IFF_TUN | tun.IFF_NO_PI | vnet, "plain")
    for name in ("prefixed", "plain"):
        ip("link", "set", "dev", name, state)
    reports_line(prefixed, "is the TUN device 'prefixed' without IFF_NO_PI")
    assert from_fd(plain).name == "plain"
    os.close(prefixed)
    os.close(plain)


def test_what_is_no_device_at_all() -> None:
    reports_line(9999, "file descriptor 9999: Bad file descriptor")
    reader, writer = os.pipe()
    reports_line(reader, f"file descriptor {reader} is not an attached TUN device")
    os.close(reader)
    os.close(writer)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        reports_line(sock.fileno(), "is a AF_INET SOCK_STREAM socket")


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_a_unix_socket_carries_plain_packets(kind: socket.SocketKind) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    device = from_fd(ours.detach(), mtu=1280)
    assert (device.mtu, device.vnet_offset, device.offload) == (1280, 0, Offload.NONE)
    assert device.read(5) == []
    theirs.send(b"one")
    theirs.send(b"two")
    wait_readable(device)
    assert device.read(1) == [b"one"]
    assert device.read(5) == [b"two"]
    assert device.write([udp_pieces(4, 9, b"abcd", gso_size=2), [virtio_net.PLAIN, b"plain"]]) == 0
    assert [len(theirs.recv(100)) for _ in range(3)] == [30, 30, 5]
    refused = 0
    while not refused:
        refused = device.write([[virtio_net.PLAIN, bytes(1000)]] * 100)  # nobody reads
    assert 0 < refused <= 100
    theirs.close()
    with pytest.raises(EOFError):
        device.write([[virtio_net.PLAIN, b"x"]])
    device.close()


def test_a_closed_seqpacket_socket_ends_the_device() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    device = from_fd(ours.detach())
    theirs.send(b"last")
    theirs.close()
    assert device.read(5) == [b"last"]
    with pytest.raises(EOFError):
        device.read(5)
    device.close()
