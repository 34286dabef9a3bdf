"""Waiting for a file: from before its directories are there, and without looking again."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tunflow.host.file_watch import FileWatch


def test_what_is_made_later_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "socket"

    async def wait() -> int:
        rounds = 0
        while True:
            with FileWatch(path) as watch:
                if path.exists():
                    return rounds
                await watch.wait()
                rounds += 1

    async def main() -> None:
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        (tmp_path / "other").touch()
        await asyncio.sleep(0)
        path.parent.mkdir(parents=True)
        path.touch()
        assert await asyncio.wait_for(waiting, 5) <= 4

    asyncio.run(main())


def test_what_was_made_between_the_watch_and_the_wait_counts(tmp_path: Path) -> None:
    async def main() -> None:
        with FileWatch(tmp_path / "x") as watch:
            (tmp_path / "x").touch()
            await asyncio.wait_for(watch.wait(), 5)

    asyncio.run(main())
