"""`tunflow`: the command line (`command_line`), and Ctrl-C from the first moment on.

What a command needs takes a while to import, and an interrupt in there would be a traceback. So the system's own answer
to SIGINT holds until the command line is loaded, and again when it has its exit status.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status. With `arguments` it is a part of another program, whose signals stay."""
    if arguments is not None:
        from tunflow.cli.command_line import run_command_line  # noqa: PLC0415

        return run_command_line(arguments)
    try:
        return _run()
    except KeyboardInterrupt:
        return 130


def _run() -> int:
    import gc  # noqa: PLC0415

    gc.set_threshold(100_000, 20, 20)  # what is imported stays: to look for cycles in it took a fifteenth of a start
    import signal  # noqa: PLC0415
    import sys  # noqa: PLC0415

    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # and not ignored, as behind `&` in a script
    if usual:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tunflow.cli.command_line import run_command_line  # noqa: PLC0415

    try:
        if usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return run_command_line(sys.argv[1:])
    finally:
        if usual:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
