"""Dialing on the loop: serves `outbound.dial` with sockets, and tells a server's addresses what it found out."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from tunflow.contained import Contained
from tunflow.endpoint import Address
from tunflow.loop.reactor import WRITE, Reactor, Timer
from tunflow.outbound.dial import Dial
from tunflow.protocols.server_addresses import ServerAddresses

ASK_AGAIN = 0.05
"""Seconds between two attempts at a server that is being started."""
DOUBT_EVERY = 1.0
"""Seconds without a connection after which a server's addresses are doubted, again and again."""

Sock = TypeVar("Sock", bound=socket.SocketType)

Outcome = Callable[[Sock | None, Address | None, int], None]
"""Takes the connected socket, its address and 0; or None, None and the errno that says most. Called once."""


class Spare(Protocol):
    """Who has descriptors for attempts beside the first."""

    def take(self) -> bool:
        """Return True if there is one; it is then taken."""

    def give_back(self) -> None:
        """One of them is closed."""


class Dialing(Contained, Generic[Sock]):
    """One race. The outcome is told from a later round, and not at all after `cancel`.

    `open_socket` makes a socket that does not block, and raises OSError. What has `begun` is the first address's
    socket, which somebody else has had connect since a time. With `server` its addresses are tried as well that come
    while this goes on. With `spare` an attempt without a descriptor takes that of the oldest.
    """

    __slots__ = (
        "_attempts",
        "_machine",
        "_next_doubt",
        "_open_socket",
        "_outcome",
        "_patience",
        "_reactor",
        "_server",
        "_spare",
        "_timer",
    )

    def __init__(
        self,
        reactor: Reactor,
        addresses: Iterable[Address],
        open_socket: Callable[[Address], Sock],
        outcome: Outcome[Sock],
        *,
        server: ServerAddresses | None = None,
        patience: float | None = None,
        begun: tuple[Sock, float] | None = None,
        spare: Spare | None = None,
    ) -> None:
        self._reactor = reactor
        self._open_socket = open_socket
        self._outcome: Outcome[Sock] | None = outcome
        self._server = server
        self._spare = spare
        self._patience = patience
        self._attempts: dict[Address, Sock] = {}
        self._timer: Timer | None = None
        since = reactor.now if begun is None else begun[1]
        self._next_doubt = since + DOUBT_EVERY
        self._machine = Dial(addresses, since, patience)
        if begun is not None:
            address = self._machine.starts.pop(0)
            self._attempts[address] = begun[0]
            reactor.remove(begun[0].fileno())
            self._watch(address)
            self._machine.handle_timeout(reactor.now)
        self._go_on()

    def cancel(self) -> None:
        """Close everything and tell nobody."""
        self._outcome = None
        self._end()

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return "dialing"

    def cut(self) -> None:
        """As `Contained.cut`."""
        self._end()
        self._reactor.call_soon(self._tell_failure)

    def failed(self, address: Address, error: int) -> None:
        """What has begun has failed, as who began it has heard."""
        if address in self._attempts:
            self._failed(address, error)
            self._go_on()

    # The machine's wishes.

    def _go_on(self) -> None:
        """Do what the machine wants now, and come back when it wants to be called."""
        machine = self._machine
        while machine.starts:
            self._start(machine.starts.pop(0))
        if machine.error is not None:
            self._end()
            if self._server is not None and self._server.is_coming():
                self._timer = self._reactor.call_later(ASK_AGAIN, self._again)
                return
            if self._server is not None:
                self._server.doubted(self._reactor.now)
            self._reactor.call_soon(self._tell_failure)
            return
        if machine.winner is not None:
            return
        when = machine.next_timeout()
        if self._server is not None:
            when = self._next_doubt if when is None else min(when, self._next_doubt)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if when is None else self._reactor.call_at(when, self._due)

    def _again(self) -> None:
        assert self._server is not None
        self._machine = Dial(self._server.in_order, self._reactor.now, self._patience)
        self._go_on()

    def _due(self) -> None:
        now = self._reactor.now
        if self._server is not None and now >= self._next_doubt:
            self._next_doubt = now + DOUBT_EVERY
            self._server.doubted(now)
            self._machine.add(self._server.in_order, now)
        self._machine.handle_timeout(now)
        self._go_on()

    def _start(self, address: Address) -> None:
        if self._attempts and self._spare is not None and not self._spare.take():
            oldest = next(iter(self._attempts))
            self._drop(oldest, is_spare=False)
            self._machine.given_up(oldest)
        try:
            sock = self._open_socket(address)
        except OSError as error:
            self._not_started(address, error.errno or errno.EIO)
            return
        error_number = sock.connect_ex(address.sockaddr)
        if error_number not in {0, errno.EINPROGRESS}:
            sock.close()
            self._not_started(address, error_number)
            return
        self._attempts[address] = sock
        self._watch(address)

    def _not_started(self, address: Address, error: int) -> None:
        if self._attempts and self._spare is not None:
            self._spare.give_back()
        self._machine.failed(address, error, self._reactor.now)

    def _watch(self, address: Address) -> None:
        self._reactor.add(self._attempts[address].fileno(), WRITE, lambda _events: self._on_event(address))

    # What becomes of attempts.

    def _on_event(self, address: Address) -> None:
        sock = self._attempts[address]
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._failed(address, error)
            self._go_on()
            return
        try:
            sock.getpeername()
        except OSError:  # an event of this round that was meant for a closed socket with the same number
            return
        self._machine.connected(address)
        del self._attempts[address]
        self._reactor.remove(sock.fileno())
        if self._attempts and self._spare is not None:
            self._spare.give_back()
        self._end()
        if self._server is not None:
            self._server.worked(address)
        outcome, self._outcome = self._outcome, None
        assert outcome is not None
        outcome(sock, address, 0)

    def _failed(self, address: Address, error: int) -> None:
        self._drop(address, is_spare=len(self._attempts) > 1)
        self._machine.failed(address, error, self._reactor.now)

    def _drop(self, address: Address, *, is_spare: bool) -> None:
        sock = self._attempts.pop(address)
        self._reactor.remove(sock.fileno())
        sock.close()
        if is_spare and self._spare is not None:
            self._spare.give_back()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._attempts:
            self._drop(next(iter(self._attempts)), is_spare=len(self._attempts) > 1)

    def _tell_failure(self) -> None:
        outcome, self._outcome = self._outcome, None
        if outcome is not None:
            outcome(None, None, self._machine.error or errno.EADDRNOTAVAIL)
