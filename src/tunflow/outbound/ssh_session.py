"""A session of SSH: asyncssh's connection on the loop of the packets, each flow a channel of it (RFC 4254 §7.2).

Rules:
1. The server's key must be the one that is given, or one that known_hosts has for it; nothing is said to any other.
2. A channel's window opens as its bytes are taken: asyncssh stops giving out room when `WINDOW` bytes wait.
3. A server that says nothing for three times `KEEP_ALIVE` seconds although it is asked counts as lost.

An asyncio loop must run on the reactor (`loop.event_loop`).
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable

import asyncssh

from tunflow.addresses import ip_address
from tunflow.contained import Contained
from tunflow.endpoint import Endpoint
from tunflow.loop.path import Path
from tunflow.outbound.below_transport import BelowTransport
from tunflow.outbound.session_outbound import Received, SessionListener, SessionPlace
from tunflow.outbound.ssh_channel import SSHChannel
from tunflow.outbound.ssh_keys import SSHCredentials
from tunflow.protocols.contract import DatagramConduit, Dialled, Outbound
from tunflow.protocols.link import printable
from tunflow.protocols.session import SSHLogin

PATIENCE = 10.0
"""Seconds for the connection and the sign-in; an agent may ask its user for longer, and is asked again."""
TARGET_PATIENCE = 60.0
"""Seconds for a target."""
KEEP_ALIVE = 15.0

_ERRNO = {
    "connection refused": errno.ECONNREFUSED,
    "no route to host": errno.EHOSTUNREACH,
    "network is unreachable": errno.ENETUNREACH,
    "timed out": errno.ETIMEDOUT,
    "name or service not known": errno.EHOSTUNREACH,
    "temporary failure in name resolution": errno.EHOSTUNREACH,
}

logging.getLogger("asyncssh").setLevel(logging.CRITICAL)  # what goes wrong is told by us


class SSHSession(Contained):
    """Connects at once. As `session_outbound.SharedSession` and `SharedConnection`."""

    def __init__(
        self,
        place: SessionPlace,
        told: SessionListener,
        login: SSHLogin,
        credentials: SSHCredentials,
        below: Outbound,
    ) -> None:
        self._place = place
        self._told: SessionListener | None = told
        self._login = login
        self._credentials = credentials
        self._below = below
        self._transport: BelowTransport | None = None
        self._connection: asyncssh.SSHClientConnection | None = None
        self._channels: set[SSHChannel] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_stood = False
        self._host = _text(login.server)
        self.shown_key: asyncssh.SSHKey | None = None
        """The server's key, if it is one that nothing vouches for."""
        place.reactor.shared.add(self)
        self._spawn(self._connect())

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"the connection to {self._login.label}"

    def cut(self) -> None:
        """As `Contained.cut`."""
        self._end("a mistake of ours ended the connection")

    @property
    def path(self) -> Path | None:
        """As `SharedConnection.path`."""
        return None if self._transport is None else self._transport.path

    def path_lost(self) -> None:
        """As `SharedConnection.path_lost`: SSH has one TCP connection for its life."""
        self._end("the network changed")

    @property
    def is_used(self) -> bool:
        """As `SharedSession.is_used`."""
        return bool(self._channels)

    @property
    def is_drained(self) -> bool:
        """As `SharedSession.is_drained`."""
        is_sent = self._transport is None or not self._transport.get_write_buffer_size()
        return is_sent and not any(channel.unacknowledged for channel in self._channels)

    def dial(self, target: Endpoint, dialled: Dialled) -> Callable[[], None]:
        """As `SharedSession.dial`."""
        task = self._spawn(self._open(target, dialled))

        def give_up() -> None:
            if not task.done():
                task.cancel()

        return give_up

    def open_datagrams(self, _received: Received) -> DatagramConduit:
        """SSH has none, which the way out says before anybody asks here."""
        raise OSError(errno.EOPNOTSUPP, f"{self._login.label} carries no UDP")

    def close(self) -> None:
        """As `SharedSession.close`."""
        self._told = None
        self._leave()

    # Connecting.

    async def _connect(self) -> None:
        login, shown = self._login, self._credentials
        uses_agent = shown.uses_agent
        try:
            async with asyncio.timeout(PATIENCE):
                self._connection = await asyncssh.connect(
                    self._host,
                    login.server.port,
                    tunnel=self,
                    config=None,
                    username=shown.user,
                    password=login.password,
                    client_keys=list(shown.keys) or (() if uses_agent else None),
                    agent_path=() if uses_agent else "",
                    known_hosts=asyncssh.import_known_hosts(self._known_hosts()),
                    client_factory=lambda: _Client(self),
                    keepalive_interval=KEEP_ALIVE,
                    keepalive_count_max=3,
                    gss_host=None,
                )
        except TimeoutError:
            self._end(self._about_silence())
        except asyncssh.HostKeyNotVerifiable as error:
            self._end(self._about_key(error))
        except asyncssh.PermissionDenied:
            self._end(f"it does not accept the user {shown.user} with {self._what_was_shown()}")
        except asyncssh.Error as error:
            self._end(error.reason)
        except OSError as error:
            self._end(error.strerror or str(error))
        except ValueError as error:
            self._end(f"{shown.known_hosts_file}: {error}")
        else:
            self._has_stood = True
            if self._told is not None:
                self._told.stands()

    async def create_connection(
        self,
        factory: Callable[[], asyncssh.SSHClientConnection],
        _host: str,
        port: int,
    ) -> tuple[BelowTransport, asyncssh.SSHClientConnection]:
        """As asyncssh wants of a `tunnel`: a connection to the server, by the hop below. Raises OSError."""
        protocol = factory()
        transport = self._transport = BelowTransport(
            self._place.reactor, self._below, self._login.server, self._place.sockets, protocol, (self._host, port)
        )
        transport.on_drained(self._on_drained)
        await transport.connected
        return transport, protocol

    def _about_silence(self) -> str:
        """What there was instead of an answer; a server of SSH may say lines before its version (RFC 4253 §4.2)."""
        heard = self._transport.first_heard if self._transport is not None else b""
        if not heard or b"SSH-" in heard:
            return f"no answer within {PATIENCE:.0f} s"
        return f"what answers is no SSH server: it begins with {printable(heard[:40].decode(errors='replace'))!r}"

    def _known_hosts(self) -> str:
        """The server's public keys that are given, or else the file."""
        given = [each for each in self._login.host_keys if " " in each]
        if self._login.host_keys:
            return "".join(f"* {each}\n" for each in given)
        return self._credentials.known_hosts.decode("utf-8", "replace")

    def vouches_for(self, key: asyncssh.SSHKey) -> bool:
        """Return True if a key that known_hosts does not have is the one whose fingerprint is given."""
        self.shown_key = key
        return key.get_fingerprint().rstrip("=") in self._login.host_keys

    def _about_key(self, error: asyncssh.HostKeyNotVerifiable) -> str:
        if self.shown_key is None:
            return f"its host key: {error.reason}"
        found = self.shown_key.get_fingerprint()
        kind = self.shown_key.get_algorithm()
        if self._login.host_keys:
            return f"its host key is {found} ({kind}), not the one that is given: somebody may sit on the way"
        file, login = self._credentials.known_hosts_file, self._login
        known = asyncssh.match_known_hosts(self._known_hosts().encode(), self._host, "", login.server.port)
        if known[0]:
            return f"its host key is {found} ({kind}), and {file} has another one: somebody may sit on the way"
        return (
            f"its host key {found} ({kind}) is not in {file}: if it is the right one, add ?host-key={found} to the link"
        )

    def _what_was_shown(self) -> str:
        ways = ["the password"] if self._login.password is not None else []
        keys = len(self._credentials.keys)
        ways += ["the key" if keys == 1 else f"{keys} keys"] if keys else []
        return " and ".join(ways) or "no key and no password (?key=FILE, an agent, or a password in the link)"

    # Channels.

    async def _open(self, target: Endpoint, dialled: Dialled) -> None:
        channel = SSHChannel(self._place.reactor, self._backlog, self._channels.discard)
        self._channels.add(channel)
        error = errno.ENETDOWN
        try:
            if self._connection is not None:
                async with asyncio.timeout(TARGET_PATIENCE):
                    await self._connection.create_connection(lambda: channel, _text(target), target.port)
                dialled(channel, 0)
                return
        except TimeoutError:
            error = errno.ETIMEDOUT
        except asyncssh.ChannelOpenError as failure:
            error = _errno_of(failure)
        except asyncssh.Error:
            error = errno.ENETDOWN
        except asyncio.CancelledError:
            channel.abort()
            self._channels.discard(channel)
            raise
        self._channels.discard(channel)
        dialled(None, error)

    def _backlog(self) -> int:
        """Bytes of all channels that the connection has not taken."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def _on_drained(self) -> None:
        for channel in tuple(self._channels):
            channel.has_room()

    # The end.

    def lost(self, error: Exception | None) -> None:
        """The connection is over; while it did not stand, who waits for it is told, too."""
        if not self._has_stood:
            return
        if isinstance(error, asyncssh.DisconnectError):
            self._end(error.reason)
        else:
            self._end(str(error) if error is not None else "it closed the connection")

    def _end(self, why: str) -> None:
        told, self._told = self._told, None
        self._leave()
        if told is not None:
            # Not from within asyncssh, which has channels to end.
            self._place.reactor.call_soon(lambda: told.ended(why))

    def _leave(self) -> None:
        self._place.reactor.shared.discard(self)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        if self._transport is not None:
            self._transport.abort()
        current = asyncio.current_task()
        for task in tuple(self._tasks):
            if task is not current:
                task.cancel()
        for channel in tuple(self._channels):
            channel.connection_lost(ConnectionResetError())

    def _spawn(self, work: object) -> asyncio.Task[None]:
        assert asyncio.iscoroutine(work)
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _Client(asyncssh.SSHClient):
    """What asyncssh asks and tells."""

    def __init__(self, session: SSHSession) -> None:
        self._session = session

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002
        """Return True if a key that known_hosts does not have is accepted (as in asyncssh)."""
        return self._session.vouches_for(key)

    def connection_lost(self, exc: Exception | None) -> None:
        """As in asyncssh."""
        self._session.lost(exc)


def _text(endpoint: Endpoint) -> str:
    return endpoint.host if isinstance(endpoint.host, str) else str(ip_address(endpoint.host))


def _errno_of(failure: asyncssh.ChannelOpenError) -> int:
    if failure.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
        return errno.EACCES
    words = failure.reason.lower()
    return next((number for sign, number in _ERRNO.items() if sign in words), errno.ECONNREFUSED)
