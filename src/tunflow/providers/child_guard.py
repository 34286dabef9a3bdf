"""What a child process begins as that must not outlive tunflow, however that ends: the kernel is told to end it, and it
becomes the program.

Run as `python -IS child_guard.py PARENT PROGRAM ARGUMENT…`: nothing but the standard library, to start at once.
Read first: prctl(2) (PR_SET_PDEATHSIG).
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Become the program."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() == parent:  # else it has ended already
        os.execv(program[0], program)  # noqa: S606 (it is what the parent was told to start)


if __name__ == "__main__":
    main()
