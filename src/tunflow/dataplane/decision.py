"""The seam between flows and what becomes of them: a policy is asked once for each new flow, and answers with data.

- `Carry`: through a dialer to a target, which may be the name behind the address that the client used;
- `Refuse`: the way the client is told, or not;
- `Hand`: somebody else owns the client's side from here on (a name server, a sniffer that wants to see the first bytes,
  a provider's flow, a content filter), and may give it back with `Driver.decide_stream` or `Driver.datagrams.decide`;
- None: not yet. The client waits (its SYN is held, its first datagrams are kept), and the policy calls one of the two
  when it knows. It must call, however late: a client that gives up meanwhile does no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tunflow.conduit import ClientStream, StreamOwner
from tunflow.endpoint import Endpoint
from tunflow.flow import FlowInfo
from tunflow.protocols.contract import Outbound
from tunflow.stack.udp import DatagramOwner, UDPFlow, UDPRun

if TYPE_CHECKING:
    from tunflow.dataplane.driver import Driver


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


class Hand(NamedTuple):
    """To an owner, made by whichever of the two the flow is. Whoever takes a stream that is not `open` yet answers
    its SYN: `connection.accept(now)` or `connection.reject(…)`."""

    stream: Callable[[Driver, ClientStream], StreamOwner] | None = None
    datagrams: Callable[[Driver, UDPFlow], DatagramOwner] | None = None
    whole_socket: bool = False
    """UDP: the owner gets all that the client's socket sends, to whomever, and is not made again."""


Decision = Carry | Refuse | Hand


class Policy(Protocol):
    """Decides what becomes of flows."""

    def stream(self, flow: FlowInfo, connection: ClientStream) -> Decision | None:
        """For a new TCP connection, whose SYN waits for an answer."""

    def datagrams(self, flow: FlowInfo, run: UDPRun) -> Decision | None:
        """For the first datagrams from one client socket to one target, and again once the flow was forgotten."""
