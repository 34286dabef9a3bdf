"""A resolver that is asked over UDP, and over TCP for what does not fit.

Rules, of which RFC 5452 §9 has the reasons:
1. A query goes out under a random identifier, from a socket, and so a port, of its own, its letters in random case
   (draft-vixie-dnsext-dns0x20). With `MOST_PORTS` sockets open queries share them. Through a proxy there is one
   association, whose port is the server's to choose.
2. A reply is handed on when it comes from the resolver, with identifier and question as they were sent, case included.
   It is not the end: where answers are injected the right one comes second, so who asked says when it has enough.
3. After `AGAIN` seconds a query goes out once more, from the same socket, in plain lower case; at once when a reply
   shows that the resolver does not keep the case, and from then on all do.
4. A truncated reply is no answer: the query goes to the same resolver over TCP. So does one that a proxy's server has
   left unanswered for `AGAIN` seconds, because many carry no UDP.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from tunflow.contained import Contained
from tunflow.dns.messages import HEADER, is_answer, with_identifier
from tunflow.dns.mutation import is_mutated, mutated, restored_untrusted
from tunflow.endpoint import Address, Endpoint
from tunflow.errors import BadPacket
from tunflow.loop.reactor import READ, Reactor
from tunflow.loop.socket_address import address_of
from tunflow.loop.sockets import SocketOptions
from tunflow.names.exchange import PATIENCE, Cancel, Ended, Exchange, Heard, Upstreams
from tunflow.protocols.codec import DatagramCodec
from tunflow.protocols.contract import Blocked, DatagramRoute, NoDatagrams

AGAIN = 1.2
"""Seconds. RFC 1035 §4.2.1 advises 2 to 5; resolvers have become faster, and the client waits for 5 in all."""
MOST_PORTS = 48
"""Sockets open at once: descriptors are for flows."""
MOST_ON_PORT = 512
_LARGEST = 65535
_BATCH = 32
_TRUNCATED = 0x02


class _Port:
    """A socket to the resolver, with the queries that wait on it."""

    __slots__ = ("asks", "codec", "sock")

    def __init__(self, sock: socket.socket, codec: DatagramCodec | None) -> None:
        self.sock = sock
        self.codec = codec
        self.asks: dict[int, _UDPExchange] = {}


class _UDPExchange(Exchange):
    """With the socket that it is on, the question as it was sent, and a try over TCP."""

    __slots__ = ("cancel_tcp", "port", "sent_name", "was_plain")

    port: _Port | None
    sent_name: bytes
    cancel_tcp: Cancel | None
    was_plain: bool
    """True if it was sent in lower case because a reply had other letters."""


class UDPResolver(Contained):
    """See the module's rules. `mutation` sends names as ChinaDNS did to escape injectors (`dns.mutation`)."""

    def __init__(
        self,
        reactor: Reactor,
        label: str,
        target: Endpoint,
        route: Callable[[], DatagramRoute],
        over_tcp: Upstreams,
        sockets: SocketOptions,
        draw: Callable[[int], int],
        mutation: bool = False,
    ) -> None:
        self.label = label
        self.dropped = 0
        """Datagrams that answered nothing: late, or forged."""
        self._reactor = reactor
        self._target = target
        self._route = route
        self._over_tcp = over_tcp
        self._sockets = sockets
        self._draw = draw
        self._mutation = mutation
        self._mixes = True
        self._ports: list[_Port] = []

    def ask(self, query: bytes, heard: Heard, ended: Ended) -> Cancel:
        """As `Upstreams.ask`."""
        reactor = self._reactor
        asked = _UDPExchange(query, self.label, heard, ended, reactor.now)
        asked.cancel_tcp = asked.port = None
        asked.was_plain = False
        asked.sent_name = mixed(asked.query.name, self._draw) if self._mixes else asked.query.name
        try:
            self._place(asked)
        except Exception:
            self._forget(asked)  # whoever asks does not know of it
            raise
        again = reactor.call_later(AGAIN, lambda: self._again(asked))
        timer = reactor.call_later(PATIENCE, lambda: self._failed(asked, f"no answer for {PATIENCE:g} seconds"))

        def cancel() -> None:
            asked.over = True
            again.cancel()
            timer.cancel()
            if asked.cancel_tcp is not None:
                asked.cancel_tcp()
            self._forget(asked)

        return cancel

    def reconnect(self) -> None:
        """As `Upstreams.reconnect`."""
        before, self._ports = self._ports, []
        for port in before:
            self._reactor.remove(port.sock.fileno())
            port.sock.close()
            for asked in port.asks.values():
                self._place(asked)
        self._over_tcp.reconnect()

    def close(self) -> None:
        """Give the descriptors back."""
        for port in self._ports:
            for asked in port.asks.values():
                asked.over = True
            self._reactor.remove(port.sock.fileno())
            port.sock.close()
        self._ports.clear()
        self._over_tcp.close()

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"the resolver {self.label}"

    def cut(self) -> None:
        """As `Contained.cut`: what it sent is dropped, and sockets on which nobody waits any more are closed."""
        for port in list(self._ports):
            port.asks = {number: asked for number, asked in port.asks.items() if not asked.over}
            if not port.asks:
                self._ports.remove(port)
                self._reactor.remove(port.sock.fileno())
                port.sock.close()

    # Sockets.

    def _place(self, asked: _UDPExchange) -> None:
        """Give a query a socket and a number, and send it."""
        try:
            port = self._free_port()
        except NoDatagrams:
            self._ask_over_tcp(asked)
            return
        except (OSError, Blocked) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self._reactor.call_soon(lambda: self._failed(asked, why))
            return
        number = self._draw(16)
        while number in port.asks:
            number = self._draw(16)
        asked.port, asked.number = port, number
        port.asks[number] = asked
        self._send(asked)

    def _free_port(self) -> _Port:
        """A socket for one more query. Raises OSError, Blocked."""
        ports = self._ports
        if ports and (ports[0].codec is not None or len(ports) >= MOST_PORTS):
            port = ports[self._draw(16) % len(ports)]
            if len(port.asks) >= MOST_ON_PORT:
                raise OSError(errno.EAGAIN, "too many queries wait")
            return port
        route = self._route()
        address: Address = route.addresses[0] if route.addresses else address_of(self._target)
        sock = self._sockets.open(address.family, socket.SOCK_DGRAM)
        try:
            sock.connect(address.sockaddr)  # also takes a random port
            port = _Port(sock, route.codec)
            self._reactor.add(sock.fileno(), READ, lambda _events: self._on_event(port))
        except OSError:
            sock.close()
            raise
        ports.append(port)
        return port

    def _forget(self, asked: _UDPExchange) -> None:
        port, asked.port = asked.port, None
        if port is not None and port.asks.pop(asked.number, None) is not None and not port.asks and port in self._ports:
            self._ports.remove(port)
            self._reactor.remove(port.sock.fileno())
            port.sock.close()

    # Out.

    def _send(self, asked: _UDPExchange) -> None:
        port = asked.port
        if port is None:
            return
        message = with_identifier(asked.message, asked.number)
        end = HEADER.size + len(asked.sent_name)
        message = message[: HEADER.size] + self._name(asked) + message[end:]
        if self._mutation:
            message = mutated(message)
        data = message if port.codec is None else port.codec.seal(self._target, message)
        try:
            port.sock.send(data)
        except OSError as error:
            if error.errno not in {errno.ECONNREFUSED, errno.EAGAIN}:
                why = error.strerror or str(error)
                self._reactor.call_soon(lambda: self._failed(asked, why))

    @staticmethod
    def _name(asked: _UDPExchange) -> bytes:
        """The name as it was sent last."""
        return asked.query.name if asked.retried else asked.sent_name

    def _again(self, asked: _UDPExchange) -> None:
        if asked.over or asked.retried or asked.cancel_tcp is not None:
            return
        asked.retried = True
        self._send(asked)
        if asked.port is not None and asked.port.codec is not None:
            self._ask_over_tcp(asked)

    def _ask_over_tcp(self, asked: _UDPExchange) -> None:
        if asked.cancel_tcp is None:
            asked.cancel_tcp = self._over_tcp.ask(
                asked.message,
                lambda reply, _label, now: asked.heard(reply, now),
                lambda why, _now: self._failed(asked, f"over TCP: {why}"),
            )

    def _failed(self, asked: _UDPExchange, why: str) -> None:
        try:
            self._forget(asked)
        finally:
            asked.end(why, self._reactor.now)

    # In.

    def _on_event(self, port: _Port) -> None:
        for _ in range(_BATCH):
            try:
                datagram = port.sock.recv(_LARGEST)
            except BlockingIOError:
                return
            except OSError as error:  # what an ICMP error made of the socket
                for asked in list(port.asks.values()):
                    self._failed(asked, error.strerror or str(error))
                return
            try:
                message = bytes(port.codec.open_untrusted(datagram)[1]) if port.codec is not None else datagram
            except BadPacket:
                self.dropped += 1
                continue
            self._received(port, message)
            if port not in self._ports:
                return

    def _received(self, port: _Port, message: bytes) -> None:
        asked = port.asks.get(int.from_bytes(message[:2], "big")) if len(message) >= HEADER.size else None
        if asked is not None and self._mutation and is_mutated(message, self._name(asked)):
            try:
                message = restored_untrusted(message)
            except BadPacket:
                self.dropped += 1
                return
        if asked is None or not is_answer(message, asked.query):
            self.dropped += 1
        elif not self._keeps_case(message, asked):
            self.dropped += 1
            asked.retried = asked.was_plain = True
            self._send(asked)
        elif message[2] & _TRUNCATED:
            self._ask_over_tcp(asked)
        else:
            if asked.was_plain:
                self._mixes = False
            asked.heard(message, self._reactor.now)

    @staticmethod
    def _keeps_case(message: bytes, asked: _UDPExchange) -> bool:
        """Return True if the question is as it was sent; after the second try any letters will do."""
        end = HEADER.size + len(asked.sent_name)
        if message[4:6] == b"\0\0":  # an error without a question
            return True
        return asked.retried or message[HEADER.size : end] == asked.sent_name


def mixed(name: bytes, draw: Callable[[int], int]) -> bytes:
    """The name with each of its letters large or small at random."""
    bits = draw(len(name))
    out = bytearray(name)
    at = 0
    while out[at]:
        for place in range(at + 1, at + 1 + out[at]):
            if bits >> place & 1 and 97 <= out[place] | 0x20 <= 122:
                out[place] ^= 0x20
        at += 1 + out[at]
    return bytes(out)
