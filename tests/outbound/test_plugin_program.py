"""A SIP003 plugin as a program: what it is told, that it is started, started again and ended, and what it reaches."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tunflow.endpoint import Address, Endpoint
from tunflow.errors import LocalError
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.event_loop import ReactorLoop
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import UNMARKED
from tunflow.outbound.client import StreamClient
from tunflow.outbound.direct import DirectOutbound, FirstHop
from tunflow.outbound.plugin_path import find_program
from tunflow.outbound.plugin_program import PluginBelow
from tunflow.outbound.session_outbound import SessionPlace
from tunflow.protocols.contract import Outbound
from tunflow.protocols.server_addresses import ServerAddresses
from tunflow.protocols.session import PluginProgram

TELLS = """
import json, os, socket
told = {name: text for name, text in os.environ.items() if name.startswith(("SS_", "TUNFLOW_"))} | {"pid": os.getpid()}
with socket.create_server((told["SS_LOCAL_HOST"], int(told["SS_LOCAL_PORT"]))) as listener:
    while True:
        with listener.accept()[0] as client:
            client.sendall(json.dumps(told).encode() + b"\\n")
"""
GOES_THERE = """
import os, socket
with socket.create_server((os.environ["SS_LOCAL_HOST"], int(os.environ["SS_LOCAL_PORT"]))) as listener:
    client = listener.accept()[0]
    with socket.create_connection((os.environ["SS_REMOTE_HOST"], int(os.environ["SS_REMOTE_PORT"]))) as server:
        while data := server.recv(65536):
            client.sendall(data)
    client.close()
    listener.accept()
"""


class World:
    """A loop, and plugins on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.reactor = Reactor()
        self.loop = ReactorLoop(self.reactor)
        self.said: list[str] = []
        self.place = SessionPlace(self.reactor, UNMARKED, CauseLog(self.said.append, lambda: self.reactor.now))

    def program(self, script: str, options: str = "a=1;b") -> PluginProgram:
        path = self.directory / "plugin"
        path.write_text(f"#!{sys.executable} -IS\n{script}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return PluginProgram((str(path),), "", options)

    def plugin(self, script: str, server: Endpoint, below: Outbound) -> PluginBelow:
        made = PluginBelow(self.program(script), server, below)
        made.place = self.place
        return made

    async def read(self, plugin: PluginBelow) -> bytes:
        """All that a stream by the plugin brings. Raises OSError."""
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        pieces: list[bytes] = []

        def lost(why: str, stood: bool) -> None:
            ended.set_result("" if stood else why)

        route = plugin.stream(Endpoint("example.com", 1))
        client = StreamClient(self.reactor, route, lambda data: pieces.append(bytes(data)), lost, UNMARKED)
        why = await ended
        assert client.closed
        if why:
            raise OSError(why)
        return b"".join(pieces)

    def run(self, main: Callable[[], object]) -> None:
        self.loop.run_until_complete(asyncio.wait_for(main(), 60))  # type: ignore[arg-type]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.loop.close()
    made.reactor.close()


def first_hop(host: str, port: int) -> FirstHop:
    return FirstHop(ServerAddresses((Address(socket.AF_INET, (host, port)),)))


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_what_it_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNFLOW_SERVER", "ss://secret")
    plugin = world.plugin(TELLS, Endpoint("server.example", 443), first_hop("192.0.2.1", 443))

    async def main() -> None:
        told, again = [json.loads(await world.read(plugin)) for _ in range(2)]
        assert told == again
        assert (told["SS_REMOTE_HOST"], told["SS_REMOTE_PORT"]) == ("server.example", "443")
        assert (told["SS_LOCAL_HOST"], told["SS_PLUGIN_OPTIONS"]) == ("127.0.0.1", "a=1;b")
        assert "TUNFLOW_SERVER" not in told
        plugin.close()
        assert is_gone(told["pid"])
        with pytest.raises(OSError, match="refused"):
            await world.read(plugin)

    world.run(main)


def test_one_that_is_killed_is_started_again(world: World) -> None:
    plugin = world.plugin(TELLS, Endpoint("server.example", 443), first_hop("192.0.2.1", 443))

    async def main() -> None:
        pid = json.loads(await world.read(plugin))["pid"]
        os.kill(pid, 9)
        while not world.said:
            await asyncio.sleep(0)
        assert json.loads(await world.read(plugin))["pid"] != pid
        plugin.close()

    world.run(main)
    assert "plugin ended and is started again in 0.5 s: it said nothing" in world.said[0]


def test_one_that_does_not_start_is_told_of_with_its_own_words(world: World) -> None:
    plugin = world.plugin("raise SystemExit('bad options')", Endpoint("server.example", 443), DirectOutbound())

    async def main() -> None:
        plugin.stream(Endpoint("example.com", 1))
        while len(world.said) < 1:
            await asyncio.sleep(0)
        plugin.close()

    world.run(main)
    assert "is started again in 0.5 s: bad options" in world.said[0]


def test_behind_another_hop_it_reaches_its_server_by_a_port_of_ours(world: World) -> None:
    content = os.urandom(3_000_000)

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        plugin = world.plugin(GOES_THERE, Endpoint(bytes((127, 0, 0, 1)), port), DirectOutbound())
        assert await world.read(plugin) == content
        plugin.close()
        server.close()

    world.run(main)


GOES_BY_UDP = """
import os, socket
with socket.create_server((os.environ["SS_LOCAL_HOST"], int(os.environ["SS_LOCAL_PORT"]))) as listener:
    client = listener.accept()[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.connect((os.environ["SS_REMOTE_HOST"], int(os.environ["SS_REMOTE_PORT"])))
        for word in (b"one", b"two"):
            server.send(word)
            client.sendall(server.recv(65536))
    client.close()
    listener.accept()
"""


def test_datagrams_of_a_plugin_reach_its_server_by_a_port_of_ours(world: World) -> None:
    class Echo(asyncio.DatagramProtocol):
        transport: asyncio.DatagramTransport

        def datagram_received(self, data: bytes, source: object) -> None:
            self.transport.sendto(data + b"!", source)  # type: ignore[arg-type]

    async def main() -> None:
        transport, echo = await asyncio.get_running_loop().create_datagram_endpoint(Echo, ("127.0.0.1", 0))
        echo.transport = transport
        port = transport.get_extra_info("sockname")[1]
        plugin = world.plugin(GOES_BY_UDP, Endpoint(bytes((127, 0, 0, 1)), port), DirectOutbound())
        assert await world.read(plugin) == b"one!two!"
        plugin.close()
        transport.close()

    world.run(main)


def test_a_program_that_is_not_here() -> None:
    with pytest.raises(LocalError, match=r"'no-such-plugin' is a program that is not here.*apt install some-package"):
        find_program(PluginProgram(("no-such-plugin",), "some-package", ""))
    with pytest.raises(LocalError, match="not to be run"):
        find_program(PluginProgram(("/etc/passwd",), "", ""))
