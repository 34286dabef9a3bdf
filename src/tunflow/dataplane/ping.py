"""Pings: what an answer means depends on the way out.

The tunnel's own addresses are answered here. Straight out (`direct://`) the target is pinged for real, through a ping
socket (or a raw one), and only its own answer is passed on, or the error that came instead. Through a proxy there is
no ping: the answer then means that the *server* took a TCP connection just now, and its time is that of this
connection, never the target's; without a server there is no answer but "host unreachable". docs/icmp-and-udp.md says so
to users.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import OrderedDict
from collections.abc import Callable

from tunflow.contained import Contained
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.unreachable import REASONS
from tunflow.endpoint import Address
from tunflow.loop.reactor import ERROR, READ
from tunflow.loop.socket_error import read_errors, want_errors
from tunflow.outbound.dialing import Dialing
from tunflow.outbound.packet_tunnel import PacketTunnelOutbound
from tunflow.protocols.block.outbound import BlockOutbound
from tunflow.protocols.contract import Outbound
from tunflow.protocols.server_addresses import ServerAddresses
from tunflow.stack.icmp import EchoRequest, Reason
from tunflow.wire import icmp, ipv4, ipv6, protocols

AT_ONCE = 32
"""Connections to the server that measure pings, at most; more pings than that are not answered."""

REMEMBERED = 256
"""Pings sent out whose answer is still welcome; the oldest are forgotten first."""

PATIENCE = 10.0
"""Seconds to wait for the server."""


class Pinger:
    """Answers echo requests, or does not. `dialer` gives the way out of the moment; `is_fake` tells addresses that only
    stand for a name; `may` says whether a client may ping an address (both packed)."""

    def __init__(
        self,
        context: FlowContext,
        dialer: Callable[[], Outbound],
        is_fake: Callable[[bytes], bool],
        may: Callable[[bytes, bytes], bool],
    ) -> None:
        self._context = context
        self._dialer = dialer
        self._is_fake = is_fake
        self._may = may
        self._dialing: set[Dialing[socket.SocketType]] = set()
        self._sockets: dict[int, _PingSocket | None] = {}

    def ask(self, request: EchoRequest) -> None:
        """Find out whether `request` has an answer."""
        if request.dst in self._context.stack.own:
            self.answer(request)
            return
        dialer = self._dialer()
        if isinstance(dialer, PacketTunnelOutbound):
            self._ping_inside(dialer, request)
            return
        if isinstance(dialer, BlockOutbound) or not self._may(request.src, request.dst):
            self._unreachable(request, Reason.ADMIN_PROHIBITED)
        elif dialer.server is not None:
            self._try_server(request, dialer.server)
        elif self._is_fake(request.dst):
            self._unreachable(request, Reason.HOST)  # it is nobody's address out there
        else:
            self._ping(request)

    def _ping_inside(self, tunnel: PacketTunnelOutbound, request: EchoRequest) -> None:
        """The target is pinged for real, through the tunnel."""
        if not self._may(request.src, request.dst):
            self._unreachable(request, Reason.ADMIN_PROHIBITED)
        elif self._is_fake(request.dst):
            self._unreachable(request, Reason.HOST)
        else:
            tunnel.ping(request.dst, request.payload, lambda: self.answer(request))

    def answer(self, request: EchoRequest) -> None:
        """The client gets its answer."""
        context = self._context
        context.statistics.echo_replies += 1
        context.stack.outgoing.append(context.stack.icmp.echo_reply(request))

    def close(self) -> None:
        """Give the descriptors back."""
        for dialing in self._dialing:
            dialing.cancel()
        self._dialing.clear()
        for pinging in self._sockets.values():
            if pinging is not None:
                pinging.close()
        self._sockets.clear()

    def forget(self, is_ipv4: bool) -> None:
        """The socket for a family is closed."""
        self._sockets.pop(4 if is_ipv4 else 16, None)

    def _try_server(self, request: EchoRequest, server: ServerAddresses) -> None:
        if len(self._dialing) >= AT_ONCE:
            return
        context = self._context

        def on_end(sock: socket.SocketType | None, _address: Address | None, error: int) -> None:
            self._dialing.discard(dialing)
            if sock is not None:
                sock.close()
                self.answer(request)
            elif error != errno.ETIMEDOUT:
                self._unreachable(request, Reason.HOST)

        dialing = Dialing(
            context.reactor,
            server.in_order,
            lambda address: context.sockets.open_stream(address.family),
            on_end,
            server=server,
            patience=PATIENCE,
        )
        self._dialing.add(dialing)

    def _ping(self, request: EchoRequest) -> None:
        size = len(request.dst)
        if size not in self._sockets:
            try:
                self._sockets[size] = _PingSocket(self, self._context, size == 4)
            except OSError as error:
                self._sockets[size] = None
                self._context.log.tell(
                    "ping", f"pings are not answered: {error.strerror}; net.ipv4.ping_group_range must allow this group"
                )
        pinging = self._sockets[size]
        if pinging is not None:
            pinging.send(request)

    def failed(self, request: EchoRequest, message: icmp.Error, reporter: bytes | None) -> None:
        """The client gets the error that came instead of an answer, quoting its request as it was."""
        echo = icmp.Echo(True, request.identifier, request.sequence, request.payload)
        if len(request.dst) == 4:
            body = icmp.build_v4(echo)
            packet = ipv4.build(request.src, request.dst, protocols.ICMP, len(body)) + body
        else:
            body = icmp.build_v6(request.src, request.dst, echo)
            packet = ipv6.build(request.src, request.dst, protocols.ICMPV6, len(body)) + body
        self._context.stack.error_about(packet, message, reporter, self._context.reactor.now)

    def _unreachable(self, request: EchoRequest, reason: Reason) -> None:
        self.failed(request, reason.error(is_ipv4=len(request.dst) == 4), None)


class _PingSocket(Contained):
    """Pings for real, in one address family."""

    def __init__(self, pinger: Pinger, context: FlowContext, is_ipv4: bool) -> None:
        self._pinger = pinger
        self._context = context
        self._is_ipv4 = is_ipv4
        self._asked: OrderedDict[tuple[bytes | str, int], EchoRequest] = OrderedDict()
        self._sequence = 0
        self._identifier = os.getpid() & 0xFFFF  # a ping socket puts its own number there instead
        family = socket.AF_INET if is_ipv4 else socket.AF_INET6
        protocol = socket.IPPROTO_ICMP if is_ipv4 else socket.IPPROTO_ICMPV6
        try:
            self._socket = context.sockets.open(family, socket.SOCK_DGRAM, protocol)
            self._raw = False
        except PermissionError:
            self._socket = context.sockets.open(family, socket.SOCK_RAW, protocol)
            self._raw = True
        want_errors(self._socket)
        context.reactor.add(self._socket.fileno(), READ, self._on_event)

    def send(self, request: EchoRequest) -> None:
        """Ping the target of `request` under a sequence number of our own."""
        self._sequence = (self._sequence + 1) & 0xFFFF
        echo = icmp.Echo(True, self._identifier, self._sequence, request.payload)
        # The kernel fills in the checksum of ICMPv6, whose pseudo-header holds a source that it chooses.
        body = icmp.build_v4(echo) if self._is_ipv4 else icmp.build_v6(request.src, request.dst, echo)
        if len(self._asked) >= REMEMBERED:
            self._asked.popitem(last=False)
        self._asked[request.dst, self._sequence] = request
        where = (socket.inet_ntop(self._socket.family, request.dst), 0)
        try:
            self._transmit(body, where)
        except OSError as error:
            reason = REASONS.get(error.errno or 0)
            if reason is not None:
                self._asked.popitem()
                self._pinger.failed(request, reason.error(is_ipv4=self._is_ipv4), None)

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return "pings"

    def cut(self) -> None:
        """As `Contained.cut`: the next ping opens another."""
        self._pinger.forget(self._is_ipv4)
        self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        self._context.reactor.remove(self._socket.fileno())
        self._socket.close()

    def _transmit(self, body: bytes, where: tuple[str, int]) -> None:
        """Send; again if what failed was not this but an earlier ping. Raises OSError."""
        try:
            self._socket.sendto(body, where)
        except OSError:
            if not self._read_errors():
                raise
            self._socket.sendto(body, where)

    def _read_errors(self) -> int:
        """Pass on what the network said about pings; how many errors there were."""
        errors = read_errors(self._socket)
        for target, message, reporter, sent in errors:
            request = self._asked.pop((target.host, int.from_bytes(sent[6:8], "big")), None)
            if request is not None:
                self._pinger.failed(request, message, reporter)
        return len(errors)

    def _on_event(self, events: int) -> None:
        if events & ERROR:
            self._read_errors()
        for _ in range(32):
            try:
                data, sockaddr = self._socket.recvfrom(65536)
            except OSError:
                return
            source = socket.inet_pton(self._socket.family, sockaddr[0].partition("%")[0])
            message = memoryview(data)
            if self._raw and self._is_ipv4:
                message = message[(data[0] & 15) * 4 :]
            if len(message) < 8 or message[0] != (0 if self._is_ipv4 else 129):
                continue  # something else than an echo reply
            if self._raw and int.from_bytes(message[4:6], "big") != self._identifier:
                continue
            request = self._asked.pop((source, int.from_bytes(message[6:8], "big")), None)
            if request is not None:
                self._pinger.answer(request)
                self._context.write()
