"""Ctrl-C and SIGTERM at any time: no traceback, at most one line, nothing left behind."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

INTERRUPTED = {130, -signal.SIGINT}
"""Of Python's exit, and of the system's: a shell says 130 for both."""

AT_IMPORTS = """
import os, signal, sys


class AtImports:
    "At every `every`th import a copy of the process goes on that is interrupted there."

    def __init__(self, every):
        self.every, self.count, self.copies = every, 0, 0

    def find_spec(self, name, path=None, target=None):
        self.count += 1
        if name.split(".")[-1] == "__future__" or self.count % self.every:
            return None
        reader, writer = os.pipe()
        if (copy := os.fork()) == 0:
            sys.meta_path.remove(self)
            os.dup2(writer, 1), os.dup2(writer, 2), os.close(reader), os.close(writer)
            os.kill(os.getpid(), signal.SIGINT)
            return None
        os.close(writer)
        with open(reader) as told:
            said = told.read()
        status = os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])
        self.copies += 1
        if said or status not in (130, -signal.SIGINT):
            print(name, status, said, file=sys.stderr)


import tunflow.cli
first, imports = os.getpid(), AtImports(int(sys.argv.pop(1)))
sys.meta_path.insert(0, imports)
status = tunflow.cli.main()
if os.getpid() != first:
    os._exit(status)  # what is in the way of leaving is not what is asked here
print("copies:", imports.copies, "status:", status)
"""


def environment(folder: Path) -> dict[str, str]:
    places = {"XDG_CONFIG_HOME": "config", "TUNFLOW_DATA_DIR": "data", "TUNFLOW_RUNTIME_DIR": "run", "TMPDIR": "temp"}
    (folder / "temp").mkdir(exist_ok=True)
    return {**os.environ, **{name: str(folder / place) for name, place in places.items()}}


@pytest.mark.parametrize(("line", "every", "least"), [("status", 3, 15), ("profile list", 9, 30)])
def test_while_it_is_imported(line: str, every: int, least: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_IMPORTS, str(every), *line.split()],
        capture_output=True,
        text=True,
        check=False,
        env=environment(tmp_path),
        timeout=300,
    )
    assert [each for each in done.stderr.splitlines() if not each.startswith("tunflow: no ")] == []
    _, copies, _, _ = done.stdout.splitlines()[-1].split()
    assert int(copies) >= least


@contextmanager
def silent_server() -> Iterator[socket.socket]:
    """It takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        yield server


PROFILE = """
rules = ["RULE-SET,set,REJECT", "MATCH,auto"]
[servers]
one.url = "socks5://127.0.0.1:{port}"
[groups]
auto = {{ type = "url-test", servers = ["one"] }}
[rule_sets.set]
behavior = "domain"
url = "http://127.0.0.1:{port}/list"
[subscription]
url = "http://127.0.0.1:{port}/servers"
"""
ASKS = [
    ("rules update home", signal.SIGINT),
    ("groups test --profile home", signal.SIGINT),
    ("profile update home", signal.SIGINT),
    ("profile import http://127.0.0.1:{port}/servers", signal.SIGINT),
    ("profile import http://127.0.0.1:{port}/servers", signal.SIGTERM),
]


@pytest.mark.parametrize(("line", "number"), ASKS)
def test_while_a_server_does_not_answer(line: str, number: signal.Signals, tmp_path: Path) -> None:
    with silent_server() as server:
        port = server.getsockname()[1]
        saved = tmp_path / "config" / "tunflow" / "profiles" / "home.toml"
        saved.parent.mkdir(parents=True)
        saved.write_text(PROFILE.format(port=port))
        saved.chmod(0o600)
        before = everything_in(tmp_path)
        with started(line.format(port=port), tmp_path) as process:
            asked, _ = server.accept()
            with asked:
                process.send_signal(number)
                said, told = process.communicate(timeout=60)
    assert (process.returncode, said, told) == (130 if number == signal.SIGINT else -number, "", "")
    assert everything_in(tmp_path) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_while_somebody_is_to_type(number: signal.Signals, tmp_path: Path) -> None:
    with started("profile add home -", tmp_path) as process:
        assert process.stdin is not None
        typed = process.stdin.fileno()
        os.write(typed, b" " * fcntl.fcntl(typed, fcntl.F_GETPIPE_SZ))
        assert select.select([], [typed], [], 60)[1]  # it has begun to read
        process.send_signal(number)
        said, told = process.communicate(timeout=60)
    assert (process.returncode, said, told) == (130 if number == signal.SIGINT else -number, "", "")
    assert everything_in(tmp_path) == {"temp"}


def started(line: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tunflow", *line.split()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(folder),
    )


def everything_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")} | {"temp"}
