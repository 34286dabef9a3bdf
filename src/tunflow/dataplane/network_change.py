"""Flows and a network that moves under them: which paths their sockets are on, and ending those whose path is gone.

A socket keeps the local address that it was connected from. When that address leaves the host, or its packets would now
leave by another interface, no answer will ever come: the client is told at once, by a reset, rather than left to its
own time-out. What was still being dialled is dialled anew, and UDP gets a fresh socket, which no client can tell.
Connections that flows share go on by another socket where their protocol can (QUIC), and end where not (docs/adr/0101).
"""

from __future__ import annotations

from typing import cast

from tunflow.dataplane.driver import Driver
from tunflow.dataplane.udp.client_socket import UDPSocket
from tunflow.loop.path import Path


def paths(driver: Driver) -> set[Path]:
    """The paths that flows are on."""
    found = {relay.path for relay in driver.context.slots.relays}
    found |= {shared.path for shared in driver.context.reactor.shared}
    for udp in _udp_sockets(driver):
        found |= udp.paths()
    return {path for path in found if path is not None}


def leave(driver: Driver, gone: set[Path]) -> int:
    """End the flows on paths that are gone; how many TCP flows were reset."""
    ended = 0
    reactor = driver.context.reactor
    for relay in [relay for relay in driver.context.slots.relays if relay.path in gone]:
        try:
            ended += relay.path_lost()
        except Exception as error:
            reactor.contain(error)
    for shared in [shared for shared in reactor.shared if shared.path in gone]:
        reactor.contained(shared.path_lost)
    for udp in _udp_sockets(driver):
        reactor.contained(udp.leave, gone)
    if driver.admission.names is not None:
        driver.admission.names.reconnect()
    return ended


def doubt(driver: Driver) -> None:
    """It is long since anything was heard (the machine slept): flows whose far side does not answer soon are ended."""
    reactor = driver.context.reactor
    for relay in list(driver.context.slots.relays):
        reactor.contained(relay.probe_remote)
    for udp in _udp_sockets(driver):
        reactor.contained(udp.leave, {path for path in udp.paths() if path is not None})
    if driver.admission.names is not None:
        driver.admission.names.reconnect()


def reset_all(driver: Driver) -> None:
    """Tell every client at once that its flow is over, and hand that to the device: the tunnel goes down."""
    slots = driver.context.slots
    for relay in [*slots.relays, *slots.shared]:
        driver.context.reactor.contained(relay.cut)
    driver.context.write()


def _udp_sockets(driver: Driver) -> list[UDPSocket]:
    return [
        cast(UDPSocket, mapping.user) for mapping in driver.context.stack.udp.mappings() if mapping.user is not None
    ]
