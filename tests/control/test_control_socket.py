"""The control socket: who is heard, what hostile clients can do (nothing), and what a command gets back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tunflow.control import server as server_module
from tunflow.control.client import NotRunning, Refused, ask, watch
from tunflow.control.messages import ControlEvent, ControlRequest, encode_request
from tunflow.control.server import CLIENTS, ControlServer
from tunflow.errors import LocalError, RemoteError


async def answer(request: ControlRequest) -> dict[str, object]:
    if request.operation == "wrong":
        raise LocalError("that is wrong")
    if request.operation == "fails":
        raise RemoteError("it failed")
    return {"op": request.operation, **request.arguments}


def serve(path: Path, scenario: Callable[[ControlServer], Awaitable[None]], owner: int | None = None) -> None:
    async def main() -> None:
        server = ControlServer(path, os.geteuid() if owner is None else owner, answer)
        await server.start()
        try:
            await scenario(server)
        finally:
            await server.close()

    asyncio.run(main())


def test_a_request_and_its_answer(tmp_path: Path) -> None:
    path = tmp_path / "control"

    async def scenario(server: ControlServer) -> None:
        assert await asyncio.to_thread(ask, path, "status", a=1) == {"op": "status", "a": 1}
        with pytest.raises(Refused, match="that is wrong") as wrong:
            await asyncio.to_thread(ask, path, "wrong")
        assert wrong.value.exit_status == 2
        with pytest.raises(Refused, match="it failed") as failed:
            await asyncio.to_thread(ask, path, "fails")
        assert failed.value.exit_status == 1
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    serve(path, scenario)
    assert not path.exists()


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(NotRunning):
        ask(tmp_path / "control", "status")


def test_whoever_waits_for_the_file_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watcher looks once when the file is made: refused then, it would wait for ever for another."""
    path = tmp_path / "control"
    watcher = socket.socket(socket.AF_UNIX)
    begin = asyncio.start_unix_server

    async def connect_first(*arguments: object, **options: object) -> asyncio.Server:
        watcher.connect(str(path))
        return await begin(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncio, "start_unix_server", connect_first)

    async def scenario(server: ControlServer) -> None:
        watcher.sendall(encode_request(ControlRequest("status")))
        watcher.settimeout(60)
        assert b'"status"' in await asyncio.to_thread(watcher.recv, 1000)

    with watcher:
        serve(path, scenario)


def test_the_socket_of_a_dead_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(NotRunning):
        ask(path, "status")

    async def scenario(server: ControlServer) -> None:
        assert await asyncio.to_thread(ask, path, "status") == {"op": "status"}

    serve(path, scenario)


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"\0" * 100 + b"\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b'{"tunflow":9,"op":"status"}\n',
        b'{"tunflow":1,"op":[]}\n',
    ],
)
def test_hostile_lines_are_answered_with_an_error(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "control"

    async def scenario(server: ControlServer) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(line)
        assert b'"ok":false' in await reader.readline()
        writer.close()
        assert await asyncio.to_thread(ask, path, "status") == {"op": "status"}

    serve(path, scenario)


def test_an_endless_line_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "control"

    async def scenario(server: ControlServer) -> None:
        _, writer = await asyncio.open_unix_connection(str(path))
        with contextlib.suppress(OSError):  # which end notices first is a race
            for _ in range(1000):
                writer.write(b"x" * 65536)
                await writer.drain()
            pytest.fail("64 MB were taken")
        writer.close()
        assert await asyncio.to_thread(ask, path, "status") == {"op": "status"}

    serve(path, scenario)


def test_the_silent_are_cut_off_and_the_many_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "control"
    monkeypatch.setattr(server_module, "PATIENCE", 0.2)

    async def scenario(server: ControlServer) -> None:
        silent = [await asyncio.open_unix_connection(str(path)) for _ in range(CLIENTS)]
        reader, writer = await asyncio.open_unix_connection(str(path))
        with pytest.raises((EOFError, ConnectionError)):
            await reader.readexactly(1)
        writer.close()
        for reader, writer in silent:
            assert await reader.read() == b""
            writer.close()
        assert await asyncio.to_thread(ask, path, "status") == {"op": "status"}

    serve(path, scenario)


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's connection needs root")
def test_another_user_is_not_heard(tmp_path: Path) -> None:
    """SO_PEERCRED is what connect(2) saw, so even one who got past the file's mode is cut off."""
    path = tmp_path / "control"
    for directory in (path.parent, *path.parent.parents[:-1]):
        directory.chmod(directory.stat().st_mode | 0o011)

    async def scenario(server: ControlServer) -> None:
        path.chmod(0o666)
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            try:
                ask(path, "status")
            except RemoteError:
                os._exit(7)
            os._exit(0)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 7

    serve(path, scenario)


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's connection needs root")
def test_root_is_heard_beside_the_owner(tmp_path: Path) -> None:
    path = tmp_path / "control"

    async def scenario(server: ControlServer) -> None:
        assert await asyncio.to_thread(ask, path, "status") == {"op": "status"}

    serve(path, scenario, owner=12345)


def test_watching(tmp_path: Path) -> None:
    path = tmp_path / "control"

    async def scenario(server: ControlServer) -> None:
        events = await asyncio.to_thread(watch, path)
        first = asyncio.create_task(asyncio.to_thread(next, events))
        while not first.done():
            server.tell(ControlEvent("log", {"line": "hello"}))
            await asyncio.sleep(0)
        assert first.result() == ControlEvent("log", {"line": "hello"})

    serve(path, scenario)


def test_a_watcher_that_does_not_read_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "control"

    async def scenario(server: ControlServer) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path), limit=1024)
        writer.write(b'{"tunflow":1,"op":"watch"}\n')
        await reader.readline()
        for _ in range(2000):
            server.tell(ControlEvent("log", {"line": "x" * 1000}))
        async with asyncio.timeout(60):
            await reader.read()  # to the end, which the server made
        writer.close()

    serve(path, scenario)
