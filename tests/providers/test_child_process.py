"""Another program, as a provider runs it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator

import pytest

from open_files import open_files, opened_since
from tunflow.loop.event_loop import ReactorLoop
from tunflow.loop.reactor import Reactor
from tunflow.providers.child_process import ChildProcess


@pytest.fixture
def loop() -> Iterator[ReactorLoop]:
    reactor = Reactor()
    made = ReactorLoop(reactor)
    yield made
    made.close()
    reactor.close()


def start(script: str, given: dict[int, int] | None = None) -> ChildProcess:
    return ChildProcess([sys.executable, "-IS", "-c", script], dict(os.environ), given or {})


async def all_of(child: ChildProcess) -> bytes:
    found = b""
    while data := await child.read():
        found += data
    return found


def test_it_is_typed_to_and_read(loop: ReactorLoop) -> None:
    async def main() -> bytes:
        child = start("print('hello', input())")
        child.type("you\n")
        found = await all_of(child)
        await child.wait()
        return found

    assert loop.run_until_complete(asyncio.wait_for(main(), 30)) == b"hello you\n"


def test_it_finds_the_descriptors_that_it_is_given(loop: ReactorLoop) -> None:
    near, far = os.pipe()

    async def main() -> None:
        child = start("import os; os.write(7, b'here')", {7: far})
        await all_of(child)
        await child.wait()

    loop.run_until_complete(asyncio.wait_for(main(), 30))
    os.close(far)
    assert os.read(near, 10) == b"here"
    os.close(near)


def test_it_is_asked_to_end_though_our_signals_are_blocked(loop: ReactorLoop) -> None:
    async def main() -> bytes:
        child = start(
            "import time\ntry:\n print('up', flush=True)\n time.sleep(60)\nexcept KeyboardInterrupt:\n print('bye')"
        )
        found = await child.read()
        reading = asyncio.ensure_future(all_of(child))
        await child.stop(20)
        assert child.is_over
        return found + await reading

    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        assert loop.run_until_complete(asyncio.wait_for(main(), 30)) == b"up\nbye\n"
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def test_one_that_does_not_listen_is_killed(loop: ReactorLoop) -> None:
    async def main() -> bool:
        child = start("import signal, time; signal.signal(2, signal.SIG_IGN); print('up', flush=True); time.sleep(60)")
        await child.read()
        await child.stop(0.05)
        return child.is_over

    assert loop.run_until_complete(asyncio.wait_for(main(), 30))


def test_what_is_not_there(loop: ReactorLoop) -> None:
    async def main() -> None:
        ChildProcess(["/nowhere/at-all"], {}, {})

    before = open_files()
    with pytest.raises(FileNotFoundError):
        loop.run_until_complete(main())
    assert not opened_since(before)
