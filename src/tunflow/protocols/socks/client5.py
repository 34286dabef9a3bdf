"""A client's SOCKS5 codecs: a stream to a target, a control stream of a UDP association, and its datagrams.

Read first: RFC 1928, RFC 1929. Every message waits for the answer to the one before: Tor loses answers to messages that
come together. With `optimistic` flow bytes may follow the request before its answer, and a refusal then comes too late
to answer the client's SYN with.
"""

from __future__ import annotations

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.codec import ProxyRefused, Refusal
from tunflow.protocols.handshake import Handshake
from tunflow.protocols.socks import socks5
from tunflow.protocols.socks.socks5 import Credentials

_METHOD, _SIGN_IN, _REPLY = range(3)


class Socks5Client(Handshake):
    """Asks a SOCKS5 server for `command` on `target`; by default to connect."""

    __slots__ = ("_credentials", "_expects", "_optimistic", "_request", "bound")

    def __init__(
        self,
        target: Endpoint,
        credentials: Credentials | None = None,
        *,
        command: int = socks5.CONNECT,
        optimistic: bool = False,
    ) -> None:
        self._credentials = credentials
        self._request = socks5.request(command, target)
        self._expects = _METHOD
        self._optimistic = optimistic
        self.bound: Endpoint | None = None
        """The address in the server's reply: its end of the connection, its UDP relay, or what was resolved."""
        super().__init__([socks5.greeting(credentials is not None)])

    def _hear_untrusted(self, data: memoryview) -> int:
        if self._expects == _METHOD:
            return self._hear_method_untrusted(data)
        if self._expects == _SIGN_IN:
            return self._hear_sign_in_untrusted(data)
        reply = socks5.parse_reply_untrusted(data)
        if reply is None:
            return 0
        code, self.bound, size = reply
        if code:
            raise ProxyRefused(*socks5.refusal_of(code))
        self._stands()
        return size

    def _hear_method_untrusted(self, data: memoryview) -> int:
        method = socks5.parse_method_untrusted(data)
        if method is None:
            return 0
        if method == socks5.USERNAME_PASSWORD and self._credentials is not None:
            self._expects = _SIGN_IN
            self._say.append(socks5.sign_in(self._credentials))
            return 2
        if method == socks5.NO_AUTHENTICATION:
            self._ask()
            return 2
        if method == socks5.NO_ACCEPTABLE_METHOD:
            wanted = "it wants a user name and password" if self._credentials is None else "it takes no password"
            raise ProxyRefused(Refusal.CREDENTIALS, wanted)
        raise BadPacket(f"the SOCKS5 server chose method {method}, which was not offered")

    def _hear_sign_in_untrusted(self, data: memoryview) -> int:
        accepted = socks5.parse_sign_in_untrusted(data)
        if accepted is None:
            return 0
        if not accepted:
            raise ProxyRefused(Refusal.CREDENTIALS, "")
        self._ask()
        return 2

    def _ask(self) -> None:
        self._expects = _REPLY
        self._say.append(self._request)
        self.established = self._optimistic


class Socks5Datagrams:
    """The datagrams of one association (RFC 1928 §7), as a `DatagramCodec`; both sides speak alike."""

    __slots__ = ()

    def seal(self, peer: Endpoint, payload: Buffer) -> bytes:
        """As `DatagramCodec.seal`."""
        return socks5.seal_datagram(peer, payload)

    def open_untrusted(self, datagram: Buffer) -> tuple[Endpoint, memoryview]:
        """As `DatagramCodec.open_untrusted`; the payload does not refer to `datagram`. Raises BadPacket."""
        return socks5.parse_datagram_untrusted(bytes(datagram))
