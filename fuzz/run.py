"""`python fuzz/run.py --seconds 20 [--target NAME] [--seed N]`: a time-boxed run of every fuzz target.

A target is a file `fuzz_<name>.py` here with `SEEDS: list[bytes]` and `one_input(data: bytes) -> None`,
which raises only when its invariant is broken. Each target is fed its seeds, then mutations of them and
random bytes from a generator whose seed is printed, so that a run can be repeated. The first input that
breaks a target is printed in hex, saved under `build/fuzz/`, and makes the exit status 1.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

HERE = Path(__file__).resolve().parent
FAILURES = HERE.parent / "build" / "fuzz"
LONGEST_INPUT = 70_000
"""Bytes; a super-segment with its headers is the largest thing that any parser is given."""
PATIENCE = 10.0
"""Seconds after which one input counts as a hang."""
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def flip_bits(data: bytearray, rng: random.Random) -> None:
    """A few bits turned over."""
    for _ in range(rng.randint(1, 8)):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def overwrite_number(data: bytearray, rng: random.Random) -> None:
    """A boundary value where a length or an offset may stand."""
    width = rng.choice((1, 2, 4))
    if len(data) >= width:
        at = rng.randrange(len(data) - width + 1)
        value = rng.choice(INTERESTING) & ((1 << 8 * width) - 1)
        data[at : at + width] = value.to_bytes(width, rng.choice(("big", "little")))


def cut(data: bytearray, rng: random.Random) -> None:
    """The end missing."""
    del data[rng.randint(0, len(data)) :]


def remove(data: bytearray, rng: random.Random) -> None:
    """A piece missing."""
    at = rng.randint(0, len(data))
    del data[at : at + rng.randint(1, 16)]


def insert(data: bytearray, rng: random.Random) -> None:
    """Random bytes in the middle."""
    at = rng.randint(0, len(data))
    data[at:at] = rng.randbytes(rng.randint(1, 16))


def repeat(data: bytearray, rng: random.Random) -> None:
    """A piece twice."""
    at = rng.randint(0, len(data))
    data[at:at] = data[at : at + rng.randint(1, 64)]


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip_bits,
    overwrite_number,
    cut,
    remove,
    insert,
    repeat,
)


def inputs(seeds: list[bytes], rng: random.Random) -> Iterator[bytes]:
    """The seeds, then their mutations and random bytes without end."""
    yield b""
    yield from seeds
    while True:
        if not seeds or rng.random() < 0.1:
            yield rng.randbytes(rng.choice((rng.randint(0, 8), rng.randint(0, 128), rng.randint(0, 2048))))
            continue
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 4)):
            rng.choice(MUTATIONS)(data, rng)
        if rng.random() < 0.1:
            data += rng.choice(seeds)
        yield bytes(data[:LONGEST_INPUT])


def hang(_signal: int, _frame: FrameType | None) -> None:
    """What the timer does to an input that never ends."""
    raise TimeoutError(f"one input took more than {PATIENCE:g} s")


def fuzz(name: str, seconds: float, seed: int) -> bytes | None:
    """Feed one target for `seconds`; the input that broke it, or None."""
    module = importlib.import_module(name)
    one_input: Callable[[bytes], None] = module.one_input
    count, start = 0, time.monotonic()
    for data in inputs(list(module.SEEDS), random.Random(f"{seed}/{name}")):
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)
        try:
            one_input(data)
        except Exception:
            traceback.print_exc()
            return data
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        count += 1
        if count > len(module.SEEDS) and time.monotonic() - start > seconds:
            break
    print(f"{name}: {count:,} inputs, {len(module.SEEDS)} seeds", flush=True)
    return None


def report_failure(name: str, data: bytes) -> None:
    """Say which input it was, and keep it."""
    FAILURES.mkdir(parents=True, exist_ok=True)
    file = FAILURES / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}.bin"
    file.write_bytes(data)
    print(f"{name}: BROKEN by {len(data)} bytes, saved as {file.relative_to(HERE.parent)}\n{data.hex()}")


def main() -> int:
    """Every target, or the one that was named."""
    names = sorted(file.stem for file in HERE.glob("fuzz_*.py"))
    parser = argparse.ArgumentParser(description="Feed the fuzz targets for a limited time.")
    parser.add_argument("--seconds", type=float, default=20, help="for all targets together (default 20)")
    parser.add_argument("--target", choices=names, help="this one only")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    options = parser.parse_args()
    chosen = [options.target] if options.target else names
    if not chosen:
        print("no fuzz targets", file=sys.stderr)
        return 1
    print(f"{len(chosen)} fuzz targets, {options.seconds:g} s, --seed {options.seed}", flush=True)
    signal.signal(signal.SIGALRM, hang)
    broken = 0
    for name in chosen:
        data = fuzz(name, options.seconds / len(chosen), options.seed)
        if data is not None:
            report_failure(name, data)
            broken += 1
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
