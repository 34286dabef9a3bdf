"""`python fuzz/run.py --seconds 600 [--target NAME] [--seed N | --guided]`: random fuzzing, for people.

Each target (`target.py` says what that is) is fed its seeds and its corpus, then mutations of them and random bytes
from a generator whose seed is printed, so that a run can be repeated. With `--guided` it is fed by atheris, which must
be installed (`pip install atheris`). What breaks a target is printed in hex and added to its corpus, and makes the exit
status 1; a guided run also adds what reaches new code. Commit the corpus: `./test` feeds it to every target.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from pathlib import Path

from mutations import inputs
from target import HERE, Target, names

GROWN = HERE.parent / "build" / "fuzz"
"""Where atheris keeps what it has found to reach more, for its next run."""


def feed(target: Target, seconds: float, seed: int) -> bool:
    """Random inputs for so long; return True if none broke the target."""
    known = target.known()
    count, start = 0, time.monotonic()
    for data in inputs(known, random.Random(f"{seed}/{target.name}")):
        if target.breaks(data):
            file = target.keep(data)
            print(f"{target.name}: BROKEN by {len(data)} bytes, kept as {file.relative_to(HERE.parent)}\n{data.hex()}")
            return False
        count += 1
        if count > len(known) and time.monotonic() - start > seconds:
            break
    print(f"{target.name}: {count:,} inputs, {len(known)} of them known", flush=True)
    return True


def feed_guided(name: str, seconds: float) -> bool:
    """Inputs of atheris for so long; return True if none broke the target."""
    grown = GROWN / name
    command = [sys.executable, str(Path(__file__).with_name("guided.py")), name, f"{seconds:.0f}", str(grown)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        print(f"{name}: BROKEN, or atheris did not start\n{done.stdout[-3000:]}{done.stderr[-3000:]}", flush=True)
        return False
    kept = Target(name).keep_what_reaches_more([file.read_bytes() for file in grown.iterdir()])
    print(f"{name}: {kept} inputs reach new code and were kept", flush=True)
    return True


def main() -> int:
    """Every target, or the one that was named."""
    parser = argparse.ArgumentParser(description="Feed the fuzz targets for a limited time.")
    parser.add_argument("--seconds", type=float, required=True, help="for all targets together")
    parser.add_argument("--target", choices=names(), help="this one only")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--guided", action="store_true", help="by coverage, with atheris")
    options = parser.parse_args()
    chosen = [options.target] if options.target else names()
    each = options.seconds / len(chosen)
    if options.guided:
        results = [feed_guided(name, each) for name in chosen]
    else:
        print(f"{len(chosen)} fuzz targets, {options.seconds:g} s, --seed {options.seed}", flush=True)
        results = [feed(Target(name), each, options.seed) for name in chosen]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
