"""The seam between flows and what becomes of them: a policy is asked once for each new flow, and answers with data.

- `Carry`: through a dialer to a target, which may be the name behind the address that the client used;
- `Refuse`: the way the client is told, or not;
- `Delegate`: somebody else owns the client's side from here on (a name server, a sniffer that wants to see the first
  bytes, a provider's flow), and may give it back with `case.give`;
- None: not yet. The client waits (its SYN is held, its first datagrams are kept), and the policy calls `case.give` when
  it knows. It must call, however late: a client that gives up meanwhile does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from tunflow.conduit import ClientConduit, StreamOwner
from tunflow.dataplane.context import FlowContext
from tunflow.endpoint import Endpoint
from tunflow.flow import FlowInfo
from tunflow.protocols.contract import Outbound
from tunflow.stack.udp import DatagramFlow, DatagramOwner, UDPRun


class Refuse(Enum):
    """How a client learns that it may not, as its system's firewall would do it."""

    RESET = "reset"
    """TCP: a reset, at once. UDP: port unreachable."""
    PROHIBITED = "prohibited"
    """The ICMP error "administratively prohibited"."""
    DROP = "drop"
    """Not at all: it runs into its time-out."""


class Carry(NamedTuple):
    """Through `dialer` to `target`."""

    dialer: Outbound
    target: Endpoint
    """A dialer that goes straight out takes an address only; a proxy resolves names itself."""


class Delegate(NamedTuple):
    """To an owner, made by whichever of the two the flow is. Whoever takes a stream that is not `open` yet answers
    its SYN: `connection.accept(now)` or `connection.reject(…)`."""

    stream: Callable[[StreamCase], StreamOwner] | None = None
    datagrams: Callable[[DatagramCase], DatagramOwner] | None = None
    whole_socket: bool = False
    """UDP: the owner gets all that the client's socket sends, to whomever, and is not made again."""


Decision = Carry | Refuse | Delegate


class Case(Protocol):
    """A flow that may begin, or was given to an owner who may give it back."""

    @property
    def flow(self) -> FlowInfo:
        """Its facts."""

    @property
    def context(self) -> FlowContext:
        """What its owner may touch."""

    def give(self, decision: Decision) -> None:
        """Say late what becomes of the flow; nothing happens to one that is over."""

    def resolve(self, name: str, then: Callable[[Sequence[bytes]], None]) -> None:
        """Find a name's packed addresses; none if it has none. `then` is called once, perhaps from within."""


class StreamCase(Case, Protocol):
    """A TCP connection."""

    connection: ClientConduit
    """The client's, or the content filter's that stands before it."""


class DatagramCase(Case, Protocol):
    """A UDP flow."""

    udp: DatagramFlow
    run: UDPRun
    """The datagrams by which it was noticed."""
    kept: list[UDPRun]
    """What an owner kept, in order; whoever is given the flow gets them first."""

    def beside(self, run: UDPRun) -> DatagramCase:
        """Return the case of another flow of the same client socket, which sent `run`; it goes to whoever is given
        that flow."""


class Policy(Protocol):
    """Decides what becomes of flows."""

    def stream(self, case: StreamCase) -> Decision | None:
        """For a new TCP connection, whose SYN waits for an answer."""

    def datagrams(self, case: DatagramCase) -> Decision | None:
        """For the first datagrams from one client socket to one target, and again once the flow was forgotten."""
