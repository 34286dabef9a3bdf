"""A packet tunnel as a way out for flows: streams, datagrams and pings by the stack at its near end.

Whoever runs the tunnel says when it `stands` and when it `fell`. Until then a stream waits for `PATIENCE` seconds;
datagrams are dropped. Names are looked up at the tunnel's own resolvers, so that flows may bring them.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence

from tunflow.conduit import Conduit
from tunflow.contained import Contained
from tunflow.endpoint import Buffer, Endpoint
from tunflow.flow import FlowInfo
from tunflow.loop.reactor import Reactor, Timer
from tunflow.outbound.inner_names import InnerNames
from tunflow.outbound.inner_stack import InnerSocket, InnerStack
from tunflow.protocols.codec import Datagram
from tunflow.protocols.contract import (
    Carries,
    ConduitRoute,
    Dialled,
    NameSource,
    NotDialled,
    Outbound,
    SharedDatagrams,
)

PATIENCE = 10.0
"""Seconds in which a stream must stand, the tunnel and the name included."""

WAITING = 32
"""Datagrams that wait for a name, of one client socket."""


class PacketTunnelOutbound:
    """As `contract.Outbound`."""

    wants_flow = False
    resolver: NameSource | None = None
    carries = Carries.STREAMS | Carries.DATAGRAMS | Carries.NAMES

    def __init__(self, label: str, below: Outbound) -> None:
        self.label = f"{below.label} -> {label}" if below.server is not None and below.label else label
        self.server = below.server
        self.reactor: Reactor | None = None
        """Its runner's; None while nobody runs it."""
        self.inner: InnerStack | None = None
        self.names: InnerNames | None = None
        self._waiting: list[Callable[[], None]] = []

    def stands(self, inner: InnerStack, names: InnerNames) -> None:
        """The tunnel takes packets."""
        self.inner, self.names = inner, names
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()

    def fell(self) -> None:
        """The tunnel is over; connections through it are reset."""
        inner, self.inner = self.inner, None
        if inner is not None:
            inner.close()

    def when_it_stands(self, call: Callable[[], None]) -> None:
        """Call once it does; at once if it does."""
        if self.inner is not None:
            call()
        else:
            self._waiting = [*self._waiting[-1000:], call]

    def stream(self, target: Endpoint, flow: FlowInfo | None = None) -> ConduitRoute:  # noqa: ARG002
        """Through the tunnel."""
        return ConduitRoute(lambda dialled, _carrier: _Dial(self, target, dialled).cancel, None, self.label)

    def datagrams(self) -> SharedDatagrams:
        """Through the tunnel."""
        return SharedDatagrams(lambda received: _Datagrams(self, received), self.label)

    def ping(self, target: bytes, payload: Buffer, answered: Callable[[], None]) -> None:
        """Ping a packed address; `answered` is called with the answer, if one comes."""
        if self.inner is not None:
            self.inner.ping(target, payload, answered)


class _Dial(Contained):
    """A stream that is being opened: the tunnel stands, its target's name is found, its addresses are tried."""

    def __init__(self, outbound: PacketTunnelOutbound, target: Endpoint, dialled: Dialled) -> None:
        assert outbound.reactor is not None, "nobody runs the tunnel"
        self._outbound = outbound
        self._reactor = outbound.reactor
        self._target = target
        self._dialled: Dialled | None = dialled
        self._left: list[bytes] = []
        self._give_up: Callable[[], None] | None = None
        self._began = self._reactor.now
        self._timer: Timer = self._reactor.call_later(PATIENCE, self._too_late)
        outbound.when_it_stands(self._look_up)

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"a connection to {self._target} in {self._outbound.label}"

    def cut(self) -> None:
        """As `Contained.cut`."""
        self._fail(errno.ECONNABORTED)

    def cancel(self) -> None:
        """Nobody waits any more."""
        self._dialled = None
        self._timer.cancel()
        if self._give_up is not None:
            self._give_up()

    def _look_up(self) -> None:
        names = self._outbound.names
        if self._dialled is None or names is None:
            return
        if isinstance(self._target.host, str):
            names.resolve(self._target.host, self._found)
        else:
            self._found((self._target.host,))

    def _found(self, addresses: Sequence[bytes]) -> None:
        self._left = list(addresses)
        self._connect(errno.EHOSTUNREACH)

    def _connect(self, error: NotDialled) -> None:
        if self._dialled is None:
            return
        inner = self._outbound.inner
        if not self._left or inner is None:
            self._fail(error)
            return
        self._give_up = inner.connect(Endpoint(self._left.pop(0), self._target.port), self._connected)

    def _connected(self, conduit: Conduit | None, error: NotDialled) -> None:
        if conduit is None:
            self._connect(error)
            return
        dialled = self._dialled
        self.cancel_timer()
        if dialled is not None:
            dialled(conduit, 0)

    def cancel_timer(self) -> None:
        """It is over."""
        self._dialled = None
        self._timer.cancel()

    def _too_late(self) -> None:
        inner = self._outbound.inner
        is_heard = inner is not None and inner.heard_at >= self._began
        if self._give_up is not None:
            self._give_up()
        self._fail(errno.ETIMEDOUT if is_heard else errno.ENETDOWN)

    def _fail(self, error: NotDialled) -> None:
        dialled = self._dialled
        self.cancel_timer()
        if dialled is not None:
            self._reactor.call_soon(lambda: dialled(None, error))  # not from within the one that asks


class _Datagrams:
    """One client socket's datagrams. As `DatagramConduit`."""

    def __init__(self, outbound: PacketTunnelOutbound, received: Callable[[Sequence[Datagram]], None]) -> None:
        self._outbound = outbound
        self._received = received
        self._inner: InnerStack | None = None
        self._socket: InnerSocket | None = None
        self._addresses: dict[str, bytes] = {}
        self._waiting: dict[str, list[tuple[int, list[bytes]]]] = {}

    @property
    def is_resting(self) -> bool:
        """As `DatagramConduit.is_resting`."""
        return self._outbound.inner is None

    def send(self, target: Endpoint, payloads: Sequence[Buffer]) -> int:
        """As `DatagramConduit.send`."""
        inner = self._outbound.inner
        if inner is None:
            return len(payloads)
        if self._socket is None or self._inner is not inner:
            self._inner, self._socket = inner, inner.open_socket(self._received)
        host = target.host
        if isinstance(host, bytes):
            return self._socket.send(target, payloads)
        if host in self._addresses:
            return self._socket.send(Endpoint(self._addresses[host], target.port), payloads)
        return self._look_up(host, target.port, payloads)

    def close(self) -> None:
        """As `DatagramConduit.close`."""
        self._waiting.clear()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _look_up(self, name: str, port: int, payloads: Sequence[Buffer]) -> int:
        names = self._outbound.names
        is_asked = name in self._waiting
        waiting = self._waiting.setdefault(name, [])
        if len(waiting) >= WAITING or names is None:
            return len(payloads)
        waiting.append((port, [bytes(payload) for payload in payloads]))
        if not is_asked:
            names.resolve(name, lambda found: self._found(name, found))
        return 0

    def _found(self, name: str, addresses: Sequence[bytes]) -> None:
        waiting = self._waiting.pop(name, [])
        if not addresses or self._socket is None:
            return
        self._addresses[name] = addresses[0]
        for port, payloads in waiting:
            self._socket.send(Endpoint(addresses[0], port), payloads)
