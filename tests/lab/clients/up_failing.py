"""`up --foreground` whose step fails: `up_failing.py MODULE:NAME raise|kill [ARGS...]`.

The step is replaced: "raise" makes it fail as a kernel that refuses would, "kill" runs it and is then killed with -9.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
from typing import Any

from tunflow.cli import main


def replace(where: str, how: str) -> None:
    """Put the failing step in place."""
    module, _, name = where.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, name = name.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    step = getattr(owner, name)

    def failing(*arguments: Any, **more: Any) -> Any:
        if how == "raise":
            raise OSError(16, "a step failed")
        result = step(*arguments, **more)
        os.kill(os.getpid(), signal.SIGKILL)
        return result

    async def failing_later(*arguments: Any, **more: Any) -> Any:
        if how == "raise":
            raise OSError(16, "a step failed")
        await step(*arguments, **more)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, failing_later if asyncio.iscoroutinefunction(step) else failing)


replace(sys.argv[1], sys.argv[2])
sys.exit(main(["up", "--foreground", *sys.argv[3:]]))
