"""Waiting for a file: from before its directories are there, and without looking again."""

from __future__ import annotations

import asyncio
from pathlib import Path, PosixPath

import pytest

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
        assert await asyncio.wait_for(waiting, 60) <= 4

    asyncio.run(main())


class MadeMeanwhile(PosixPath):
    """A path whose directory is made by somebody else in the moment in which it was looked for."""

    def exists(self) -> bool:
        found = super().exists()
        if self.name == "run" and not found:
            Path(self).mkdir()
        return found


@pytest.mark.parametrize("changes", [False, True])
def test_a_directory_that_is_made_while_the_watch_is_counts(tmp_path: Path, changes: bool) -> None:
    async def main() -> None:
        with FileWatch(MadeMeanwhile(tmp_path, "run", "control"), changes=changes) as watch:
            (tmp_path / "run" / "control").touch()
            await asyncio.wait_for(watch.wait(), 60)

    asyncio.run(main())


def test_what_was_made_between_the_watch_and_the_wait_counts(tmp_path: Path) -> None:
    async def main() -> None:
        with FileWatch(tmp_path / "x") as watch:
            (tmp_path / "x").touch()
            await asyncio.wait_for(watch.wait(), 60)

    asyncio.run(main())
