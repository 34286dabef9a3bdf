"""Signals, the terminal and job control through the launcher."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from launching import Launcher, home_for_all, needs_root
from terminal import Terminal

pytestmark = [pytest.mark.lab, needs_root]

_COUNT = """
import os, signal, sys, threading
counted = {signal.SIGINT, signal.SIGUSR1, signal.SIGHUP, signal.SIGWINCH, signal.SIGQUIT, signal.SIGCONT}
def count():  # in a thread: a handler would not run for a signal that comes just before a read that waits
    seen = dict.fromkeys(counted, 0)
    while True:
        number = signal.Signals(signal.sigwait(counted))
        seen[number] += 1
        os.write(1, f"got {number.name} {seen[number]}\\n".encode())  # whole, beside the other thread
signal.pthread_sigmask(signal.SIG_BLOCK, counted | {signal.SIGUSR2})  # this one stays pending
threading.Thread(target=count, daemon=True).start()
print("ready", os.getpid(), os.getppid(), flush=True)
for line in sys.stdin:
    os.write(1, f"read {line.strip()} {sys.stdin.isatty()}\\n".encode())
    if line == "end\\n":
        os._exit(3)
"""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    home = home_for_all()
    yield home
    shutil.rmtree(home)


@pytest.fixture
def root(home: Path) -> Launcher:
    return Launcher(home, as_root=True)


@pytest.fixture(params=["root", "user"])
def launcher(request: pytest.FixtureRequest, home: Path) -> Launcher:
    return Launcher(home, as_root=request.param == "root")


@pytest.fixture
def open_terminal() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*argv: str) -> Terminal:
        opened.append(Terminal(argv))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


OpenTerminal = Callable[..., Terminal]


def _state(pid: int) -> str:
    """The process's state letter, proc_pid_stat(5); "" when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _pending(pid: int) -> set[int]:
    """The signals that wait for a process, proc_pid_status(5)."""
    (mask,) = re.findall(r"^ShdPnd:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return {number for number in signal.valid_signals() if int(mask, 16) >> number - 1 & 1}


def _is_stopped(pid: int) -> bool:
    return _state(pid) == "T"


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    assert select.select([process.stdout], [], [], 60)[0], "nothing was printed"
    return process.stdout.readline()


def _counting(launcher: Launcher) -> list[str]:
    return launcher.command(launcher.python, "-c", _COUNT)


def test_the_terminal_is_the_programs(launcher: Launcher, open_terminal: OpenTerminal) -> None:
    terminal = open_terminal(*_counting(launcher))
    terminal.wait_for("ready")
    terminal.type("hello\n")
    terminal.wait_for("read hello True")
    terminal.type("end\n")
    assert os.waitstatus_to_exitcode(terminal.status()) == 3


@pytest.mark.parametrize(("key", "name"), [("\x03", "SIGINT"), ("\x1c", "SIGQUIT")])
def test_a_key_reaches_the_program_once(launcher: Launcher, open_terminal: OpenTerminal, key: str, name: str) -> None:
    terminal = open_terminal(*_counting(launcher))
    terminal.wait_for("ready")
    for turn in (1, 2, 3):
        terminal.type(key)
        terminal.wait_for(f"got {name} {turn}")
        terminal.type("more\n")
        assert "got" not in terminal.wait_for(r"(?s).*read more").group()


def test_ctrl_c_ends_a_plain_program_by_signal(launcher: Launcher, open_terminal: OpenTerminal) -> None:
    terminal = open_terminal(*launcher.command("sh", "-c", "echo ready; exec sleep 60"))
    terminal.wait_for("ready")
    terminal.type("\x03")
    assert os.waitstatus_to_exitcode(terminal.status()) == -signal.SIGINT


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH])
def test_a_signal_sent_to_us_reaches_the_program_once(launcher: Launcher, number: signal.Signals) -> None:
    process = subprocess.Popen(
        _counting(launcher), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    tunnel = int(_line(process).split()[2])
    for turn in (1, 2, 3):
        os.kill(tunnel, number)
        assert _line(process) == f"got {number.name} {turn}\n"
    rest, _ = process.communicate("end\n", timeout=60)
    assert "got" not in rest
    assert process.returncode == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGALRM, signal.SIGRTMIN + 3])
def test_a_signal_sent_to_us_ends_the_program_and_us(launcher: Launcher, number: int) -> None:
    process = subprocess.Popen(
        launcher.command("sh", "-c", "echo ready; exec sleep 60"), stdout=subprocess.PIPE, text=True
    )
    _line(process)
    process.send_signal(number)
    assert process.wait(15) == -number


def test_job_control_of_a_shell(launcher: Launcher, open_terminal: OpenTerminal, home: Path) -> None:
    shell = open_terminal("bash", "--norc", "--noprofile", "-i")
    shell.wait_for("prompt> ")
    script = home / "count.py"
    script.write_text(_COUNT)
    command = launcher.command(launcher.python, str(script))
    code = home / "launch.sh"
    code.write_text(command[4])
    shell.type(f"unshare --mount sh {code} {launcher.python} {script}\n")
    ready = shell.wait_for(r"ready (\d+) (\d+)")
    program, tunnel = int(ready[1]), int(ready[2])
    for _ in range(2):
        shell.type("\x1a")
        shell.wait_for("Stopped")
        shell.wait_for("prompt> ")
        _wait_until(lambda: _is_stopped(program) and _is_stopped(tunnel))
        shell.type("fg\n")
        shell.wait_for(r"unshare --mount")
        shell.type("hello\n")
        shell.wait_for("read hello True")
    shell.type("\x1a")
    shell.wait_for("Stopped")
    shell.wait_for("prompt> ")
    shell.type("bg\n")
    # In the background it wants to read, which stops it again: SIGTTIN.
    shell.wait_for("Stopped|prompt> ")
    _wait_until(lambda: _is_stopped(program) and _is_stopped(tunnel))
    shell.type("fg\n")
    shell.type("end\n")
    shell.wait_for("read end")
    shell.type("echo status=$?\n")
    shell.wait_for("status=3")
    shell.type("exit\n")
    assert shell.status() == 0


def test_a_shell_as_the_program_has_jobs_of_its_own(launcher: Launcher, open_terminal: OpenTerminal) -> None:
    terminal = open_terminal(*launcher.command("bash", "--norc", "--noprofile", "-i"))
    terminal.wait_for("prompt> ")
    terminal.type("sh -c 'echo pid=$$; exec sleep 60'\n")
    job = int(terminal.wait_for(r"pid=(\d+)")[1])
    terminal.type("\x1a")
    terminal.wait_for("Stopped")
    terminal.wait_for("prompt> ")
    terminal.type("fg\n")
    _wait_until(lambda: not _is_stopped(job))  # bash gives it the terminal first
    terminal.type("\x03")
    terminal.wait_for("prompt> ")
    terminal.type("echo status=$?\n")
    terminal.wait_for("status=130")
    terminal.type("exit 4\n")
    assert os.waitstatus_to_exitcode(terminal.status()) == 4


def test_a_program_that_somebody_pauses_alone_does_not_pause_the_tunnel(root: Launcher) -> None:
    process = subprocess.Popen(_counting(root), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    program, tunnel = map(int, _line(process).split()[1:])
    os.kill(program, signal.SIGSTOP)
    threads = [int(task.name) for task in Path(f"/proc/{program}/task").iterdir()]
    _wait_until(lambda: all(map(_is_stopped, threads)))  # the last one tells the tunnel
    os.kill(tunnel, signal.SIGUSR2)  # it looks at its child before it passes a signal on
    _wait_until(lambda: signal.SIGUSR2 in _pending(program))
    assert not _is_stopped(tunnel)
    os.kill(tunnel, signal.SIGCONT)
    assert _line(process) == "got SIGCONT 1\n"
    process.communicate("end\n", timeout=60)
    assert process.returncode == 3


def test_a_terminal_that_hangs_up_reaches_the_program(launcher: Launcher, open_terminal: OpenTerminal) -> None:
    terminal = open_terminal(*launcher.command("sh", "-c", "echo ready; exec sleep 60"))
    terminal.wait_for("ready")
    terminal.hang_up()
    assert os.waitstatus_to_exitcode(terminal.status()) == -signal.SIGHUP


_NOT_RELEASED = """
import time
from tunflow.host.program.private_network import PrivateNetwork
from tunflow.host.program.program import Program
program = Program.start(["sleep", "60"], network=PrivateNetwork(), nameserver=None)
print("ready", program.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, -signal.SIGTERM)])
@pytest.mark.parametrize("whole_group", [True, False])
def test_a_signal_before_the_release_ends_everything(home: Path, number: int, status: int, whole_group: bool) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _NOT_RELEASED],
        env={**os.environ, "PYTHONPATH": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        process_group=0,
    )
    child = int(_line(process).split()[1])
    (os.killpg if whole_group else os.kill)(process.pid, number)
    assert process.wait(15) == status
    _wait_until(lambda: _state(child) in ("", "Z"))  # whoever adopts orphans may take its time to collect it


def test_started_in_the_background_of_a_script(launcher: Launcher) -> None:
    """Without job control a shell has background commands ignore SIGINT and read from /dev/null."""
    command = launcher.command("sh", "-c", "kill -INT $$ $PPID; sleep 0.2; exit 6")
    done = subprocess.run(
        ["sh", "-c", '"$@" & wait $!; echo $?', "sh", *command], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout == "6\n"
