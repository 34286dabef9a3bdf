"""Work in a process of its own: what comes back, and what is done here because nothing can."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tunflow.errors import LocalError
from tunflow.host.short_process import in_short_process


def test_the_value_comes_from_another_process():
    assert in_short_process(os.getpid) != os.getpid()
    assert in_short_process(lambda: {"a": [1, (2, b"3")]}) == {"a": [1, (2, b"3")]}


def test_what_the_user_did_wrong_is_said_here():
    def work() -> int:
        raise LocalError("home.toml:3: no such key")

    with pytest.raises(LocalError, match=r"^home\.toml:3: no such key$"):
        in_short_process(work)


def test_a_bug_is_raised_here():
    def work() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_short_process(work)


class OfPlugin(Exception):
    """A value that can be written and not read: reading it gives the class too little."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)
        self.second = second


@pytest.mark.parametrize("make", [lambda: lambda: 7, lambda: OfPlugin("a", "b")], ids=["not written", "not read"])
def test_what_cannot_be_copied_is_made_here(make):
    pids = []

    def work() -> object:
        pids.append(os.getpid())
        return make()

    assert in_short_process(work) is not None
    assert pids == [os.getpid()]


def test_a_process_that_is_killed_leaves_the_work_to_this_one():
    here = os.getpid()

    def work() -> int:
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return 7

    assert in_short_process(work) == 7


def test_without_another_process_it_is_done_here(monkeypatch):
    def fork() -> int:
        raise BlockingIOError

    monkeypatch.setattr(os, "fork", fork)
    assert in_short_process(os.getpid) == os.getpid()


def test_what_the_work_imports_stays_out():
    code = (
        "import sys\n"
        "from tunflow.host.short_process import in_short_process\n"
        "def work():\n    import wave\n    return 'wave' in sys.modules\n"
        "print(in_short_process(work), 'wave' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"
