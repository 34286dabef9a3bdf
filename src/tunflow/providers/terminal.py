"""Questions to the user of a provider."""

from __future__ import annotations

import asyncio
import getpass
from pathlib import Path

from tunflow.errors import LocalError

TERMINAL = Path("/dev/tty")


async def ask(prompt: str, *, echo: bool, remedy: str) -> str:
    """What the user types on the terminal. Raises LocalError, with the remedy, when there is none."""
    try:
        return await asyncio.get_running_loop().run_in_executor(None, _ask, prompt, echo)
    except (OSError, EOFError):
        raise LocalError(f"{prompt.strip(': ')}: there is no terminal to ask on: {remedy}") from None


def has_terminal() -> bool:
    """Return True if somebody can be asked."""
    try:
        with TERMINAL.open("rb", buffering=0):
            return True
    except OSError:
        return False


def _ask(prompt: str, echo: bool) -> str:
    with TERMINAL.open("r+b", buffering=0) as terminal:
        if not echo:
            return getpass.getpass(prompt)
        terminal.write(prompt.encode())
        return terminal.readline().decode(errors="replace").rstrip("\r\n")
