"""Both ends of a UDP session of the 2022 edition.

Read first: SIP022 §3.2 (§3.2.3 sessions, §3.2.4 replays). Unlike the older edition's, these keep state: a client makes
one codec for each association (`ClientDatagrams2022`), a server one for all of them, whose sessions are told apart by
the client's session id and not by its address (`ServerDatagrams2022`).
"""

from __future__ import annotations

from collections.abc import Callable

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.replay_window import ReplayWindow
from tunflow.protocols.shadowsocks.keys2022 import Users
from tunflow.protocols.shadowsocks.methods import Method
from tunflow.protocols.shadowsocks.packet2022 import (
    SESSION_SIZE,
    Ids,
    UserPackets,
    answer_body,
    packets,
    parse_body_untrusted,
    request_body,
)
from tunflow.protocols.shadowsocks.stream2022 import ANSWER, MAX_PADDING, REQUEST, Clock

OLD_SESSION_SECONDS = 60.0
"""SIP022 §3.2.3: a client keeps a server's older session for a minute after the newer one appeared."""

DNS_PORT = 53
"""Datagrams from and to here are padded, as other implementations do: their sizes tell names."""


class ClientDatagrams2022:
    """One association's codec (see `DatagramCodec`)."""

    __slots__ = ("_clock", "_next", "_packets", "_rng", "_servers", "_session")

    def __init__(self, method: Method, keys: tuple[bytes, ...], rng: Callable[[int], bytes], clock: Clock) -> None:
        self._packets = packets(method, keys, rng)
        self._rng = rng
        self._clock = clock
        self._session = rng(SESSION_SIZE)
        self._next = 0
        self._servers: dict[bytes, tuple[ReplayWindow, float]] = {}
        """By the server's session id, newest last: its window and since when it is known."""

    def seal(self, peer: Endpoint, payload: Buffer) -> bytes:
        """As `DatagramCodec.seal`."""
        ids = Ids(self._session, self._next)
        self._next += 1
        return self._packets.seal(ids, request_body(peer, payload, self._clock(), padding(peer, self._rng)))

    def open_untrusted(self, datagram: Buffer) -> tuple[Endpoint, memoryview]:
        """As `DatagramCodec.open_untrusted`. Raises BadPacket."""
        view = memoryview(datagram)
        ids = self._packets.ids_untrusted(view)
        known = self._servers.get(ids.session)
        if known is not None and not known[0].is_new(ids.packet):
            raise BadPacket("a Shadowsocks datagram was seen before")
        now = self._clock()
        try:
            body = parse_body_untrusted(self._packets.body_untrusted(view, ids), ANSWER, now)
            if body.client_session != self._session:
                raise BadPacket("a Shadowsocks datagram belongs to another session")
            window = known[0] if known is not None else self._new_server_session(ids.session, now)
        except BadPacket:
            if known is None:
                self._packets.forget(ids.session)
            raise
        window.add(ids.packet)
        return body.peer, body.payload

    def _new_server_session(self, session: bytes, now: float) -> ReplayWindow:
        """The server was restarted: its new session is taken, unless that happens all the time."""
        while len(self._servers) > 1:
            oldest = next(iter(self._servers))
            _, newer_since = list(self._servers.values())[1]
            if 0 <= now - newer_since < OLD_SESSION_SECONDS:  # less where the clock was set back
                raise BadPacket("a Shadowsocks server changed its session too often")
            del self._servers[oldest]
            self._packets.forget(oldest)
        window = ReplayWindow()
        self._servers[session] = (window, now)
        return window


class DatagramSession:
    """One client's session, as a server keeps it."""

    __slots__ = ("client", "next_packet", "server", "window")

    def __init__(self, client: bytes, server: bytes) -> None:
        self.client = client
        self.server = server
        self.window = ReplayWindow()
        self.next_packet = 0


class ServerDatagrams2022:
    """The server's side of every session under one key."""

    __slots__ = ("_clock", "_packets", "_rng", "_sessions")

    def __init__(
        self, method: Method, key: bytes, rng: Callable[[int], bytes], clock: Clock, users: Users | None = None
    ) -> None:
        self._packets = packets(method, (key,), rng) if users is None else UserPackets(method, users)
        self._rng = rng
        self._clock = clock
        self._sessions: dict[bytes, DatagramSession] = {}

    def open_untrusted(self, datagram: Buffer) -> tuple[DatagramSession, Endpoint, memoryview]:
        """The session, the target and the payload of a client's datagram. Raises BadPacket."""
        view = memoryview(datagram)
        ids = self._packets.ids_untrusted(view)
        session = self._sessions.get(ids.session)
        if session is not None and not session.window.is_new(ids.packet):
            raise BadPacket("a Shadowsocks datagram was seen before")
        try:
            body = parse_body_untrusted(self._packets.body_untrusted(view, ids), REQUEST, self._clock())
        except BadPacket:
            if session is None:
                self._packets.forget(ids.session)  # somebody sends recorded datagrams of long ago
            raise
        if session is None:
            session = self._sessions[ids.session] = DatagramSession(ids.session, self._rng(SESSION_SIZE))
            if isinstance(self._packets, UserPackets):
                self._packets.joins(session.server, session.client)
        session.window.add(ids.packet)
        return session, body.peer, body.payload

    def seal(self, session: DatagramSession | None, peer: Endpoint, payload: Buffer) -> bytes:
        """A datagram from `peer` to the session's client."""
        assert session is not None
        ids = Ids(session.server, session.next_packet)
        session.next_packet += 1
        body = answer_body(session.client, peer, payload, self._clock(), padding(peer, self._rng))
        return self._packets.seal(ids, body)

    def forget(self, session: DatagramSession) -> None:
        """The session is over."""
        self._sessions.pop(session.client, None)
        self._packets.forget(session.client)
        self._packets.forget(session.server)


def padding(peer: Endpoint, rng: Callable[[int], bytes]) -> bytes:
    """How much a datagram from or to `peer` is padded with."""
    return bytes(1 + int.from_bytes(rng(2), "big") % MAX_PADDING) if peer.port == DNS_PORT else b""
