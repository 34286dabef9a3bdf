"""What charon sends to its server, and what comes back: IP packets on its side, UDP sessions of the provider's on ours.

Its namespace knows one peer, whose ports 500 and 4500 stand for the server's. So charon's traffic leaves as the
provider's own does: around the tunnel, or through other servers, over IPv4 or IPv6.

What charon asked last and nobody answered yet is sent again where the network is another one: it would itself wait for
up to 13 seconds. The other side takes it for the retransmission that it is (RFC 7296 §2.1).
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

from tunflow.errors import BadPacket
from tunflow.protocols.ikev2.settings import DEFAULT_PORT, ENCAPSULATED_PORT, IKEv2Server
from tunflow.providers.charon_namespace import OWN, PEER
from tunflow.providers.connections import UDPSession
from tunflow.wire import ipv4, protocols, udp

MOST_AT_ONCE = 64
LARGEST_PACKET = 65536
PAUSE = 0.1
"""Seconds before a session is read, or opened, again that failed."""

_NO_ESP = bytes(4)
_OWN, _PEER = socket.inet_aton(OWN), socket.inet_aton(PEER)


def server_ports(server: IKEv2Server) -> dict[int, int]:
    """The server's ports by those that charon sends to."""
    if server.port == DEFAULT_PORT:
        return {DEFAULT_PORT: DEFAULT_PORT, ENCAPSULATED_PORT: ENCAPSULATED_PORT}
    return {ENCAPSULATED_PORT: server.port}


class IKEMessage(NamedTuple):
    """One of charon's, as it left."""

    which: bytes
    datagrams: list[bytes]


def _message_of(port: int, datagram: bytes) -> bytes:
    """Return what tells an IKE message from all others: SPIs, exchange, flags and number (RFC 7296 §3.1). b"" for what
    is none: ESP and keepalives (RFC 3948 §2)."""
    if port == ENCAPSULATED_PORT:
        if not datagram.startswith(_NO_ESP):
            return b""
        datagram = datagram[len(_NO_ESP) :]
    return datagram[:16] + datagram[18:24]


OpenSession = Callable[[int], Awaitable[UDPSession]]
"""A session with a port of the server's. Raises OSError."""


class CharonWan:
    """Owns the descriptor, once it was given that, and the sessions, which follow the network."""

    def __init__(self, server: IKEv2Server, opens: OpenSession) -> None:
        self.ports = server_ports(server)
        self._opens = opens
        self._sessions: dict[int, UDPSession] = {}
        """By the port that charon sends to."""
        self._unanswered: dict[int, IKEMessage] = {}
        """What charon's last message was, by the port that it was sent to."""
        self._wan = -1
        self._readable = asyncio.Event()

    def use(self, wan: int) -> None:
        """Carry what comes out of that descriptor, and into it."""
        self._wan = wan
        asyncio.get_running_loop().add_reader(wan, self._readable.set)

    async def open(self) -> None:
        """Open a session for each port, in place of those before, and ask again: the network is another one.

        Raises OSError.
        """
        made: dict[int, UDPSession] = {}
        try:
            for port, theirs in self.ports.items():
                made[port] = await self._opens(theirs)
        except BaseException:
            for session in made.values():
                session.cancel()
            raise
        old, self._sessions = self._sessions, made
        for session in old.values():
            session.cancel()
        for port, message in self._unanswered.items():
            with suppress(OSError):
                await made[port].write_datagrams(message.datagrams)

    def close(self) -> None:
        """Close the descriptor and the sessions."""
        if self._wan >= 0:
            asyncio.get_running_loop().remove_reader(self._wan)
            os.close(self._wan)
            self._wan = -1
        for session in self._sessions.values():
            session.cancel()

    async def carry_out(self) -> None:
        """Carry what charon sends, without end."""
        while True:
            await self._readable.wait()
            self._readable.clear()
            for port, datagrams in self._read().items():
                self._note(port, datagrams)
                with suppress(OSError):  # as on any wire: it is lost, and sent again
                    await self._sessions[port].write_datagrams(datagrams)

    async def carry_in(self, port: int) -> None:
        """Carry what comes from the server to charon, without end."""
        while True:
            session = self._sessions[port]
            try:
                datagrams = await session.read_datagrams()
            except OSError as error:
                if session is self._sessions[port]:  # and was not replaced meanwhile
                    await asyncio.sleep(PAUSE)
                    if error.errno == errno.EBADF:  # closed by who carries it, and not an ICMP error
                        await self._reopen(port, session)
                continue
            for datagram in datagrams:
                if _message_of(port, datagram):
                    self._unanswered.clear()
                header = udp.build(port, port, len(datagram))
                first = ipv4.build(_PEER, _OWN, protocols.UDP, len(header) + len(datagram))
                with suppress(OSError):
                    os.writev(self._wan, [first, header, datagram])

    def _note(self, port: int, datagrams: list[bytes]) -> None:
        """Keep charon's last message, which may be several datagrams (RFC 7383)."""
        for datagram in datagrams:
            which = _message_of(port, datagram)
            if not which:
                continue
            last = self._unanswered.get(port)
            if last is None or last.which != which:
                self._unanswered = {port: IKEMessage(which, [datagram])}
            elif datagram not in last.datagrams:
                last.datagrams.append(datagram)

    async def _reopen(self, port: int, closed: UDPSession) -> None:
        with suppress(OSError):
            made = await self._opens(self.ports[port])
            if self._sessions[port] is closed:
                self._sessions[port] = made
            else:
                made.cancel()

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
                    if ports.destination_port in self.ports:
                        payload = datagram[udp.HEADER_SIZE : ports.length]
                        found.setdefault(ports.destination_port, []).append(payload)
        return found
