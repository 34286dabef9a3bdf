"""`python -m tests.machine`: start the emulated machine and run each line of the standard input inside, by a shell."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.machine import image, payload
from tests.machine.emulated import Machine


def main() -> None:
    """Serve the standard input until its end; then the machine is switched off."""
    parser = argparse.ArgumentParser(prog="python -m tests.machine")
    parser.add_argument("--release", choices=image.releases(), default=image.own_release())
    debian = image.made(parser.parse_args().release)
    with tempfile.TemporaryDirectory(prefix="machine-") as work:
        carried = payload.made(debian, Path(work))
        with Machine(debian, carried.disk, Path(work)) as machine:
            print("ready: each line is run by a shell inside; `reboot` restarts it", flush=True)
            for line in sys.stdin:
                if line.strip() == "reboot":
                    machine.reboot()
                    continue
                done = machine.run("sh", "-c", line, timeout=300)
                print(f"{done.out}{done.err}[{done.status}]", flush=True)


if __name__ == "__main__":
    main()
