"""What whoever owns a stack does for it in a round of the loop: the driver, and the stacks inside of packet tunnels.

Each goes on behind the packet or connection in which a bug was met (docs/adr/0072).
"""

from __future__ import annotations

from collections.abc import Iterable

from tunflow.contained import Contained
from tunflow.loop.reactor import Reactor
from tunflow.stack.stack import Stack
from tunflow.stack.tcp.connection import Connection


def receive(stack: Stack, packets: Iterable[bytes], offset: int, reactor: Reactor, packet: Contained) -> None:
    """Hand packets to the stack, each from `offset` on; `packet` stands for one in which a bug was met."""
    left = iter(packets)
    while True:
        try:
            stack.receive(left, offset, reactor.now)
            return
        except Exception as error:
            reactor.contain(error, packet)


def serve_changed(connections: Iterable[Connection], reactor: Reactor) -> None:
    """Tell the owners of connections that changed; a bug in one ends it alone."""
    left = iter(connections)
    while True:
        try:
            for connection in left:
                connection.notified = False
                if connection.user is not None:
                    connection.user.service()
            return
        except Exception as error:
            reactor.contain(error, connection)


def flush(stack: Stack, reactor: Reactor) -> None:
    """Have the stack put out what waits for the end of the round."""
    while True:
        try:
            stack.flush()
            return
        except Exception as error:
            reactor.contain(error)
