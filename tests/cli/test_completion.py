"""What shells complete."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def completed(tmp_path: Path, line: str, **environment: str) -> list[str]:
    """What is offered behind `line`, asked as the script in the shell asks (argcomplete)."""
    answer = tmp_path / "answer"
    subprocess.run(
        [sys.executable, "-m", "tunflow"],
        env=os.environ
        | {
            "_ARGCOMPLETE": "1",
            "_ARGCOMPLETE_IFS": "\n",
            "_ARGCOMPLETE_SHELL": "bash",
            "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
            "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
            "XDG_CONFIG_HOME": str(tmp_path),
            "XDG_RUNTIME_DIR": str(tmp_path),
            "TUNFLOW_RUNTIME_DIR": str(tmp_path / "run"),
        }
        | environment,
        check=True,
        capture_output=True,
        timeout=60,
    )
    return [word.strip() for word in answer.read_text().split("\n")]


def test_commands(tmp_path: Path) -> None:
    assert completed(tmp_path, "tunflow pro") == ["profile"]
    assert {"run", "up", "doctor", "completion"} <= set(completed(tmp_path, "tunflow "))


def test_options_of_a_command(tmp_path: Path) -> None:
    assert completed(tmp_path, "tunflow up --kill") == ["--kill-switch"]
    assert completed(tmp_path, "tunflow profile im") == ["import"]


def test_names_of_saved_profiles(tmp_path: Path) -> None:
    folder = tmp_path / "tunflow" / "profiles"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "home.toml").write_text("")
    (folder / "house.toml").write_text("")
    assert completed(tmp_path, "tunflow up ho") == ["home", "house"]
    assert completed(tmp_path, "tunflow explain example.com --profile hou") == ["house"]


def test_programs_for_run(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "zzprogram"
    program.parent.mkdir()
    program.touch()
    assert completed(tmp_path, "tunflow exec zzp", PATH=str(program.parent)) == ["zzprogram"]


def test_no_tunnel_is_no_group(tmp_path: Path) -> None:
    assert completed(tmp_path, "tunflow groups t") == ["test"]


def printed(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tunflow", *arguments], capture_output=True, text=True, check=False)


SCRIPTS = {"bash": "complete ", "zsh": "#compdef tunflow", "fish": "complete --command tunflow"}


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_script_for(shell: str) -> None:
    assert SCRIPTS[shell] in printed("completion", shell).stdout


def test_bash_takes_the_script() -> None:
    script = printed("completion", "bash").stdout + "\ncomplete -p tunflow"
    shown = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr


def test_another_shell_is_refused() -> None:
    done = printed("completion", "tcsh")
    assert done.returncode == 2
    assert "bash" in done.stderr
    assert done.stderr.count("\n") == 1
