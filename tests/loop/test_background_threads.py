"""Threads of providers: what they give, and that nobody waits for them at the end."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading

import pytest

from tunflow.loop.event_loop import ReactorLoop
from tunflow.loop.reactor import Reactor
from tunflow.loop.threads import MOST, BackgroundThreads

BLOCKED = """
import asyncio, threading
from tunflow.loop.event_loop import ReactorLoop
from tunflow.loop.reactor import Reactor

async def main():
    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
    print(await asyncio.to_thread(lambda: "went on"))

{how}
"""


@pytest.mark.parametrize(
    "how",
    [
        "ReactorLoop(Reactor()).run_until_complete(main())",
        "with asyncio.Runner(loop_factory=lambda: ReactorLoop(Reactor())) as runner: runner.run(main())",
    ],
)
def test_a_blocked_thread_does_not_keep_the_process(how):
    script = BLOCKED.format(how=how)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\n", "")


def test_work_its_errors_and_its_signals():
    loop = ReactorLoop(Reactor())

    async def main():
        assert await asyncio.to_thread(lambda: 1 + 1) == 2
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)
        mask = await asyncio.to_thread(signal.pthread_sigmask, signal.SIG_BLOCK, ())
        assert {signal.SIGTERM, signal.SIGINT} <= mask

    loop.run_until_complete(main())
    loop.close()
    loop.reactor.close()


def test_threads_are_used_again_and_bounded():
    pool, gate, names = BackgroundThreads(), threading.Event(), set()
    for _ in range(5):
        names.add(pool.submit(lambda: threading.current_thread().name).result(60))
    assert len(names) <= 2  # the first may not be back yet when the second comes
    waiting = [pool.submit(gate.wait) for _ in range(MOST + 10)]
    assert pool.started == MOST
    last = pool.submit(lambda: "last")
    gate.set()
    assert last.result(60) == "last"
    assert all(each.result(60) for each in waiting)
    pool.shutdown()
    with pytest.raises(RuntimeError):
        pool.submit(print)
