"""The packets of a program that carries a tunnel, on a socket that keeps their bounds.

What the device sends goes to the program and what the program sends to the device, in batches, joined where TCP allows.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import suppress

from tunflow.providers.packet_flow import PacketTunnelFlow
from tunflow.wire.coalesce import coalesce

MOST_AT_ONCE = 64
"""Packets that are read of the program before the loop goes on."""
LARGEST_PACKET = 65536


async def carry_to_program(flow: PacketTunnelFlow, packets: socket.socket) -> None:
    """Hand the device's packets to the program, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        for packet in await flow.read_packets():
            with suppress(OSError):  # as on any wire: a packet that cannot leave now is lost
                await loop.sock_sendall(packets, packet)


async def carry_from_program(packets: socket.socket, flow: PacketTunnelFlow) -> None:
    """Hand the program's packets to the device, until the program's end of the socket is gone.

    A packet socket says once that its device is down, also when that is not up yet (packet(7), ENETDOWN): it goes on.
    """
    loop = asyncio.get_running_loop()
    while True:
        try:
            found = [await loop.sock_recv(packets, LARGEST_PACKET)]
        except OSError as error:
            if error.errno == errno.ENETDOWN:
                continue
            return  # it ended, and who watches the program tells
        with suppress(OSError):  # nothing more is there, or the next read says what is wrong
            while len(found) < MOST_AT_ONCE:
                found.append(packets.recv(LARGEST_PACKET))
        found = [packet for packet in found if packet]
        if not found:
            return
        flow.write_super_packets(coalesce(found))
