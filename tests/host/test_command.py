from __future__ import annotations

import os
from pathlib import Path

import pytest

from tunflow.errors import LocalError
from tunflow.host.program.command import CommandNotExecutable, CommandNotFound, execute, find


def _program(path: Path, mode: int = 0o755, text: str = "#!/bin/sh\nexit 5\n") -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def _error(name: str) -> LocalError:
    with pytest.raises(LocalError) as caught:
        find(name)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_path_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = _program(tmp_path / "tool")
    assert find(program) == program
    monkeypatch.chdir(tmp_path)
    assert find("./tool") == "./tool"


def test_the_first_match_in_path_that_can_be_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path / "a" / "tool", 0o644)
    (tmp_path / "b" / "tool").mkdir(parents=True)
    wanted = _program(tmp_path / "c" / "tool")
    _program(tmp_path / "d" / "tool")
    monkeypatch.setenv("PATH", os.pathsep.join(str(tmp_path / part) for part in "xabcd"))
    assert find("tool") == wanted


def test_an_empty_entry_of_path_is_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path / "tool")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere:")
    assert find("tool") == "tool"


def test_no_such_program_is_127(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("tool", "folder", "", "a\0b", str(tmp_path / "tool"), "/etc/passwd/tool"):
        error = _error(name)
        assert isinstance(error, CommandNotFound)
        assert error.exit_status == 127


def test_what_cannot_be_executed_is_126(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = _program(tmp_path / "plain", 0o644)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, reason in ((plain, "permission denied"), ("plain", "permission denied"), (str(tmp_path), "a directory")):
        error = _error(name)
        assert isinstance(error, CommandNotExecutable)
        assert error.exit_status == 126
        assert reason in str(error)


def test_a_script_without_interpreter_line_runs_in_the_shell(tmp_path: Path) -> None:
    script = _program(tmp_path / "script", text='test "$1" = one && exit 6\n')
    pid = os.fork()
    if pid == 0:
        try:
            execute(script, ["script", "one"])
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 6
