"""What charon sends to its server, and what comes back: IP packets on its side, UDP sessions of the provider's on ours.

Its namespace knows one peer, whose ports 500 and 4500 stand for the server's. So charon's traffic leaves as the
provider's own does: around the tunnel, or through other servers, over IPv4 or IPv6.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress

from tunflow.errors import BadPacket
from tunflow.protocols.ikev2.settings import DEFAULT_PORT, ENCAPSULATED_PORT, IKEv2Server
from tunflow.providers.charon_namespace import OWN, PEER
from tunflow.providers.connections import UDPSession
from tunflow.wire import ipv4, protocols, udp

MOST_AT_ONCE = 64
LARGEST_PACKET = 65536

_OWN, _PEER = socket.inet_aton(OWN), socket.inet_aton(PEER)


def server_ports(server: IKEv2Server) -> dict[int, int]:
    """The server's ports by those that charon sends to."""
    if server.port == DEFAULT_PORT:
        return {DEFAULT_PORT: DEFAULT_PORT, ENCAPSULATED_PORT: ENCAPSULATED_PORT}
    return {ENCAPSULATED_PORT: server.port}


class CharonWan:
    """Owns the descriptor. `sessions` by the port that charon sends to; they may be replaced at any time."""

    def __init__(self, wan: int, sessions: dict[int, UDPSession]) -> None:
        self.sessions = sessions
        self._wan = wan
        self._readable = asyncio.Event()
        asyncio.get_running_loop().add_reader(wan, self._readable.set)

    def close(self) -> None:
        """Close the descriptor and the sessions."""
        if self._wan >= 0:
            asyncio.get_running_loop().remove_reader(self._wan)
            os.close(self._wan)
            self._wan = -1
        for session in self.sessions.values():
            session.cancel()

    async def carry_out(self) -> None:
        """Carry what charon sends, without end."""
        while True:
            await self._readable.wait()
            self._readable.clear()
            for port, datagrams in self._read().items():
                with suppress(OSError):  # as on any wire: it is lost, and sent again
                    await self.sessions[port].write_datagrams(datagrams)

    async def carry_in(self, port: int) -> None:
        """Carry what comes from the server to charon, without end."""
        while True:
            session = self.sessions[port]
            try:
                datagrams = await session.read_datagrams()
            except OSError:
                if session is self.sessions[port]:
                    await asyncio.sleep(0.1)  # an ICMP error about what was sent, or it is being replaced
                continue
            for datagram in datagrams:
                header = udp.build(port, port, len(datagram))
                first = ipv4.build(_PEER, _OWN, protocols.UDP, len(header) + len(datagram))
                with suppress(OSError):
                    os.writev(self._wan, [first, header, datagram])

    def _read(self) -> dict[int, list[bytes]]:
        """Datagrams that wait, by the port that they are for."""
        found: dict[int, list[bytes]] = {}
        for _ in range(MOST_AT_ONCE):
            try:
                packet = os.read(self._wan, LARGEST_PACKET)
            except BlockingIOError:
                break
            except OSError:
                break  # charon ended, which is told elsewhere
            with suppress(BadPacket):
                header = ipv4.parse_untrusted(packet)
                if header.protocol == protocols.UDP and header.dst == _PEER and not header.is_fragment:
                    datagram = packet[header.header_length : header.total_length]
                    ports = udp.parse_untrusted(datagram)
                    if ports.destination_port in self.sessions:
                        payload = datagram[udp.HEADER_SIZE : ports.length]
                        found.setdefault(ports.destination_port, []).append(payload)
        return found
