"""The packets of a program that carries a tunnel."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
import subprocess
from typing import cast

import pytest

from tunflow.providers.packet_flow import PacketTunnelFlow
from tunflow.providers.program_packets import carry_from_program
from tunflow.wire import ipv4, protocols

TUNSETIFF, IFF_TUN, IFF_NO_PI, ETH_P_ALL = 0x400454CA, 1, 0x1000, 3


class Device:
    """Where the program's packets go."""

    def __init__(self) -> None:
        self.came = asyncio.Event()

    def write_super_packets(self, packets: list[object]) -> None:
        """As `PacketTunnelFlow.write_super_packets`."""
        if packets:
            self.came.set()


@pytest.mark.skipif(os.geteuid() != 0, reason="devices need root: NOT RUN")
def test_a_device_that_comes_up_later_is_heard() -> None:
    """charon's: its socket may be bound before it is up, which is an error that the socket tells once."""
    tun = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"late0", IFF_TUN | IFF_NO_PI))
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as packets:
            packets.bind(("late0", ETH_P_ALL))
            asyncio.run(_hear(tun, packets))
    finally:
        os.close(tun)


async def _hear(tun: int, packets: socket.socket) -> None:
    device = Device()
    task = asyncio.create_task(carry_from_program(packets, cast("PacketTunnelFlow", device)))
    await asyncio.sleep(0)
    subprocess.run(["ip", "link", "set", "late0", "up"], check=True)
    packet = ipv4.build(bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2]), protocols.UDP, 8) + bytes(8)
    for _ in range(100):
        os.write(tun, packet)
        try:
            await asyncio.wait_for(device.came.wait(), 0.1)
            break
        except TimeoutError:
            continue
    assert device.came.is_set()
    assert not task.done()
    task.cancel()
