"""The bar that a command shows while something takes long: on stderr, for a terminal only, and gone afterwards."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Show = Callable[[str, float], None]
"""Told what is being done and how much of everything is done, from 0 to 1."""


@contextmanager
def bar(*, quiet: bool) -> Iterator[Show]:
    """A bar while the context lasts; none with `quiet` or when stderr is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda _what, _done: None
        return
    from rich.console import Console  # noqa: PLC0415  (imported when there is a terminal)
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("starting", total=1.0)
            yield lambda what, done: progress.update(task, description=what, completed=done)
    finally:
        console.show_cursor()  # also when an interrupt came while the bar was being put up
