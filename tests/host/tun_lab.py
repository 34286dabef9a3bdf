"""A network namespace for a test of its own, and packets to put into it."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tunflow.device import Device
from tunflow.endpoint import Buffer
from tunflow.wire import ipv4, ipv6, protocols, tcp, udp, virtio_net
from tunflow.wire.checksum import pseudo_sum

CLONE_NEWNET = 0x40000000
HOST_V4, PEER_V4 = bytes([10, 9, 0, 1]), bytes([10, 9, 0, 2])
HOST_V6, PEER_V6 = bytes.fromhex("fd09" + "00" * 13 + "01"), bytes.fromhex("fd09" + "00" * 13 + "02")


@contextmanager
def net_namespace() -> Iterator[None]:
    """Run in a fresh network namespace, which goes when nothing in it is open any more. Works as a
    decorator."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        assert libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        try:
            yield
        finally:
            assert libc.setns(home, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    finally:
        os.close(home)


def ip(*words: str) -> str:
    """What one `ip` command in the current namespace prints."""
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def configure(name: str, mtu: int = 1500, version: int = 4) -> None:
    """Bring the device up with the host's address of that family on it."""
    family = Path(f"/proc/sys/net/ipv6/conf/{name}")
    if version == 4:
        (family / "disable_ipv6").write_text("1")  # or the kernel would announce itself on the device
        ip("link", "set", "dev", name, "mtu", str(mtu), "up")
        ip("addr", "add", "10.9.0.1/24", "dev", name)
        return
    (family / "router_solicitations").write_text("0")
    ip("link", "set", "dev", name, "mtu", str(mtu), "addrgenmode", "none", "up")
    ip("addr", "add", "fd09::1/64", "dev", name, "nodad")
    deadline = time.monotonic() + 60
    while "fd09::1 " not in ip("-6", "route", "show", "table", "local"):  # the kernel adds it a little later
        assert time.monotonic() < deadline


def read_some(device: Device, count: int) -> list[bytes]:
    """At least `count` packets, leaving out the multicast reports that the kernel sends on its own."""
    packets: list[bytes] = []
    deadline = time.monotonic() + 60
    while len(packets) < count:
        assert time.monotonic() < deadline
        wait_readable(device)
        packets += [packet for packet in device.read(100) if not _is_report(packet[device.vnet_offset :])]
    return packets


def _is_report(packet: bytes) -> bool:
    return packet[0] >> 4 == 6 and packet[6] == protocols.HOP_BY_HOP


def wait_readable(device: Device, seconds: float = 60.0) -> None:
    assert select.select([device], [], [], seconds)[0], "nothing came"


def udp_pieces(version: int, port: int, payload: bytes, gso_size: int = 0) -> list[Buffer]:
    """A datagram from the peer's port 4000 to the host, its checksum left to the device."""
    src, dst = (PEER_V4, HOST_V4) if version == 4 else (PEER_V6, HOST_V6)
    length = udp.HEADER_SIZE + len(payload)
    ip_header = (
        ipv4.build(src, dst, protocols.UDP, length) if version == 4 else ipv6.build(src, dst, protocols.UDP, length)
    )
    partial = pseudo_sum(src, dst, protocols.UDP, length)
    head = ip_header + udp.build(4000, port, len(payload), checksum=partial)
    kind = virtio_net.GSO_UDP_L4 if gso_size else virtio_net.GSO_NONE
    vnet = virtio_net.HEADER.pack(virtio_net.NEEDS_CSUM, kind, len(head), gso_size, len(ip_header), udp.CHECKSUM_OFFSET)
    return [vnet, head, payload]


class TCPPeer:
    """The far end of one TCP connection on a lossless link, good enough to test a device with."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.src, self.dst = (PEER_V4, HOST_V4) if version == 4 else (PEER_V6, HOST_V6)
        self.port = 0
        self.sequence = 0xFFFFFF00
        self.acknowledgement = 0

    def accept(self, packet: memoryview) -> tcp.TCPHeader:
        """Take note of a segment of the host's; its header."""
        segment = self.transport(packet)
        header = tcp.parse_untrusted(segment)
        self.port = header.source_port
        length = len(segment) - header.header_length + bool(header.flags & (tcp.SYN | tcp.FIN))
        self.acknowledgement = (header.sequence + length) % 2**32
        return header

    def transport(self, packet: memoryview) -> memoryview:
        """The TCP segment in an IP packet."""
        if self.version == 4:
            header = ipv4.parse_untrusted(packet)
            return packet[header.header_length : header.total_length]
        return packet[ipv6.HEADER_SIZE : ipv6.parse_untrusted(packet).total_length]

    def pieces(self, flags: int, payload: list[Buffer], gso_size: int = 0) -> list[Buffer]:
        """A segment or super-segment to the host, its checksum left to the device."""
        total = sum(map(len, payload))
        options = tcp.Options(mss=1400) if flags & tcp.SYN else tcp.NO_OPTIONS
        length = tcp.HEADER_SIZE + len(tcp.build_options(options)) + total
        header = tcp.build(
            80,
            self.port,
            self.sequence,
            self.acknowledgement,
            flags,
            65535,
            options=options,
            checksum=pseudo_sum(self.src, self.dst, protocols.TCP, length),
        )
        build = ipv4.build if self.version == 4 else ipv6.build
        ip_header = build(self.src, self.dst, protocols.TCP, length)
        self.sequence = (self.sequence + total + bool(flags & tcp.SYN)) % 2**32
        kind = virtio_net.GSO_TCPV4 if self.version == 4 else virtio_net.GSO_TCPV6
        vnet = virtio_net.HEADER.pack(
            virtio_net.NEEDS_CSUM,
            kind if gso_size else virtio_net.GSO_NONE,
            len(ip_header) + len(header),
            gso_size,
            len(ip_header),
            tcp.CHECKSUM_OFFSET,
        )
        return [vnet, ip_header + header, *payload]


def connect(device: Device, version: int) -> tuple[socket.socket, TCPPeer]:
    """A kernel socket connected to a `TCPPeer` over the device."""
    sock = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    sock.setblocking(False)
    assert sock.connect_ex(("10.9.0.2" if version == 4 else "fd09::2", 80)) != 0
    peer = TCPPeer(version)
    (syn,) = read_some(device, 1)
    assert peer.accept(memoryview(syn)[device.vnet_offset :]).flags == tcp.SYN
    assert device.write([peer.pieces(tcp.SYN | tcp.ACK, [])]) == 0
    (ack,) = read_some(device, 1)
    assert peer.accept(memoryview(ack)[device.vnet_offset :]).flags == tcp.ACK
    sock.setblocking(True)
    sock.settimeout(60)
    return sock, peer
