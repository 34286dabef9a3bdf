"""TUN devices: what the kernel gives and takes, with each degree of offload, and what a user is told."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct

import pytest
from tun_lab import HOST_V4, PEER_V4, configure, connect, ip, net_namespace, read_some, udp_pieces, wait_readable

from tunflow.endpoint import Buffer
from tunflow.errors import LocalError
from tunflow.host import tun
from tunflow.host.tun import Offload, TunDevice
from tunflow.wire import ipv4, protocols, tcp, udp, virtio_net
from tunflow.wire.checksum import transport_checksum
from tunflow.wire.offload import segment

UDP_SEGMENT = 103
ALL = Offload.CSUM | Offload.TSO4 | Offload.TSO6 | Offload.USO4 | Offload.USO6


def make(version: int = 4, mtu: int = 1500) -> TunDevice:
    device = TunDevice.open()
    configure(device.name, mtu, version)
    return device


def refuse(monkeypatch: pytest.MonkeyPatch, number: int, unwanted: int) -> None:
    """Have the kernel refuse one request when its argument has any of the unwanted bits."""
    real = fcntl.ioctl

    def ioctl(fd: int, request: int, argument: int | bytes = 0) -> int | bytes:
        flags = argument if isinstance(argument, int) else struct.unpack_from("16xH", argument.ljust(18, b"\0"))[0]
        if request == number and flags & unwanted:
            raise OSError(errno.EINVAL, "refused")
        return real(fd, request, argument)

    monkeypatch.setattr(tun, "ioctl", ioctl)


@pytest.mark.lab
@net_namespace()
def test_open_gets_all_offload() -> None:
    device = TunDevice.open()
    assert device.name == "tunflow0"
    assert device.vnet_offset == 10
    assert device.offload == ALL  # Linux 6.2 and later
    ip("link", "set", "dev", device.name, "mtu", "1400")
    assert device.mtu == 1400
    assert not os.get_inheritable(device.fileno())
    device.close()


@pytest.mark.lab
@net_namespace()
def test_udp_out_of_the_kernel() -> None:
    device = make()
    assert device.read(10) == []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"to the peer", ("10.9.0.2", 53))
        sock.sendto(b"again", ("10.9.0.2", 53))
        port = sock.getsockname()[1]
    wait_readable(device)
    assert len(device.read(1)) == 1
    (packet,) = device.read(10)
    (plain,) = segment([packet[:10], packet[10:]])
    whole = b"".join(plain)
    header = ipv4.parse_untrusted(whole)
    assert (header.src, header.dst, header.protocol) == (HOST_V4, PEER_V4, protocols.UDP)
    datagram = whole[20:]
    assert udp.parse_untrusted(datagram)[:3] == (port, 53, 13)
    assert transport_checksum(HOST_V4, PEER_V4, protocols.UDP, datagram) == 0
    assert datagram[8:] == b"again"
    device.close()


@pytest.mark.lab
@pytest.mark.parametrize("version", [4, 6])
@net_namespace()
def test_udp_into_the_kernel(version: int) -> None:
    device = make(version)
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(60)
        sock.bind(("10.9.0.1" if version == 4 else "fd09::1", 0))
        port = sock.getsockname()[1]
        assert device.write([udp_pieces(version, port, b"hello"), udp_pieces(version, port, b"odd")]) == 0
        assert sock.recv(100) == b"hello"
        assert sock.recv(100) == b"odd"
    device.close()


@pytest.mark.lab
@pytest.mark.parametrize("version", [4, 6])
@net_namespace()
def test_tcp_super_segments_both_ways(version: int) -> None:
    device = make(version)
    sock, peer = connect(device, version)
    blob = os.urandom(60_000)
    pieces: list[Buffer] = [blob[:7], memoryview(blob)[7:30_001], blob[30_001:]]
    assert device.write([peer.pieces(tcp.ACK | tcp.PSH, pieces, gso_size=1400)]) == 0
    assert sock.recv(60_000, socket.MSG_WAITALL) == blob

    sock.sendall(blob[:10_000])
    received = b""
    largest = 0
    while len(received) < 10_000:
        for packet in read_some(device, 1):
            vnet = virtio_net.parse_untrusted(packet)
            for plain in segment([packet[:10], packet[10:]]):
                whole = memoryview(b"".join(plain))
                its_segment = peer.transport(whole)
                assert transport_checksum(peer.dst, peer.src, protocols.TCP, its_segment) == 0
                received += bytes(its_segment[peer.accept(whole).header_length :])
            largest = max(largest, len(packet))
            assert vnet.gso_size in (0, 1400)
    assert received == blob[:10_000]
    assert largest > 1500
    sock.close()
    device.close()


@pytest.mark.lab
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("kernel_knows_uso", [True, False])
@net_namespace()
def test_udp_super_datagrams_into_the_kernel(
    version: int, kernel_knows_uso: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = make(version)
    if not kernel_knows_uso:
        real = os.writev

        def writev(fd: int, pieces: list[Buffer]) -> int:
            if pieces[0][1] == virtio_net.GSO_UDP_L4:
                raise OSError(errno.EINVAL, "Linux before 6.2")
            return real(fd, pieces)

        monkeypatch.setattr(os, "writev", writev)
    with socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.settimeout(60)
        sock.bind(("10.9.0.1" if version == 4 else "fd09::1", 0))
        assert device.write([udp_pieces(version, sock.getsockname()[1], b"abcdefgh" * 3, gso_size=10)]) == 0
        assert [sock.recv(100) for _ in range(3)] == [b"abcdefghab", b"cdefghabcd", b"efgh"]
    device.close()


@pytest.mark.lab
@net_namespace()
def test_udp_super_datagram_out_of_the_kernel() -> None:
    device = make()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
        sock.sendto(bytes(4500), ("10.9.0.2", 443))
    (packet,) = read_some(device, 1)
    header = virtio_net.parse_untrusted(packet)
    assert (header.segmentation, header.gso_size) == (virtio_net.GSO_UDP_L4, 1000)
    plain = segment([packet[:10], packet[10:]])
    assert [sum(map(len, pieces)) for pieces in plain] == [1028] * 4 + [528]
    device.close()


@pytest.mark.lab
@net_namespace()
def test_without_uso(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, tun.TUNSETOFFLOAD, 0x60)
    device = make()
    assert device.offload == Offload.CSUM | Offload.TSO4 | Offload.TSO6
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
        sock.sendto(bytes(2500), ("10.9.0.2", 443))
    assert [len(packet) for packet in read_some(device, 3)] == [1038, 1038, 538]
    device.close()


@pytest.mark.lab
@pytest.mark.parametrize(
    ("refused", "expected"), [(0x66, Offload.CSUM), (0x67, Offload.NONE)], ids=["only checksums", "nothing"]
)
@net_namespace()
def test_with_less_and_less_offload(refused: int, expected: Offload, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, tun.TUNSETOFFLOAD, refused)
    device = make()
    assert device.vnet_offset == 10
    assert device.offload == expected
    sock, _ = connect(device, 4)
    sock.send(bytes(5000))
    assert all(len(packet) <= 10 + 1500 for packet in read_some(device, 4))
    sock.close()
    device.close()


@pytest.mark.lab
@pytest.mark.parametrize("version", [4, 6])
@net_namespace()
def test_without_a_virtio_net_header(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, tun.TUNSETIFF, tun.IFF_VNET_HDR)
    device = make(version)
    assert (device.vnet_offset, device.offload) == (0, Offload.NONE)
    sock, peer = connect(device, version)
    blob = os.urandom(20_000)
    assert device.write([peer.pieces(tcp.ACK | tcp.PSH, [blob], gso_size=1400)]) == 0
    assert sock.recv(20_000, socket.MSG_WAITALL) == blob
    device.read(100)
    sock.send(blob[:3000])
    for packet in read_some(device, 3):
        assert len(packet) <= 1500
        its_segment = peer.transport(memoryview(packet))
        assert transport_checksum(peer.dst, peer.src, protocols.TCP, its_segment) == 0
    assert device.write([udp_pieces(version, 9, b"x")[:1]]) == 1
    sock.close()
    device.close()


@pytest.mark.lab
@net_namespace()
def test_more_pieces_than_writev_takes() -> None:
    device = make()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(60)
        sock.bind(("10.9.0.1", 0))
        payload = os.urandom(1500)
        vnet, head, _ = udp_pieces(4, sock.getsockname()[1], payload)
        # 1500 bytes of payload are more than the MTU, which only limits what leaves the kernel
        assert device.write([[vnet, head, *(payload[at : at + 1] for at in range(1500))]]) == 0
        assert sock.recv(2000) == payload
    device.close()


@pytest.mark.lab
@net_namespace()
def test_what_the_kernel_refuses_is_counted() -> None:
    device = make()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(60)
        sock.bind(("10.9.0.1", 0))
        good = udp_pieces(4, sock.getsockname()[1], b"good")
        bad_size = [virtio_net.HEADER.pack(1, virtio_net.GSO_TCPV4, 0, 0, 0, 0), *good[1:]]
        bad_start = [virtio_net.HEADER.pack(1, 0, 0, 0, 60000, 16), *good[1:]]
        no_ip = [virtio_net.PLAIN, b"\xff\xff"]
        assert device.write([bad_size, good, bad_start, no_ip, good]) == 3
        assert sock.recv(100) == sock.recv(100) == b"good"
    ip("link", "set", "dev", device.name, "down")
    assert device.write([good]) == 1
    device.close()


@pytest.mark.lab
@net_namespace()
def test_a_deleted_device_is_gone() -> None:
    device = make()
    ip("link", "del", "dev", device.name)
    wait_readable(device)
    with pytest.raises(EOFError):
        device.read(10)
    with pytest.raises(EOFError):
        device.write([udp_pieces(4, 9, b"")])
    device.close()
    device.close()
    with pytest.raises(EOFError):
        device.read(10)
    with pytest.raises(EOFError):
        device.write([udp_pieces(4, 9, b"")])


@pytest.mark.lab
@net_namespace()
def test_attach_to_a_persistent_device() -> None:
    ip("tuntap", "add", "dev", "mine", "mode", "tun")
    configure("mine", 1300)
    device = TunDevice.attach("mine")
    assert (device.name, device.mtu, device.vnet_offset, device.offload) == ("mine", 1300, 10, ALL)
    with pytest.raises(LocalError, match="'mine' is in use by another process"):
        TunDevice.attach("mine")
    with pytest.raises(LocalError, match="'mine' exists already: choose another name or attach"):
        TunDevice.open("mine")
    device.close()
    TunDevice.attach("mine").close()


@pytest.mark.lab
@net_namespace()
def test_what_cannot_be_attached_to() -> None:
    ip("tuntap", "add", "dev", "tapped", "mode", "tap")
    for name in ("lo", "tapped"):
        with pytest.raises(LocalError, match=r"not usable as a TUN device: expected a TUN \(not TAP\)"):
            TunDevice.attach(name)
    with pytest.raises(LocalError, match="no network device 'nothing': expected a TUN device"):
        TunDevice.attach("nothing")


@pytest.mark.parametrize("name", ["", "sixteen-letters!", "tunflow-%d-äöü"])
def test_names_that_no_device_can_have(name: str) -> None:
    with pytest.raises(LocalError, match="expected 1 to 15 bytes"):
        TunDevice.open(name)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOENT, "missing: load the driver .modprobe tun. or give the container its device"),
        (errno.ENODEV, "missing: load the driver"),
        (errno.EACCES, "permission denied: open it to this user .chmod 666 /dev/net/tun"),
        (errno.EPERM, "permission denied"),
        (errno.EMFILE, "/dev/net/tun: Too many open files"),
    ],
)
def test_remedies_for_the_node(number: int, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: str, flags: int) -> int:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(LocalError, match=remedy) as caught:
        TunDevice.open()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EPERM, r"needs CAP_NET_ADMIN, or a device made for this user \(ip tuntap add dev NAME"),
        (errno.EBUSY, "exists already"),
        (errno.EINVAL, "not usable as a TUN device"),
        (errno.ENFILE, "Too many open files in system"),
    ],
)
def test_remedies_for_the_interface(number: int, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []

    def open_null(path: str, flags: int) -> int:
        opened.append(os.dup(0))
        return opened[-1]

    def refused(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", open_null)
    monkeypatch.setattr(tun, "ioctl", refused)
    with pytest.raises(LocalError, match=remedy):
        TunDevice.open()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])


@pytest.mark.lab
@net_namespace()
def test_large_reads_do_not_fault_in_memory_each_time() -> None:
    """The reason for the allocation in `TunDevice.__init__`; without it this costs some 15 faults a
    packet."""
    import resource

    device = make(mtu=65535)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        counts = []
        for _ in range(4):
            for _ in range(60):
                sock.sendto(bytes(60_000), ("10.9.0.2", 9))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            packets = device.read(100)
            assert len(packets) == 60
            del packets
            counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    assert min(counts[1:]) < 60 * 5
    device.close()
