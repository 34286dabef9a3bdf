"""`tunflow groups test`: how long servers take to answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tunflow.cli import main


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def profile(tmp_path: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as web:
        threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        file = tmp_path / "p.toml"
        many = "\n".join(f'many{number}.url = "direct://"' for number in range(40))
        file.write_text(
            f'rules = ["MATCH,some"]\n[servers]\ngone.url = "block://"\n{many}\n[groups]\n'
            f'some = {{ type = "select", servers = ["many1", "gone", "DIRECT", "inner"] }}\n'
            f'inner = {{ type = "url-test", servers = {json.dumps([f"many{n}" for n in range(40)] + ["gone"])}, '
            f'url = "http://127.0.0.1:{web.server_port}/" }}\n'
        )
        yield str(file)
        web.shutdown()


def test_every_server_is_asked_and_the_fastest_stand_first(profile, capsys) -> None:
    assert main(["groups", "test", "--profile", profile, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 41
    assert found[-1] == {"name": "gone", "works": False, "delay": None}
    delays = [each["delay"] for each in found[:-1]]
    assert delays == sorted(delays)
    assert 0 < delays[0] < 5


def test_the_servers_of_a_group_through_other_groups_each_once(profile, capsys) -> None:
    assert main(["groups", "test", "some", "--profile", profile]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 41
    assert lines[-1].split() == ["gone", "no", "answer"]
    assert lines[0].endswith(" ms")


def test_one_server_that_does_not_work_is_told_by_the_exit_status(profile, capsys) -> None:
    assert main(["groups", "test", "gone", "--profile", profile]) == 1
    assert capsys.readouterr().out == "gone  no answer\n"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (
            ["groups", "test", "nobody", "--profile"],
            "there is no group or server 'nobody'; there are: some, inner, gone",
        ),
        (["groups", "some", "many1", "--profile"], "--profile goes with test"),
    ],
)
def test_what_is_wrong_is_one_line(profile, capsys, arguments, why) -> None:
    assert main([*arguments, profile]) == 2
    assert why in capsys.readouterr().err


def test_without_a_tunnel_the_other_way_is_told(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("TUNFLOW_RUNTIME_DIR", str(tmp_path))
    assert main(["groups", "test"]) == 2
    assert "no tunnel is up: tunflow groups test --profile PROFILE" in capsys.readouterr().err
