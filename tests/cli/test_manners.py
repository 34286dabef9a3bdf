"""What holds for every command: JSON where facts are printed, help as wide as the terminal, tables that fit."""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import pytest

from tunflow.cli import main
from tunflow.cli.commands import COMMANDS, command
from tunflow.cli.table import table_lines

CARRIES = {"run", "attach", "serve", "listen", "exec"}
"""They serve until they are ended; what a run prints is its program's."""

NO_FACTS = {
    "completion": "prints a script for the shell",
    "service guard": "is for systemd, and prints nothing",
}


class Parser(argparse.ArgumentParser):
    """Remembers the parsers of its actions."""

    words: Mapping[str, argparse.ArgumentParser] = {}

    def add_subparsers(self, **options: Any) -> Any:
        made = super().add_subparsers(**options)
        self.words = made.choices
        return made


def parsers(name: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The parsers of a command: its own, or those of its actions."""
    made = Parser(name)
    command(name).arguments(made)
    if not made.words:
        yield name, made
    for word, parser in made.words.items():
        yield f"{name} {word}", parser


@pytest.mark.parametrize(("name", "parser"), [each for name in COMMANDS for each in parsers(name)])
def test_facts_can_be_had_as_json(name: str, parser: argparse.ArgumentParser) -> None:
    has_json = "--json" in parser.format_help().replace(",", " ").split()
    assert has_json is (name not in CARRIES | NO_FACTS.keys()), name


@pytest.mark.parametrize("width", [60, 150])
@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_as_wide_as_the_terminal(name: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    made = argparse.ArgumentParser(f"tunflow {name}", description=command(name).HELP.description)
    command(name).arguments(made)
    lines = made.format_help().splitlines()
    long = [line for line in lines if len(line) > width and " " in line.strip()]
    assert not [line for line in long if "://" not in line and "[" not in line]
    if len(command(name).HELP.description) > width:
        assert max(map(len, lines)) > width * 0.75


@pytest.mark.parametrize("width", [40, 80, 200])
def test_usage_fits_the_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    usage = capsys.readouterr().out.partition("\n\n")[0].splitlines()
    assert max(map(len, usage)) <= width
    assert (len(usage) > 1) is (width < 210)
    assert " ".join(map(str.strip, usage)).count("[--provider CLASS [--config KEY=VALUE]...]") == 1


COMMON = ["--help", "doctor --json", "genkey", "profile list"]


@pytest.mark.parametrize("line", COMMON)
def test_output_that_has_no_room_is_one_line(line: str, tmp_path: Path) -> None:
    """Nor is it passed over in silence."""
    with Path("/dev/full").open("w") as full:
        done = started(line, tmp_path, stdout=full)
    assert (done.returncode, done.stderr) == (
        2,
        "tunflow: what there is to say cannot be written: No space left on device\n",
    )


@pytest.mark.parametrize("line", COMMON)
def test_nobody_reads_the_output(line: str, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as broken:
        done = started(line, tmp_path, stdout=broken)
    assert (done.returncode, done.stderr) == (1, "")


def test_standard_streams_that_are_closed(tmp_path: Path) -> None:
    """Nothing else gets their numbers."""
    command = f"{sys.executable} -m tunflow doctor --json <&- >&- 2>&-"
    done = subprocess.run(["sh", "-c", command], check=False, env=own_profiles(tmp_path), timeout=60)
    assert done.returncode in {0, 1}
    program = (
        "import os, sys\n"
        "from tunflow.cli.standard_streams import open_missing\n"
        "open_missing()\n"
        "print(os.open('/', 0), file=sys.stderr)\n"
    )
    command = f'{sys.executable} -c "$1" <&- >&-'
    done = subprocess.run(["sh", "-c", command, "sh", program], capture_output=True, check=True, timeout=60)
    assert int(done.stderr) > 2


def started(line: str, folder: Path, stdout: IO[str]) -> subprocess.CompletedProcess[str]:
    """The command with one profile saved, its standard output there."""
    Path(folder, "tunflow/profiles").mkdir(parents=True)
    Path(folder, "tunflow/profiles/home.toml").write_text('server = "direct://"\n')
    command = [sys.executable, "-m", "tunflow", *line.split()]
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, env=own_profiles(folder), timeout=60
    )


def own_profiles(folder: Path) -> dict[str, str]:
    return {**os.environ, "XDG_CONFIG_HOME": str(folder)}


def test_a_bar_is_for_terminals_only(tmp_path: object) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{nobody.getsockname()[1]}/list"
        done = subprocess.run(
            [sys.executable, "-m", "tunflow", "rules", "update", "--url", url],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "TUNFLOW_DATA_DIR": str(tmp_path)},
        )
    assert done.returncode == 1
    assert "\x1b" not in done.stderr + done.stdout
    assert "failed" in done.stdout


@pytest.mark.parametrize("width", [20, 40, 80, None])
def test_tables_fit(width: int | None) -> None:
    rows = [("a", "香港 01 | 高速专线 | 电信联通移动三网优化", "120 ms"), ("bb", "tokyo", "does not work")]
    lines = table_lines(rows, width)
    from rich.cells import cell_len

    if width is None:
        assert all(cell in line for row, line in zip(rows, lines, strict=True) for cell in row)
    else:
        assert max(map(cell_len, lines)) <= max(width, 26)
        assert ("…" in lines[0]) is (width < 60)


def test_an_empty_table() -> None:
    assert table_lines([], 80) == []


def test_keys_as_json() -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tunflow", "genkey", "--json"], capture_output=True, text=True, check=True
    )
    assert '"private_key": "' in done.stdout
    assert time.monotonic() - started < 60
