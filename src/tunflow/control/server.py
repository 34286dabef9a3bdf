"""The daemon's side of the control socket.

Rules:
1. The socket file is 0600 and its directory 0700; besides, the kernel says who is connected (SO_PEERCRED, unix(7)):
   only root and the tunnel's owner are heard, anybody else is cut off before a byte of theirs is read.
2. Whoever connects and says nothing is cut off after `PATIENCE`; there are at most `CLIENTS` at once; a watcher that
   does not read is dropped at `BACKLOG` bytes. The tunnel never waits for a client.
3. One request a connection, except that "watch" goes on with events until either side closes.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from tunflow.control.messages import (
    MAX_LINE,
    ControlAnswer,
    ControlEvent,
    ControlRequest,
    encode_answer,
    encode_event,
    parse_request_untrusted,
)
from tunflow.errors import BadPacket, LocalError, RemoteError

PATIENCE = 5.0
"""Seconds for a client to send its request."""

CLIENTS = 16
"""Connections at once; one more is closed."""

BACKLOG = 256 * 1024
"""Bytes of events that may wait for a watcher."""

_PEER = struct.Struct("3i")
"""struct ucred: pid, uid, gid (unix(7), SO_PEERCRED)."""

WATCH = "watch"

Handler = Callable[[ControlRequest], Awaitable[dict[str, object]]]
"""Answers a request; raises LocalError or RemoteError with the line for the user."""


class ControlServer:
    """Listens at `path` until closed; `owner` is the user id that may speak besides root."""

    def __init__(self, path: Path, owner: int, handler: Handler) -> None:
        self._path = path
        self._owner = owner
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self._watchers: set[asyncio.StreamWriter] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    async def start(self) -> None:
        """Listen; a socket file that a dead process left is replaced. Raises LocalError.

        It gets its name when it listens: whoever waits for the file to be made looks once, and must not be refused.
        """
        unnamed = self._path.with_name(f"{self._path.name}.new")
        with suppress(FileNotFoundError):
            unnamed.unlink()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        mask = os.umask(0o177)
        try:
            listening.bind(str(unnamed))
            listening.listen(CLIENTS)
            unnamed.rename(self._path)
        except OSError as error:
            listening.close()
            raise LocalError(f"the control socket {self._path} cannot be made: {error.strerror or error}") from error
        finally:
            os.umask(mask)
        self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=MAX_LINE)

    async def close(self) -> None:
        """Stop listening, let the clients that wait for an answer have it, and remove the socket file."""
        if self._server is not None:
            self._server.close()
            with suppress(OSError):  # the folder may be root's alone by now
                self._path.unlink()
        for writer in list(self._watchers):
            writer.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), PATIENCE)
        for writer in list(self._clients):
            writer.transport.abort()

    def tell(self, event: ControlEvent) -> None:
        """Send an event to everybody who watches."""
        if not self._watchers:
            return
        line = encode_event(event)
        for writer in list(self._watchers):
            if writer.transport.get_write_buffer_size() > BACKLOG:
                self._watchers.discard(writer)
                writer.transport.abort()
            else:
                writer.write(line)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= CLIENTS or not self._may_speak(writer):
            writer.transport.abort()
            return
        self._clients.add(writer)
        self._idle.clear()
        try:
            await self._converse(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # it left, or never said a whole line
        finally:
            self._clients.discard(writer)
            self._watchers.discard(writer)
            writer.close()
            if not self._clients:
                self._idle.set()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readuntil(b"\n"), PATIENCE)
            request = parse_request_untrusted(line)
        except asyncio.LimitOverrunError:
            answer = ControlAnswer(error=f"a message is longer than {MAX_LINE} bytes", exit_status=2)
        except BadPacket as error:
            answer = ControlAnswer(error=str(error), exit_status=2)
        else:
            if request.operation == WATCH:
                writer.write(encode_answer(ControlAnswer()))
                self._watchers.add(writer)
                await reader.read(1)  # until it closes; what it says meanwhile is ignored
                return
            answer = await self._answer(request)
        writer.write(encode_answer(answer))
        await asyncio.wait_for(writer.drain(), PATIENCE)

    async def _answer(self, request: ControlRequest) -> ControlAnswer:
        try:
            return ControlAnswer(await self._handler(request))
        except LocalError as error:
            return ControlAnswer(error=str(error), exit_status=error.exit_status)
        except RemoteError as error:
            return ControlAnswer(error=str(error))
        except Exception as error:  # whoever asked shall not wait for ever
            told = {"message": f"answering {request.operation}", "exception": error}
            asyncio.get_running_loop().call_exception_handler(told)
            return ControlAnswer(error="the tunnel's process made a mistake: tunflow logs has it; it is a bug")

    def _may_speak(self, writer: asyncio.StreamWriter) -> bool:
        peer: socket.socket = writer.get_extra_info("socket")
        _, user, _ = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        return user in {0, self._owner}
