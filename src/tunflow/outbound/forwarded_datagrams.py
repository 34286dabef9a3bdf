"""The datagrams of a port of tunflow's on loopback, which lead to one server as `ForwardedPort`'s streams do."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import suppress

from tunflow.contained import Contained
from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import TunflowError
from tunflow.loop.reactor import READ
from tunflow.loop.socket_address import address_of
from tunflow.outbound.session_outbound import SessionPlace
from tunflow.outbound.session_wire import BelowWire, SocketWire
from tunflow.protocols.contract import DatagramRoute, Outbound

MOST = 16
"""Ports of the program's that are served; one more, and the one that spoke first is forgotten."""
_AT_ONCE = 64
_LARGEST = 65535


class ForwardedDatagrams(Contained):
    """Serves until `close`. Raises OSError."""

    about = "the datagrams of a plugin"

    def __init__(self, place: SessionPlace, below: Outbound, server: Endpoint, port: int) -> None:
        self._place = place
        self._below = below
        self._server = server
        self._wires: dict[tuple[str, int], SocketWire | BelowWire] = {}
        """By the program's port."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.bind(("127.0.0.1", port))
        except OSError:
            self._socket.close()
            raise
        place.reactor.add(self._socket.fileno(), READ, self._on_readable)

    def cut(self) -> None:
        """As `Contained.cut`: what came is lost, as datagrams are."""

    def close(self) -> None:
        """End it."""
        if self._socket.fileno() >= 0:
            self._place.reactor.remove(self._socket.fileno())
            self._socket.close()
        for source in tuple(self._wires):
            self._forget(source)

    def _on_readable(self, _events: int) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, source = self._socket.recvfrom(_LARGEST)
            except OSError:  # there is no more, or ICMP tells that the program is gone
                return
            try:
                wire = self._wires.get(source) or self._begin(source)
            except (OSError, TunflowError) as error:
                self._tell(str(error))
                return
            wire.send([data])

    def _begin(self, source: tuple[str, int]) -> SocketWire | BelowWire:
        """Raises OSError and TunflowError."""
        if len(self._wires) >= MOST:
            self._forget(next(iter(self._wires)))
        place, way = self._place, self._below.datagrams()

        def arrived(datagrams: Sequence[Buffer]) -> None:
            for each in datagrams:
                with suppress(OSError):  # nobody takes it
                    self._socket.sendto(each, source)

        def failed(number: int) -> None:
            self._forget(source)
            self._tell(os.strerror(number))

        made: SocketWire | BelowWire
        if isinstance(way, DatagramRoute) and way.codec is None:
            address = way.addresses[0] if way.addresses else address_of(self._server)
            made = SocketWire(place.reactor, address, place.sockets, arrived, failed)
        else:
            made = BelowWire(place.reactor, self._below, self._server, place.sockets, arrived, failed)
        self._wires[source] = made
        return made

    def _forget(self, source: tuple[str, int]) -> None:
        wire = self._wires.pop(source, None)
        if wire is not None:
            wire.close()

    def _tell(self, why: str) -> None:
        self._place.log.tell(f"plugin UDP {why}", f"the plugin's UDP to its server: {why}")
