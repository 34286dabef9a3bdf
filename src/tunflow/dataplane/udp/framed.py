"""A UDP relay whose datagrams go by no UDP socket: in streams to a server (Trojan, VLESS, VMess, UDP over TCP), or
through a packet tunnel.

Rules are those of `outbound.datagram_streams` and `outbound.packet_tunnel`; besides, clients are told at once while
nobody is there, and all ends with the client's socket, which the stack forgets when it is idle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.udp.relay import LARGEST_RUN, CarriedFlow
from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import TunflowError
from tunflow.loop.path import Path
from tunflow.outbound.datagram_streams import DatagramStreams
from tunflow.protocols.codec import Datagram
from tunflow.protocols.contract import Blocked, DatagramConduit, FramedDatagrams, SharedDatagrams
from tunflow.stack.icmp import Reason
from tunflow.stack.udp import MAX_BATCH, UDPMapping, UDPRun


class FramedRelay:
    """Stands in for a `UDPRelay`."""

    def __init__(
        self,
        context: FlowContext,
        mapping: UDPMapping,
        way: FramedDatagrams | SharedDatagrams,
        seen: Endpoint | None = None,
    ) -> None:
        self._context = context
        self._mapping = mapping
        self._seen = seen
        self._label = way.label
        self._translated: dict[Endpoint, Endpoint] = {}
        self._streams: DatagramStreams | None = None
        self._conduit: DatagramConduit
        if isinstance(way, FramedDatagrams):
            self._conduit = self._streams = DatagramStreams(
                context.reactor, way, self._received, self._ended, context.sockets, _Room(context)
            )
        else:
            self._conduit = way.open(self._received)

    @property
    def path(self) -> Path | None:
        """As `UDPRelay.path`; None in a tunnel, which follows the network itself."""
        return None if self._streams is None else self._streams.path

    def translate(self, inside: Endpoint, outside: Endpoint) -> None:
        """As `UDPRelay.translate`."""
        self._translated[outside] = inside

    def send(self, run: UDPRun, flow: CarriedFlow) -> None:
        """As `UDPRelay.send`."""
        context = self._context
        datagrams = list(run.datagrams())
        dropped = len(datagrams)
        try:
            dropped = self._conduit.send(flow.target, datagrams)
        except OSError as error:
            context.log.tell(f"udp send {error.errno}", f"UDP datagrams are dropped: {error.strerror}")
        except Blocked as blocked:
            context.log.tell(f"udp {self._label} {blocked}", f"UDP to {flow.target} is refused: {blocked}")
            context.undelivered(run, Reason.PORT)
        except TunflowError as refusal:  # a name that cannot be told, or a server below that refuses
            context.log.tell(f"udp {self._label} {refusal}", f"UDP datagrams are dropped: {self._label}: {refusal}")
        context.statistics.udp_dropped += dropped
        if dropped < len(datagrams):
            context.statistics.udp_bytes_up += sum(map(len, datagrams))
        elif self._conduit.is_resting:
            context.undelivered(run, Reason.PORT)  # so that QUIC falls back to TCP at once

    def close(self) -> None:
        """Give the descriptors back."""
        self._conduit.close()

    def _received(self, datagrams: Sequence[Datagram]) -> None:
        self._context.servers.answered(self._label)
        for peer, payloads, size in _runs(datagrams):
            source = self._seen or self._translated.get(peer, peer)
            self._context.deliver(self._mapping, source, payloads, size)

    def _ended(self, why: str, has_brought: bool) -> None:
        if not has_brought:
            context = self._context
            context.log.tell(f"no udp {self._label} {why}", f"{self._label}: UDP: {why}")


class _Room:
    """The descriptors of a relay's streams: the first is the relay's own, which its socket has counted."""

    def __init__(self, context: FlowContext) -> None:
        self._slots = context.slots
        self._count = 0

    def claim(self) -> None:
        """As `datagram_streams.Room`."""
        if self._count:
            self._slots.claim()
            self._slots.associations += 1
        self._count += 1

    def give_back(self) -> None:
        """As `datagram_streams.Room`."""
        self._count -= 1
        if self._count:
            self._slots.associations -= 1


def _runs(datagrams: Sequence[Datagram]) -> Iterator[tuple[Endpoint, list[Buffer], int]]:
    """Datagrams that can reach the client as one packet: of one source and size, but for the last of them."""
    run: list[Buffer] = []
    size = 0
    source: Endpoint | None = None
    for peer, payload in datagrams:
        length = len(payload)
        if (
            peer != source
            or not size
            or not length
            or length > size
            or len(run[-1]) < size
            or len(run) >= min(MAX_BATCH, LARGEST_RUN // size)
        ):
            if source is not None:
                yield source, run, size
            run, size, source = [], length, peer
        run.append(payload)
    if source is not None:
        yield source, run, size
