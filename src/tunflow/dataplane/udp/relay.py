"""One client socket's UDP: a mapping of the stack on one side, a socket to the proxy or to all targets on the other.

Full cone (RFC 4787): whatever reaches the outer socket goes to the client, with its source. A proxy's socket is
connected; without a proxy there is one unconnected socket for each address family in use.

Straight out, what the network says about a datagram goes back to the client as the ICMP error it was, and a datagram
that must not be fragmented is not (RFC 4787 REQ-12, REQ-13). Of a proxy's errors the client learns only that the
proxy cannot be reached: what became of a sealed datagram behind it nobody says.

Datagrams of one size go out and come in many at a time, as UDP_SEGMENT and UDP_GRO have it: a call of the kernel
costs far more than the bytes of a datagram. Read first: udp(7), Linux Documentation/networking/segmentation-offloads.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from typing import Any, Protocol

from tunflow.contained import Contained
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.unreachable import REASONS
from tunflow.endpoint import Buffer, Endpoint, SocketAddress
from tunflow.errors import BadPacket
from tunflow.loop.path import Path, path_of
from tunflow.loop.reactor import ERROR, READ
from tunflow.loop.socket_address import address_of
from tunflow.loop.socket_error import endpoint_of, let_fragment, read_errors, want_errors
from tunflow.loop.udp_segments import CONTROL, GRO_SIZE, LARGEST, REFUSED, cut_every, end_of_run, join_arriving
from tunflow.protocols.contract import DatagramRoute
from tunflow.stack.icmp import Reason
from tunflow.stack.udp import MAX_BATCH, UDPMapping, UDPRun

Way = tuple[socket.socket, SocketAddress]
"""How a flow's datagrams leave when there is no codec."""

BATCH = 64
"""Datagrams, or as many super-datagrams, read from one socket before others have their turn."""

BUFFER = 1 << 20
"""Bytes of receive buffer asked of the kernel: a burst must survive until its turn comes."""

LARGEST_RUN = 60_000
"""Bytes of datagrams that leave as one packet."""

_PENDING = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENOPROTOOPT, errno.EPROTO, errno.EACCES}
"""What an ICMP error about an earlier datagram makes of the next call (Linux net/ipv4/icmp.c, icmp_err_convert)."""

_REASONS = {**REASONS, errno.ECONNREFUSED: Reason.HOST}
"""The proxy's port refuses, and so not the target's."""


class DatagramRelay(Protocol):
    """What carries the datagrams of flows."""

    def send(self, run: UDPRun, flow: CarriedFlow) -> None:
        """Datagrams to the flow's target."""


class CarriedFlow:
    """Datagrams go through a relay."""

    __slots__ = ("relay", "target", "way")

    def __init__(self, relay: DatagramRelay, target: Endpoint) -> None:
        self.relay = relay
        self.target = target
        self.way: Way | None = None

    def send(self, run: UDPRun) -> None:
        """Through the relay."""
        self.relay.send(run, self)

    def close(self) -> None:
        """The relay is its socket's to close."""


class UDPRelay(Contained):
    """Sends the client's datagrams on and brings the answers. Raises OSError when there is no descriptor for it."""

    __slots__ = (
        "_codec",
        "_context",
        "_far",
        "_fragmenting",
        "_label",
        "_longest_in_run",
        "_seen",
        "_sockets",
        "_translated",
        "heard_at",
        "mapping",
    )

    def __init__(
        self, context: FlowContext, mapping: UDPMapping, route: DatagramRoute, seen: Endpoint | None = None
    ) -> None:
        self.mapping = mapping
        self.heard_at: float | None = None
        """When a proxy's datagram last came that could be read."""
        self._seen = seen
        """What every answer shall seem to come from; None for its own source."""
        self._context = context
        self._codec = route.codec
        self._label = route.label
        self._sockets: dict[int, socket.socket] = {}
        self._translated: dict[Endpoint, Endpoint] = {}
        self._fragmenting = False
        self._longest_in_run = LARGEST
        """Datagrams over this size have been refused as a run."""
        self._far = ""
        """The proxy's address."""
        if route.addresses:
            address = route.addresses[0]
            self._far = address.sockaddr[0]
            sock = self._open(address.family)
            # Both families leave through the one server.
            self._sockets = {4: sock, 16: sock}
            try:
                sock.connect(address.sockaddr)
            except OSError:
                self.close()
                raise

    def translate(self, inside: Endpoint, outside: Endpoint) -> None:
        """What comes from `outside` shall look to the client as if it came from `inside`."""
        self._translated[outside] = inside

    def send(self, run: UDPRun, flow: CarriedFlow) -> None:
        """Datagrams to the flow's target. What the network does not take is dropped and counted, as UDP has it."""
        codec = self._codec
        target = flow.target
        try:
            if codec is not None:
                sealed = [codec.seal(target, payload) for payload in run.datagrams()]
                self._send_datagrams(self._sockets[4], sealed, None)
            else:
                sock, sockaddr = flow.way or self._way(flow)
                if run.may_fragment is not self._fragmenting:
                    for each in self._sockets.values():
                        let_fragment(each, run.may_fragment)
                    self._fragmenting = run.may_fragment
                if run.gso_size and run.gso_size <= self._longest_in_run:
                    self._send_run(sock, run.payloads, run.gso_size, sockaddr)
                else:
                    self._send_datagrams(sock, list(run.datagrams()), sockaddr)
        except OSError as error:
            self._not_sent(run, error)
        else:
            self._context.statistics.udp_bytes_up += sum(map(len, run.payloads))

    @property
    def path(self) -> Path | None:
        """The addresses that its packets go between; None where each datagram finds its own way."""
        return path_of(self._sockets[4], self._far) if self._far else None

    def close(self) -> None:
        """Give the descriptors back."""
        for sock in set(self._sockets.values()):
            self._context.reactor.remove(sock.fileno())
            sock.close()
        self._sockets.clear()

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"udp {self.mapping.client}"

    def cut(self) -> None:
        """As `Contained.cut`: what the client sends next begins anew."""
        self.close()
        self._context.forget_client(self.mapping)

    # Out.

    def _way(self, flow: CarriedFlow) -> Way:
        """Socket and address for a flow, looked up once."""
        address = address_of(flow.target)
        size = len(flow.target.host)
        sock = self._sockets.get(size)
        if sock is None:
            sock = self._sockets[size] = self._open(address.family)
        way = flow.way = (sock, address.sockaddr)
        return way

    def _send_datagrams(self, sock: socket.socket, payloads: Sequence[Buffer], sockaddr: SocketAddress | None) -> None:
        """Send each, as many as can be in one call. Raises OSError."""
        start, count = 0, len(payloads)
        while start < count:
            size = len(payloads[start])
            end = end_of_run(payloads, start, LARGEST_RUN) if size <= self._longest_in_run else start + 1
            if end - start > 1:
                self._send_run(sock, payloads[start:end], size, sockaddr)
            else:
                self._transmit(sock, payloads[start:end], 0, sockaddr)
            start = end

    def _send_run(
        self, sock: socket.socket, payloads: Sequence[Buffer], size: int, sockaddr: SocketAddress | None
    ) -> None:
        """Send bytes to be cut every `size` in one call, or else the datagrams that they are. Raises OSError."""
        try:
            self._transmit(sock, payloads, size, sockaddr)
        except OSError as error:
            if error.errno not in REFUSED:
                raise
            self._longest_in_run = 0 if error.errno == errno.EIO else size - 1
            for payload in payloads:
                for start in range(0, len(payload), size):
                    self._transmit(sock, (payload[start : start + size],), 0, sockaddr)

    def _transmit(
        self, sock: socket.socket, pieces: Sequence[Buffer], gso_size: int, sockaddr: SocketAddress | None
    ) -> None:
        """One call of the kernel. Raises OSError.

        An error about an earlier datagram keeps the kernel from sending this one: then the call is made again.
        """
        control = cut_every(gso_size) if gso_size else ()
        try:
            if sockaddr is None:
                sock.sendmsg(pieces, control)
            else:
                sock.sendmsg(pieces, control, 0, sockaddr)
        except OSError as error:
            if error.errno not in _PENDING or not self._read_errors(sock):
                raise
            sock.sendmsg(pieces, control, 0, *(() if sockaddr is None else (sockaddr,)))

    def _not_sent(self, run: UDPRun, error: OSError) -> None:
        """This host's kernel refused a run."""
        context = self._context
        context.statistics.udp_dropped += 1
        if self._codec is None and error.errno in {errno.EMSGSIZE, errno.ECONNREFUSED}:
            return  # the error queue says more
        context.log.tell(f"udp send {error.errno}", f"UDP datagrams are dropped: {error.strerror}")
        reason = _REASONS.get(error.errno or 0)
        if reason is not None:
            context.undelivered(run, reason)

    # In.

    def _open(self, family: int) -> socket.socket:
        sock = self._context.sockets.open(family, socket.SOCK_DGRAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            join_arriving(sock)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if self._codec is None:
                want_errors(sock)
                let_fragment(sock, self._fragmenting)
            self._context.reactor.add(sock.fileno(), READ, lambda events: self._on_event(sock, events))
        except OSError:
            sock.close()
            raise
        return sock

    def _on_event(self, sock: socket.socket, events: int) -> None:
        if events & ERROR:
            self._read_errors(sock)
        # Also without READ: that is how a connected socket gets rid of an error that is not in the queue.
        if self._codec is None:
            self._receive(sock)
        else:
            self._receive_sealed(sock)

    def _receive(self, sock: socket.socket) -> None:
        """Datagrams of one size from one source, the last perhaps shorter, are one packet to the device."""
        scratch = self._context.scratch
        room = len(scratch) - LARGEST
        start = end = run_size = 0
        open_run = False
        peer: Any = None
        for _ in range(BATCH):
            try:
                size, control, _, sockaddr = sock.recvmsg_into((scratch[end:],), CONTROL)
            except OSError:
                break  # nothing more, or an error about an earlier datagram: the queue says which
            gso_size = GRO_SIZE.unpack(control[0][2])[0] if control else 0
            if (
                not open_run
                or not size
                or gso_size
                or size > run_size
                or end + size - start > LARGEST_RUN
                or sockaddr != peer
            ):
                if end > start:
                    self._deliver(peer, scratch[start:end], run_size)
                peer, start, run_size, open_run = sockaddr, end, gso_size or size, not gso_size
                if not size:
                    self._deliver(peer, scratch[end:end], 0)
            end += size
            if size < run_size or end - start >= MAX_BATCH * run_size:
                open_run = False
            if end > room:
                break
        if end > start:
            self._deliver(peer, scratch[start:end], run_size)
        # The packets lie in what the next socket receives into.
        self._context.write()

    def _receive_sealed(self, sock: socket.socket) -> None:
        codec, context = self._codec, self._context
        assert codec is not None
        scratch = context.scratch
        run: list[Buffer] = []
        run_size = 0
        source: Endpoint | None = None
        for _ in range(BATCH):
            try:
                size, control, _, _ = sock.recvmsg_into((scratch,), CONTROL)
            except OSError:
                break
            gso_size = GRO_SIZE.unpack(control[0][2])[0] if control else size
            for start in range(0, size, gso_size or 1):
                try:
                    peer, payload = codec.open_untrusted(scratch[start : min(start + gso_size, size)])
                except BadPacket as error:
                    context.statistics.udp_dropped += 1
                    context.log.tell(f"udp garbled {self._label}", f"{self._label}: UDP datagram dropped: {error}")
                    continue
                length = len(payload)
                if (
                    peer != source
                    or not run_size
                    or length > run_size
                    or len(run[-1]) < run_size
                    or not length
                    or len(run) >= min(MAX_BATCH, LARGEST_RUN // run_size)
                ):
                    if source is not None:
                        self._deliver_from(source, run, run_size)
                    run, run_size, source = [], length, peer
                run.append(payload)
        if source is not None:
            self.heard_at = context.reactor.now
            self._deliver_from(source, run, run_size)

    def _deliver(self, sockaddr: SocketAddress, payload: memoryview, gso_size: int) -> None:
        self._deliver_from(endpoint_of(sockaddr), (payload,), gso_size)

    def _deliver_from(self, source: Endpoint, payloads: Sequence[Buffer], gso_size: int) -> None:
        source = self._seen or self._translated.get(source, source)
        self._context.deliver(self.mapping, source, payloads, gso_size)

    # Errors.

    def _read_errors(self, sock: socket.socket) -> int:
        """Pass on what the network said; how many errors there were."""
        context = self._context
        errors = read_errors(sock)
        for target, message, reporter, payload in errors:
            inside = self._translated.get(target)
            context.stack.datagram_undelivered(
                self.mapping.client,
                inside or target,
                payload,
                message,
                context.reactor.now,
                None if inside else reporter,
            )
        return len(errors)
