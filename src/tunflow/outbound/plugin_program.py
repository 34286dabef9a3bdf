"""A SIP003 plugin as a child process: streams go to its port on loopback, and it brings them to the server.

Rules:
1. It is started by the first stream, on a free port, and ended with the tunnel, however that ends. Who connects before
   it listens asks again, for `COMING` seconds.
2. One that ends is started again after `SOONEST` seconds, which double up to `LATEST` while it does not live so long.
3. Where tunflow's own sockets are marked (`up`), or the server is behind others, it is told a port of tunflow's instead
   of the server: so it needs neither marks nor rights, and its connections go where tunflow's go.

Read first: SIP003 (shadowsocks.org), "Plugin".
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections import deque
from typing import TYPE_CHECKING

from tunflow.contained import Contained
from tunflow.endpoint import Address, Endpoint
from tunflow.flow import FlowInfo
from tunflow.loop.sockets import UNMARKED
from tunflow.outbound.direct import FirstHop
from tunflow.outbound.forwarded_port import ForwardedPort
from tunflow.outbound.plugin_path import find_program
from tunflow.outbound.session_outbound import LATEST, SOONEST, SessionPlace
from tunflow.protocols.contract import Carries, CodecRoute, NameSource, NoDatagrams, Outbound
from tunflow.protocols.server_addresses import ServerAddresses
from tunflow.protocols.session import PluginProgram
from tunflow.providers import child_guard
from tunflow.providers.child_process import ChildProcess

if TYPE_CHECKING:
    from typing import NoReturn

    from tunflow.loop.reactor import Timer

COMING = 10.0
LOOPBACK = "127.0.0.1"
_TOLD = 200
"""Characters of what it printed last that are told."""


class PluginBelow(Contained):
    """What lies below a server behind a plugin. As `contract.Outbound`."""

    carries = Carries.STREAMS | Carries.NAMES
    wants_flow = False
    resolver: NameSource | None = None

    def __init__(self, program: PluginProgram, server: Endpoint, below: Outbound) -> None:
        """Raises LocalError where the program is not here."""
        self._path = find_program(program)
        self._name = program.programs[0]
        self._options = program.options
        self._target = server
        self._below = below
        self.label = below.label
        self.server: ServerAddresses | None = None
        self.place: SessionPlace | None = None
        """Where it is served; None while nobody does."""
        self._local = ServerAddresses((), is_coming=self._is_coming)
        self._route = CodecRoute((), None, self.label, self._local)
        self._child: ChildProcess | None = None
        self._port: ForwardedPort | None = None
        self._started_at = self._again_at = 0.0
        self._pause = SOONEST
        self._timer: Timer | None = None
        self._is_closed = False

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"the plugin {self._name}"

    def cut(self) -> None:
        """As `Contained.cut`."""
        self.close()

    def stream(self, target: Endpoint, flow: FlowInfo | None = None) -> CodecRoute:  # noqa: ARG002
        """The plugin's port."""
        if self._child is None and self._timer is None and self.place is not None and not self._is_closed:
            self._start()
        if self._route.addresses is not self._local.in_order:
            self._route = CodecRoute(self._local.in_order, None, self.label, self._local)
        return self._route

    def datagrams(self) -> NoReturn:
        """Raises NoDatagrams."""
        raise NoDatagrams("a plugin carries no UDP")

    def close(self) -> None:
        """End it."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._child is not None:
            self._child.kill()
            self._child = None
        if self._port is not None:
            self._port.close()
            self._port = None

    # Inside.

    def _is_coming(self) -> bool:
        """Return True if it may listen soon."""
        if self.place is None or self._is_closed:
            return False
        now = self.place.reactor.now
        if self._child is None:
            return self._pause <= 2 * SOONEST  # it ended once, which may have been an accident
        return self._local.best is None and now - self._started_at < COMING

    def _start(self) -> None:
        place = self.place
        assert place is not None
        self._timer = None
        self._started_at = self._again_at = place.reactor.now
        port = _free_port()
        self._local.use((Address(socket.AF_INET, (LOOPBACK, port)),))
        self._local.best = None
        place.reactor.call_soon(lambda: self._spawn(place, port))  # on asyncio's loop, whoever asked

    def _spawn(self, place: SessionPlace, port: int) -> None:
        if self._is_closed:
            return
        try:
            host, remote_port = self._reached_by(place)
            environment = {name: text for name, text in os.environ.items() if not name.startswith("TUNFLOW_")}
            environment |= {
                "SS_REMOTE_HOST": host,
                "SS_REMOTE_PORT": str(remote_port),
                "SS_LOCAL_HOST": LOOPBACK,
                "SS_LOCAL_PORT": str(port),
                "SS_PLUGIN_OPTIONS": self._options,
            }
            argv = [sys.executable, "-IS", child_guard.__file__, str(os.getpid()), self._path]
            child = self._child = ChildProcess(argv, environment, {})
        except OSError as error:
            self._ended(error.strerror or str(error))
            return
        task = asyncio.get_running_loop().create_task(self._watch(child), name=self.about)
        task.add_done_callback(self._watched)

    def _reached_by(self, place: SessionPlace) -> tuple[str, int]:
        """The host and port by which the program reaches the server. Raises OSError."""
        if isinstance(self._below, FirstHop) and place.sockets == UNMARKED:
            return self._target.host_text, self._target.port
        if self._port is None:
            self._port = ForwardedPort(place, self._below, self._target)
        return LOOPBACK, self._port.number

    async def _watch(self, child: ChildProcess) -> None:
        last: deque[str] = deque(maxlen=2)
        while data := await child.read():
            last.extend(line.strip() for line in data.decode(errors="replace").splitlines() if line.strip())
        await child.wait()
        if child is self._child:
            self._ended("; ".join(last)[-_TOLD:] or "it said nothing")

    def _watched(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            assert self.place is not None
            self.place.reactor.contain(error, self)

    def _ended(self, why: str) -> None:
        place = self.place
        assert place is not None
        self._child = None
        now = place.reactor.now
        if now - self._started_at >= LATEST:
            self._pause = SOONEST
        self._again_at = now + self._pause
        words = f"the plugin {self._name} ended and is started again in {self._pause:g} s: {why}"
        place.log.tell(f"plugin {self._path} {why}", words)
        self._timer = place.reactor.call_later(self._pause, self._start)
        self._pause = min(LATEST, self._pause * 2)


def _free_port() -> int:
    """A port of loopback that nobody has at this moment. Raises OSError."""
    with socket.socket() as sock:
        sock.bind((LOOPBACK, 0))
        return int(sock.getsockname()[1])
