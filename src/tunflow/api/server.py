"""The API's listener: uvicorn in a thread of its own, so that a dashboard never keeps packets waiting."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from tunflow.addresses import NotAnAddress, ip_address
from tunflow.api.app import API
from tunflow.api.bounded_http import BoundedHTTP
from tunflow.api.facts import TunnelFacts
from tunflow.api.guard import CLIENTS, Guard
from tunflow.api.log_lines import LogLines
from tunflow.api.served import Served, ServedDevice, ServedPort
from tunflow.conduit import Carrier
from tunflow.dataplane.flow_book import FlowBook
from tunflow.endpoint import Endpoint
from tunflow.errors import LocalError
from tunflow.flow import FlowInfo, ProcessFinder
from tunflow.loop.thread_calls import ThreadCalls
from tunflow.numbers import NotANumber, whole_number

if TYPE_CHECKING:
    from tunflow.api.switch import TunnelSwitch
    from tunflow.inbound.flow_note import NoteFlow
    from tunflow.inbound.listen import ListenServer
    from tunflow.loop.reactor import Reactor
    from tunflow.protocols.contract import Outbound
    from tunflow.tunnel.assemble import Dataplane
    from tunflow.tunnel.list_refresh import ListRefresh

ENDING = 2.0
"""Seconds for open requests at the end."""


@dataclass(frozen=True, slots=True)
class ListenAt:
    """Where the API is, and who may use it. Raises LocalError for an address of others without a secret."""

    host: str
    port: int
    secret: str | None = None
    origins: tuple[str, ...] = ()
    ui: Path | None = None

    @property
    def is_local(self) -> bool:
        """Return True if nobody but this machine can connect."""
        return ip_address(self.host).is_loopback

    @classmethod
    def of(cls, text: str, secret: str | None = None, origins: Sequence[str] = (), ui: Path | None = None) -> ListenAt:
        """From ADDRESS:PORT, as `--api` and `[api] listen` have it. Raises LocalError."""
        host, colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            colon = ""
        elif not host:
            host = "127.0.0.1"
        try:
            number = whole_number(port, 65535)
            is_local = host == "localhost" or ip_address(host).is_loopback
        except (NotANumber, NotAnAddress):
            raise LocalError(f"{text!r} is no ADDRESS:PORT, like 127.0.0.1:9090") from None
        if not colon:
            raise LocalError(f"{text!r} is no ADDRESS:PORT, like 127.0.0.1:9090")
        if not is_local and not secret:
            raise LocalError(f"the API on {host} is open to others: set TUNFLOW_API_SECRET, or secret in [api]")
        return cls("127.0.0.1" if host == "localhost" else host, number, secret or None, tuple(origins), ui)


class APIServer:
    """Listens from now on; `serve` says of which dataplane it tells. Raises LocalError when it cannot listen."""

    def __init__(self, at: ListenAt, reactor: Reactor) -> None:
        self.book = FlowBook()
        self.log = LogLines()
        self._facts = TunnelFacts(self.book)
        self._reactor = reactor
        self._calls = ThreadCalls(reactor)
        self._socket = _listening(at)
        self.where = "http://{}:{}".format(f"[{at.host}]" if ":" in at.host else at.host, self._socket.getsockname()[1])
        """Its address."""
        self._api = API(self._facts, self._calls, self.log, at.ui, has_secret=at.secret is not None)
        self._guard = Guard(
            self._api.app,
            secret=at.secret,
            origins=at.origins,
            host=at.host,
            failed=self._failed,
        )
        logging.getLogger("uvicorn").addHandler(logging.NullHandler())  # stderr is the program's in `run`
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._guard,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                date_header=False,
                http=BoundedHTTP,
                ws="wsproto",
                ws_max_size=4096,
                ws_per_message_deflate=not at.is_local,
                limit_concurrency=4 * CLIENTS,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=1,
                loop="asyncio",
            )
        )
        self._thread: threading.Thread | None = None

    def use_switch(self, switch: TunnelSwitch) -> None:
        """Let those who have the secret change the tunnel by this."""
        self._api.changes.switch = switch

    def serve(self, dataplane: Dataplane | None) -> None:
        """Tell of this dataplane; None when it is closed. The first call starts the thread, with the rights of then."""
        self._serve(None if dataplane is None else ServedDevice(dataplane))

    def fetch_by(self, lists: ListRefresh) -> None:
        """As `Watcher.fetch_by`."""
        self._facts.lists = lists

    def serve_port(self, server: ListenServer, reactor: Reactor, default: Outbound) -> None:
        """Tell of a local port whose flows go out by `default`."""
        self._serve(ServedPort(server, reactor, default))

    def note_flow(self, find: ProcessFinder | None, label: str) -> NoteFlow:
        """Return what writes a local port's flows down; `find` finds the program of a client."""

        def note(protocol: str, client: Endpoint, carrier: Carrier, target: Endpoint) -> None:
            self.book.carried(FlowInfo(protocol, client, target, find=find), carrier, label, target)

        return note

    def _serve(self, served: Served | None) -> None:
        self._facts.serve(served)
        if self._thread is None and served is not None:
            self._thread = threading.Thread(target=self._run, name="api", daemon=True)
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            self._thread.start()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def close(self) -> None:
        """Stop listening."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(ENDING)
        else:
            self._socket.close()
        self._calls.close()

    def _run(self) -> None:
        async def serve() -> None:
            self.log.loop = asyncio.get_running_loop()
            self.log.loop.set_exception_handler(self._stray)
            await self._server.serve([self._socket])

        asyncio.run(serve())

    def _failed(self, error: Exception) -> None:
        """A bug was met, in the thread of the API; the request is over."""
        self._calls.call(lambda: self._reactor.contain(error, self._guard))

    def _stray(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that asyncio caught, and closed the connection for.

        wsproto raises UnicodeError for a Host that is none; that is the client's.
        """
        error = context.get("exception")
        if isinstance(error, Exception) and not isinstance(error, UnicodeError):
            self._failed(error)


def _listening(at: ListenAt) -> socket.socket:
    try:
        return socket.create_server(
            (at.host, at.port), family=socket.AF_INET6 if ":" in at.host else socket.AF_INET, backlog=CLIENTS
        )
    except OSError as error:
        why = "somebody listens there already" if error.errno == errno.EADDRINUSE else os.strerror(error.errno or 0)
        raise LocalError(f"the API cannot listen on {at.host} port {at.port}: {why}") from None
