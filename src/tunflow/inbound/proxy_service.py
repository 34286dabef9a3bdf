"""A client of a local port, which speaks SOCKS or HTTP, and whose way out is a dialer's.

What the servers answer is what the client is told, in its own protocol's words.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.flow import TCP
from tunflow.inbound.client_request import Inbound, Wish
from tunflow.inbound.flow_note import NoteFlow
from tunflow.inbound.relay import Relay
from tunflow.inbound.target_dial import Reached, reach
from tunflow.inbound.udp import endpoint_of
from tunflow.outbound.agreement import FIRST_PAYLOAD_DELAY
from tunflow.protocols.codec import Refusal, StreamCodec
from tunflow.protocols.contract import Blocked, NoDatagrams, Outbound

if TYPE_CHECKING:
    from tunflow.inbound.listen_udp import ListenDatagrams


@dataclass(frozen=True, slots=True)
class ListenContext:
    """What the clients of one port share: where flows go, and who carries datagrams."""

    dialer: Outbound
    credentials: tuple[str, str] | None
    datagrams: ListenDatagrams
    note: NoteFlow | None = None
    """Is told of each flow on its way."""


class ProxyService:
    """As `ClientService`: carries one stream, or holds the connection that a client's UDP association hangs on.

    As `Carrier` too, of the stream. `forward` takes over a client that sends whole HTTP requests: its socket, its name
    for the log, and what was read from it already.
    """

    def __init__(self, way: ListenContext, forward: Callable[[socket.socket, str, bytes], None], relay: Relay) -> None:
        self._inbound = Inbound(way.credentials)
        self._way = way
        self._forward = forward
        self._relay = relay
        self._outer: StreamCodec | None = None
        """What the servers on the way speak, once they agreed."""
        self._associated: bytes | None = None
        self.bytes_up = 0
        """As `Carrier.bytes_up`."""
        self.bytes_down = 0
        """As `Carrier.bytes_down`."""

    @property
    def is_over(self) -> bool:
        """As `Carrier.is_over`."""
        return self._relay.is_over

    def cut(self) -> None:
        """As `Carrier.cut`."""
        self._relay.abort()

    def over(self) -> None:
        """As `ClientService.over`."""
        if self._associated is not None:
            self._way.datagrams.release(self._associated)
            self._associated = None

    # Bytes.

    def turn_up(self, view: memoryview) -> tuple[list[Buffer], int]:
        """As `ClientService.turn_up`."""
        pieces, used = self._inbound.open_untrusted(view)
        size = sum(map(len, pieces))
        self.bytes_up += size
        self._relay.shared.counters.stream_bytes_up += size
        return (pieces if self._outer is None else self._outer.seal(pieces)), used

    def turn_down(self, view: memoryview) -> tuple[list[Buffer], int]:
        """As `ClientService.turn_down`."""
        if self._outer is None:
            pieces: list[Buffer] = [bytes(view)]
            used = len(view)
        else:
            pieces, used = self._outer.open_untrusted(view)
        self._count_down(pieces)
        return pieces, used

    def finish(self) -> list[Buffer]:
        """As `ClientService.finish`: the connection's end says it."""
        return []

    def _count_down(self, pieces: list[Buffer]) -> None:
        size = sum(map(len, pieces))
        self.bytes_down += size
        self._relay.shared.counters.stream_bytes_down += size

    # The client's wish.

    @property
    def knows_wish(self) -> bool:
        """As `ClientService.knows_wish`."""
        return self._inbound.wish is not None

    def words(self) -> bytes:
        """As `ClientService.words`."""
        said = b"".join(self._inbound.say)
        self._inbound.say.clear()
        return said

    def refused(self, error: BadPacket) -> None:
        """As `ClientService.refused`: it was told why."""
        shared = self._relay.shared
        shared.counters.refused += 1
        shared.log.tell(f"refused: {error}", f"{self._relay.peer}: {error}")
        self._relay.close()

    def fulfil(self) -> None:
        """As `ClientService.fulfil`."""
        inbound, relay = self._inbound, self._relay
        if inbound.wish is Wish.FORWARD:
            self._forward(relay.client, relay.peer, relay.hand_over())
        elif inbound.wish is Wish.ASSOCIATE:
            self._associate()
        elif inbound.target is not None:
            self._connect(inbound.target)

    def _refuse(self, refusal: Refusal, detail: str) -> None:
        self._relay.tell(self._inbound.refused(refusal, detail))
        self._relay.close()

    # Streams.

    def _connect(self, target: Endpoint) -> None:
        relay = self._relay
        relay.begin()
        if self._way.note is not None:
            with contextlib.suppress(OSError):  # it has reset the connection already
                self._way.note(TCP, endpoint_of(relay.client.getpeername()), self, target)
        relay.wait_for(reach(relay.shared, self._way.dialer, target, self))

    def reached(self, way: Reached) -> None:
        """As `target_dial.OutcomeListener.reached`."""
        up, down = self._relay.up, self._relay.down
        outer = self._outer = way.codec
        if outer is not None and up.pending:
            up.pending = outer.seal(up.pending)
        elif outer is not None:
            self._relay.shared.reactor.call_later(FIRST_PAYLOAD_DELAY, self._open_without_payload)
        down.give_back(way.tail)
        self._count_down(way.early)
        down.pending = [piece for piece in (self._inbound.accepted(), *way.early) if piece]
        self._relay.carry(way.outward)

    def not_reached(self, refusal: Refusal, reason: str) -> None:
        """As `target_dial.OutcomeListener.not_reached`."""
        self._refuse(refusal, reason)

    def _open_without_payload(self) -> None:
        relay = self._relay
        if not relay.is_over and self._outer is not None and not relay.up.pending:
            relay.up.pending = self._outer.seal([])
            relay.pump()

    # Datagrams.

    def _associate(self) -> None:
        client = self._relay.client
        try:
            host = endpoint_of(client.getpeername()).host
        except OSError:  # it has reset the connection already
            self._relay.close()
            return
        assert isinstance(host, bytes)
        try:
            self._way.datagrams.admit(host)
        except Blocked as error:
            none = isinstance(error, NoDatagrams)
            self._refuse(Refusal.UNSUPPORTED if none else Refusal.PROHIBITED, str(error))
            return
        self._associated = host
        self._relay.begin()
        self._relay.tell(self._inbound.accepted(endpoint_of(client.getsockname())))

    def serve(self) -> None:
        """As `ClientService.serve`: an association ends with its connection; what else comes on it means nothing."""
        try:
            while self._relay.client.recv(4096):
                pass
        except BlockingIOError:
            return
        except OSError:
            pass
        self._relay.close()
