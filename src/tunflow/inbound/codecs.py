"""The two editions of Shadowsocks as a server sees them: a codec for each stream, and one for all datagrams."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import LocalError
from tunflow.inbound.target_service import ServerCodec
from tunflow.protocols.shadowsocks.datagram import Datagrams
from tunflow.protocols.shadowsocks.keys import master_key
from tunflow.protocols.shadowsocks.keys2022 import Users, parse_keys
from tunflow.protocols.shadowsocks.methods import METHODS
from tunflow.protocols.shadowsocks.replay import ReplayFilter, TimedReplayFilter
from tunflow.protocols.shadowsocks.settings import ShadowsocksServer
from tunflow.protocols.shadowsocks.stream import ServerStream

if TYPE_CHECKING:
    from tunflow.protocols.shadowsocks.datagram2022 import DatagramSession

RNG = Callable[[int], bytes]


class ServerDatagramCodec(Protocol):
    """A server's datagrams. A session is what the protocol knows a client by; None where it is the client's address."""

    def open_untrusted(self, datagram: Buffer) -> tuple[DatagramSession | None, Endpoint, memoryview]:
        """The session, the target and the payload. Raises BadPacket."""

    def seal(self, session: DatagramSession | None, peer: Endpoint, payload: Buffer) -> bytes:
        """A datagram from `peer` to the client."""

    def forget(self, session: DatagramSession) -> None:
        """The session is over."""


class _Sessionless:
    """The older edition's datagrams."""

    def __init__(self, codec: Datagrams) -> None:
        self._codec = codec

    def open_untrusted(self, datagram: Buffer) -> tuple[None, Endpoint, memoryview]:
        """As `ServerDatagramCodec.open_untrusted`."""
        target, payload = self._codec.open_untrusted(datagram)
        return None, target, payload

    def seal(self, _session: DatagramSession | None, peer: Endpoint, payload: Buffer) -> bytes:
        """As `ServerDatagramCodec.seal`."""
        return self._codec.seal(peer, payload)

    def forget(self, session: DatagramSession) -> None:
        """There are none."""


class ServerCodecs:
    """Makes the codecs under a server's key, or under those of its `users` beside it.

    Raises LocalError for a password that is no key of the 2022 edition, and for users where there cannot be any.
    """

    def __init__(self, spec: ShadowsocksServer, rng: RNG, users: Sequence[str] = ()) -> None:
        method = self._method = METHODS[spec.method]
        self._rng = rng
        self.datagrams: ServerDatagramCodec
        self._users: Users | None = None
        if users and not method.has_identities:
            raise LocalError("users of one server are for the 2022 methods with AES: 2022-blake3-aes-128-gcm, -256-gcm")
        if not method.is_2022:
            self._key = master_key(spec.password, method.key_size)
            self._salts = ReplayFilter()
            self.datagrams = _Sessionless(Datagrams(method, self._key, rng, ReplayFilter()))
            return
        from tunflow.protocols.shadowsocks.datagram2022 import ServerDatagrams2022  # noqa: PLC0415  (as in `hops`)

        keys = parse_keys(spec.password, method.key_size, many=method.has_identities)
        if len(keys) > 1:
            raise LocalError("serve takes the server's own key: its users' are in a file (--users)")
        (self._key,) = keys
        self._timed_salts = TimedReplayFilter()
        if users:
            self._users = Users(self._key, [parse_keys(user, method.key_size, many=False)[0] for user in users])
        self.datagrams = ServerDatagrams2022(method, self._key, rng, time.time, self._users)

    def stream(self) -> ServerCodec:
        """A codec for one connection."""
        method = self._method
        if not method.is_2022:
            return ServerStream(method, self._key, self._rng(method.salt_size), self._salts)
        from tunflow.protocols.shadowsocks.stream2022 import ServerStream2022  # noqa: PLC0415

        return ServerStream2022(method, self._key, self._rng, self._timed_salts, time.time, self._users)
