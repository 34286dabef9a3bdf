"""`tunflow status` while the process that is asked ends and another takes its place."""

from __future__ import annotations

import argparse
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tunflow.cli import main, up
from tunflow.control.messages import ControlAnswer, encode_answer
from tunflow.errors import RemoteError
from tunflow.host.runtime import RuntimeDirectory


@contextmanager
def answering(path: Path, answers: list[dict[str, object] | None]) -> Iterator[None]:
    """Whoever listens there: an answer for each connection, None for none. The last one stands for all behind it."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        for number in range(100):
            try:
                one, _ = listener.accept()
            except OSError:
                return
            facts = answers[min(number, len(answers) - 1)]
            with one:
                if facts is not None:
                    one.recv(4096)
                    one.sendall(encode_answer(ControlAnswer(facts)))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(60)


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    runtime = RuntimeDirectory(tmp_path)
    monkeypatch.setattr(RuntimeDirectory, "running", lambda: runtime)
    monkeypatch.setattr(up, "PAUSE", 0.01)
    return runtime.control


OPTIONS = argparse.Namespace(json=True, waybar=False, format=None)


def test_one_that_ends_while_it_is_asked_is_asked_again(control: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts: dict[str, object] = {"status": "connecting", "pid": os.getpid()}
    with answering(control, [None, None, facts]):
        assert up.status(OPTIONS) == up.SETTLING
    assert json.loads(capsys.readouterr().out)["status"] == "connecting"


@pytest.mark.parametrize(("avoided", "status"), [(False, up.SETTLING), (True, 0)])
def test_a_server_in_trouble_that_groups_have_turned_from_is_told_and_no_failure(
    control: Path, capsys: pytest.CaptureFixture[str], avoided: bool, status: int
) -> None:
    trouble = {"what": "the server a sent nothing", "since": "then", "server": "a", "avoided": avoided}
    facts: dict[str, object] = {"status": "connected", "pid": 1, "device": None, "restarts": 0, "troubles": [trouble]}
    with answering(control, [facts]):
        assert up.status(argparse.Namespace(json=False, waybar=False, format=None)) == status
    said = capsys.readouterr().out
    assert "trouble     since then: the server a sent nothing" in said
    assert ("its groups use others" in said) is avoided


def test_one_that_never_answers_is_told(control: Path) -> None:
    with answering(control, [None]), pytest.raises(RemoteError, match=r"without an answer|went away"):
        up.status(OPTIONS)


def test_up_says_what_the_tunnel_has_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ready = {"status": "connected", "device": "tunflow0", "servers": ["direct://"], "pid": 7}
    report = {"ready": ready, "notes": ["only names of lab resolve"]}
    monkeypatch.setattr("tunflow.host.daemon.spawn", lambda *_: report)
    monkeypatch.setenv("TUNFLOW_RUNTIME_DIR", str(tmp_path))
    assert main(["up", "--server", "direct://"]) == 0
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "tunflow: only names of lab resolve",
        "tunflow: connected: tunflow0 through direct:// (process 7)",
    ]
    assert main(["up", "--server", "direct://", "--json"]) == 0
    said = capsys.readouterr()
    assert (json.loads(said.out), said.err) == (ready, "tunflow: only names of lab resolve\n")
