"""The examples that filter, with real programs."""

from __future__ import annotations

import os
import pty
import shutil
import threading
from pathlib import Path

import pytest
from bench.netlab.namespaces import SITE4
from lab_system import DNS, System
from lab_uplinks import UplinkLab

pytestmark = pytest.mark.lab

EXAMPLES = Path(__file__).parents[2] / "examples"


def profile(system: System, provider: str, configuration: str = "") -> str:
    path = Path(system.directory) / "p.toml"
    path.write_text(
        f'server = "direct://"\n[dns]\nmode = "fake,{DNS}"\n[filter]\nprovider = "{EXAMPLES}/{provider}"\n'
        f'log = "{system.directory}/log"\n{configuration}\n'
    )
    path.chmod(0o600)
    return str(path)


def fetches(system: System, path: str, *hosts: str) -> tuple[list[str], str]:
    """What curl gets from each host, in bytes; and what was said."""
    script = "; ".join(f"curl -sS -m 30 -o /dev/null -w '%{{size_download}} ' http://{host}/1k" for host in hosts)
    done = system.tunflow("run", "--profile", path, "--", "sh", "-c", script)
    return done.stdout.split(), done.stderr


def test_filter_log(uplinks: UplinkLab, system: System) -> None:
    assert len((EXAMPLES / "filter_log.py").read_text().splitlines()) <= 15
    got, said = fetches(system, profile(system, "filter_log.py:Log"), "four.lab")
    assert got == ["1024"], said
    assert "curl -> four.lab:80" in said


@pytest.mark.parametrize(("hours", "size"), [("from = 0, to = 24", "0"), ("from = 0, to = 0", "1024")])
def test_homework_hours(uplinks: UplinkLab, system: System, hours: str, size: str) -> None:
    configuration = f'configuration = {{{hours}, words = ["site"]}}'
    got, said = fetches(
        system, profile(system, "homework_hours.py:HomeworkHours", configuration), "site.lab", "four.lab"
    )
    assert got == [size, "1024"], said


def test_ask_first(uplinks: UplinkLab, system: System) -> None:
    """Somebody at a terminal says yes to the first host and no to the second."""
    ours, theirs = pty.openpty()
    asked = []

    def person() -> None:
        for answer in (b"y\n", b"n\n"):
            question = b""
            while not question.endswith(b"[y/n] "):
                question += os.read(ours, 1000)
            asked.append(question)
            os.write(ours, answer)

    sitting = threading.Thread(target=person, daemon=True)
    sitting.start()
    configuration = f'configuration = {{terminal = "{os.ttyname(theirs)}"}}'
    got, said = fetches(
        system, profile(system, "ask_first.py:AskFirst", configuration), "four.lab", "four.lab", "site.lab"
    )
    sitting.join(60)
    assert got == ["1024", "1024", "0"], said
    assert b"four.lab" in asked[0]
    assert b"site.lab" in asked[1]
    os.close(ours)
    os.close(theirs)


def test_the_school_gateway(uplinks: UplinkLab, system: System) -> None:
    folder = Path(system.directory) / "school"
    shutil.copytree(EXAMPLES / "school", folder)
    path = folder / "school.toml"
    path.write_text(path.read_text().replace('mode = "fake"', f'mode = "fake,{DNS}"').replace("/tmp", str(folder)))
    path.chmod(0o600)
    folder.chmod(0o777)
    system.ok("up", str(path), "--gateway", "lan0")
    curl = ["curl", "-sS", "-m", "30", "--resolve", f"site.lab:80:{SITE4}"]
    page = uplinks.behind.run([*curl, "http://site.lab/1k"], check=False).stdout
    assert "This page is blocked" in page, system.log()
    assert "Ask Ms Miller in room 12." in page
    size = [*curl, "-o", "/dev/null", "-w", "%{size_download}", "http://four.lab/1k"]
    assert uplinks.behind.run(size, check=False).stdout == "1024", system.log()
