"""Random numbers of a test that are the same in every run, since they are drawn from its name.

What a test saw once it sees always: a fault of one run in 256 is there in every run or in none. To look for tests that
are only lucky, run them with `TUNFLOW_TEST_SEED=2`, `3` … and they see others.

It covers `os.urandom`, what is made of it (`secrets`, `uuid`, `random.SystemRandom`), and the functions of `random`.
What draws by itself stays random: keys, certificates and TLS of `cryptography` and OpenSSL, a `random.Random()` without
a seed, the kernel's ports and sequence numbers, names of temporary files, and programs that a test starts.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager


class Chance:
    """Stands in the place of `os.urandom`, and draws from a seed while one is given: from the system otherwise."""

    def __init__(self, variant: str = "") -> None:
        """`variant` is mixed into every seed."""
        self._variant = variant
        self._system = os.urandom
        self._seed = ""
        self._forks = 0
        self._drawn: random.Random | None = None

    def urandom(self, size: int, /) -> bytes:
        """As `os.urandom`."""
        drawn = self._drawn
        return self._system(size) if drawn is None else drawn.randbytes(size)

    @contextmanager
    def seeded(self, name: str) -> Iterator[None]:
        """Draw from `name`."""
        self._begin(f"{self._variant} {name}")
        try:
            yield
        finally:
            self._drawn = None
            random.seed()

    def install(self) -> None:
        """To be called before anything is imported that keeps `os.urandom` itself, as a default of ours does."""
        os.urandom = self.urandom
        vars(random)["_urandom"] = self.urandom  # what `secrets` draws from
        os.register_at_fork(before=self._forking, after_in_child=self._forked)

    def _begin(self, seed: str) -> None:
        self._seed, self._forks = seed, 0
        self._drawn = random.Random(seed)
        random.seed(seed)

    def _forking(self) -> None:
        self._forks += 1

    def _forked(self) -> None:
        """A child draws other numbers than its parent and than the children before it."""
        if self._drawn is not None:
            self._begin(f"{self._seed} {self._forks}")
