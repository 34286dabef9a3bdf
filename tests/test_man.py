"""The man pages say what the commands say, and groff takes them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))

import make_man

from tunflow.cli.commands import COMMANDS


def test_the_pages_are_fresh() -> None:
    there = {path.name: path.read_text() for path in make_man.FOLDER.glob("*")}
    assert there == make_man.pages(), "run python scripts/make_man.py"


def test_every_command_has_one() -> None:
    assert {f"tunflow-{name}.1" for name in COMMANDS} | {"tunflow.1"} == make_man.pages().keys()


def test_every_option_is_told() -> None:
    page = make_man.pages()["tunflow-run.1"]
    for option in ("server", "profile", "dns", "provider", "config", "pcap", "memory", "stats", "api"):
        assert rf".B \-\-{option}" in page


def test_groff_takes_them() -> None:
    for path in sorted(make_man.FOLDER.glob("*.1")):
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", "-z", str(path)], capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
