"""A fuzz target: a file `fuzz_<name>.py` here with `SEEDS: list[bytes]` and `one_input(data: bytes) -> None`, which
raises only when its invariant is broken; and its corpus, `corpus/<name>/`, one input a file.

The corpus holds what once broke the target and what reaches code that the seeds do not. `fuzz/run.py` adds to it.
"""

from __future__ import annotations

import hashlib
import importlib
import random
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

from mutations import inputs

HERE = Path(__file__).resolve().parent
PATIENCE = 10.0
"""Seconds of CPU time after which one input counts as a hang; a busy machine does not use them up."""
COUNT = 5000
"""Inputs of a repeatable run, beside the known ones."""
FEWER = {
    "api": 200,
    "dataplane": 300,
    "dns_answer": 500,
    "documents": 1000,
    "openvpn": 2000,
    "quic_protocols": 2000,
    "serve": 400,
    "stack": 500,
    "vmess_server": 1000,
    "wireguard": 1000,
}
"""The same for those that are slow."""


def names() -> list[str]:
    """Every target, without its `fuzz_`."""
    return sorted(file.stem.removeprefix("fuzz_") for file in HERE.glob("fuzz_*.py"))


class Target:
    """One of them, imported."""

    def __init__(self, name: str) -> None:
        self.name = name
        module = importlib.import_module(f"fuzz_{name}")
        self.one_input: Callable[[bytes], None] = module.one_input
        self.seeds: list[bytes] = list(module.SEEDS)
        self.corpus = HERE / "corpus" / name

    def known(self) -> list[bytes]:
        """The seeds and the corpus, always in the same order."""
        return self.seeds + [file.read_bytes() for file in sorted(self.corpus.glob("*"))]

    def breaks(self, data: bytes) -> bool:
        """Feed one input; return True, with the traceback on stderr, if it breaks the invariant or never ends."""
        try:
            with _patience():
                self.one_input(data)
        except Exception:
            traceback.print_exc()
            return True
        return False

    def repeatable(self) -> bytes | None:
        """Feed the known inputs and a fixed number of mutations, the same in every run; the one that broke it."""
        known = self.known()
        wanted = islice(inputs(known, random.Random(self.name)), 1 + len(known) + FEWER.get(self.name, COUNT))
        return next((data for data in wanted if self.breaks(data)), None)

    def keep(self, data: bytes) -> Path:
        """Add an input to the corpus; the file."""
        self.corpus.mkdir(parents=True, exist_ok=True)
        file = self.corpus / hashlib.sha256(data).hexdigest()[:12]
        file.write_bytes(data)
        return file

    def keep_what_reaches_more(self, grown: list[bytes]) -> int:
        """Add those inputs that execute lines of tunflow which no known one executes, the shortest first; how many."""
        reached: set[tuple[str, int]] = set()
        for data in self.known():
            reached |= self._lines(data)
        kept = 0
        for data in sorted(grown, key=lambda data: (len(data), data)):
            lines = self._lines(data)
            if not lines <= reached:
                reached |= lines
                self.keep(data)
                kept += 1
        return kept

    def _lines(self, data: bytes) -> set[tuple[str, int]]:
        """The lines of tunflow that an input executes."""
        lines: set[tuple[str, int]] = set()

        def trace(frame: FrameType, event: str, _argument: Any) -> Any:
            file = frame.f_code.co_filename
            if "/tunflow/" not in file:
                return None
            if event == "line":
                lines.add((file, frame.f_lineno))
            return trace

        sys.settrace(trace)
        try:
            self.breaks(data)
        finally:
            sys.settrace(None)
        return lines


@contextmanager
def _patience() -> Iterator[None]:
    def hang(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"one input took more than {PATIENCE:g} s of CPU time")

    before = signal.signal(signal.SIGPROF, hang)
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
