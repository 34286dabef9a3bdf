"""One client socket's UDP: a mapping of the stack on one side, a socket to the proxy or to all targets on the other.

Full cone (RFC 4787): whatever reaches the outer socket goes to the client, with its source. A proxy's socket is
connected; without a proxy there is one unconnected socket for each address family in use.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from tunflow.endpoint import Buffer, Endpoint, endpoint
from tunflow.errors import BadPacket
from tunflow.io.dialer import DatagramRoute, address_of
from tunflow.io.reactor import READ
from tunflow.stack.udp import UDPMapping

if TYPE_CHECKING:
    from tunflow.io.driver import Driver

BATCH = 32
"""Datagrams read from one socket before others have their turn."""

BUFFER = 1 << 20
"""Bytes of receive buffer asked of the kernel: a burst must survive until its turn comes."""

LARGEST = 65536
"""Bytes of the largest datagram, and a little more."""

LARGEST_RUN = 60_000
"""Bytes of datagrams that leave as one packet."""


class UDPRelay:
    """Sends the client's datagrams on and brings the answers. Raises OSError when there is no descriptor for it."""

    __slots__ = ("_codec", "_driver", "_sockets", "_translated", "mapping")

    def __init__(self, driver: Driver, mapping: UDPMapping, route: DatagramRoute) -> None:
        self.mapping = mapping
        self._driver = driver
        self._codec = route.codec
        self._sockets: dict[int, socket.socket] = {}
        self._translated: dict[Endpoint, Endpoint] = {}
        if route.addresses:
            address = route.addresses[0]
            sock = self._open(address.family)
            sock.connect(address.sockaddr)
            # Both families leave through the one server.
            self._sockets = {4: sock, 16: sock}

    def translate(self, inside: Endpoint, outside: Endpoint) -> None:
        """What comes from `outside` shall look to the client as if it came from `inside`."""
        self._translated[outside] = inside

    def send(self, target: Endpoint, payload: Buffer) -> None:
        """One datagram to `target`. What the network does not take is dropped and counted, as UDP has it."""
        statistics = self._driver.statistics
        try:
            if self._codec is not None:
                self._sockets[4].send(self._codec.seal(target, payload))
            else:
                size = len(target.host)
                sock = self._sockets.get(size)
                address = address_of(target)
                if sock is None:
                    sock = self._sockets[size] = self._open(address.family)
                sock.sendto(payload, address.sockaddr)
        except OSError as error:
            statistics.udp_dropped += 1
            self._driver.log.tell(f"udp send {error.errno}", f"UDP datagrams are dropped: {error.strerror}")
        else:
            statistics.udp_bytes_up += len(payload)

    def close(self) -> None:
        """Give the descriptors back."""
        for sock in set(self._sockets.values()):
            self._driver.reactor.remove(sock.fileno())
            sock.close()
        self._sockets.clear()

    def _open(self, family: int) -> socket.socket:
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self._driver.reactor.add(sock.fileno(), READ, lambda _: self._on_readable(sock))
        except OSError:
            sock.close()
            raise
        return sock

    def _on_readable(self, sock: socket.socket) -> None:
        run: list[Buffer] = []
        size = 0
        run_source: Endpoint | None = None
        for _ in range(BATCH):
            try:
                source, payload = self._receive_untrusted(sock)
            except BlockingIOError:
                break
            except BadPacket as error:
                self._driver.statistics.udp_dropped += 1
                self._driver.log.tell("udp garbled", f"{self._driver.label}: UDP datagram dropped: {error}")
                continue
            except OSError:
                break  # an ICMP error about an earlier datagram; the next one may do better
            # Datagrams of one size from one source, the last perhaps shorter, are one packet to the device.
            length = len(payload)
            if (
                run_source != source
                or not size
                or length > size
                or len(run[-1]) < size
                or (len(run) + 1) * size > LARGEST_RUN
            ):
                if run_source is not None:
                    self._deliver(run_source, run)
                run, size, run_source = [], length, source
            run.append(payload)
        if run_source is not None:
            self._deliver(run_source, run)

    def _receive_untrusted(self, sock: socket.socket) -> tuple[Endpoint, Buffer]:
        if self._codec is not None:
            return self._codec.open_untrusted(sock.recv(LARGEST))
        payload, sockaddr = sock.recvfrom(LARGEST)
        return endpoint(sockaddr[0].partition("%")[0], sockaddr[1]), payload

    def _deliver(self, source: Endpoint, payloads: list[Buffer]) -> None:
        driver = self._driver
        source = self._translated.get(source, source)
        try:
            packet = driver.stack.udp.datagrams(self.mapping, source, payloads, driver.reactor.now)
        except BadPacket:
            # A name, or an address of the other family: no packet can say that.
            driver.statistics.udp_dropped += len(payloads)
            return
        driver.statistics.udp_bytes_down += sum(map(len, payloads))
        driver.stack.outgoing.append(packet)
