"""`python fuzz/guided.py TARGET SECONDS GROWN`: one target under atheris, which is led by coverage.

`fuzz/run.py --guided` runs it for each target. Inputs that reach more go to the folder GROWN, the one that broke the
target to its corpus; the exit status is libFuzzer's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

LONGEST = 4096
"""Bytes of an input."""
HANG = 120.0
"""Seconds of one input: libFuzzer's are those of the clock, which a busy machine uses up (`PATIENCE` is CPU time)."""
MEMORY = 2048
"""MiB."""


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    name, seconds, grown = sys.argv[1:]
    with atheris.instrument_imports(include=["tunflow", f"fuzz_{name}"]):
        from target import Target  # noqa: PLC0415

        target = Target(name)
    folder = Path(grown)
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (folder / f"seed-{number}").write_bytes(seed)
    target.corpus.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-timeout={HANG:g}", f"-rss_limit_mb={MEMORY}"]
    places = [f"-artifact_prefix={target.corpus}/", str(folder), str(target.corpus)]
    atheris.Setup([sys.argv[0], *limits, "-verbosity=0", *places], target.one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
