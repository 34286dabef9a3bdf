"""A filter's log on a disk that is full for a while."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

import pytest

from open_files import open_files, opened_since
from tunflow.cli.filter import log_lines
from tunflow.cli.filter_report import event_line
from tunflow.endpoint import endpoint
from tunflow.filter.judge import Ruling
from tunflow.flow import FlowInfo
from tunflow.providers.filter_flow import FilterFlow
from tunflow.tunnel.filter_log import FilterLog

BLOCKED = Ruling(True, "blocked by l", "l", 1)
FLOW = FilterFlow(FlowInfo("tcp", endpoint("192.0.2.1", 1), endpoint("192.0.2.2", 80), None))


class Disk:
    """Opens the log, or one that every write finds full (full(4))."""

    def __init__(self) -> None:
        self.full = False

    def __call__(self, path, append):
        kind = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open("/dev/full" if self.full else path, kind, 0o600)


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def said():
    return []


@pytest.fixture
def make(tmp_path, disk, said):
    def made(privacy="domains"):
        return FilterLog(tmp_path / "log", privacy, lambda: datetime(2026, 1, 1, tzinfo=UTC), said.append, disk)

    return made


def events(tmp_path):
    return [json.loads(line) for line in log_lines(tmp_path / "log", follow=False)]


def test_it_goes_on_when_the_disk_is_not_full_any_more(tmp_path, disk, said, make):
    before = open_files()
    disk.full = True
    log = make()
    for number in range(3):
        log.record(FLOW, BLOCKED, f"lost{number}.example")
    log.flush()
    assert len(said) == 1
    assert "cannot be written: [Errno 28] No space left on device; tried again every minute" in said[0]
    disk.full = False
    log.flush()
    log.record(FLOW, BLOCKED, "kept.example")
    log.close()
    assert said[1:] == [f"filter: the log {tmp_path / 'log'} goes on; lines missing: 3"]
    assert not opened_since(before)
    gap, counts, kept, rest = events(tmp_path)
    assert event_line(gap).endswith("lines missing here: 3 (the log could not be written)")
    assert (counts["blocked"], kept["host"], rest["blocked"]) == (3, "kept.example", 1)
    assert [line["host"] for line in log.recent] == [f"lost{number}.example" for number in range(3)] + ["kept.example"]


def test_what_a_full_disk_cut_stays_a_line_of_its_own(tmp_path, disk, make):
    (tmp_path / "log").write_bytes('{"host": "f\u00fc'.encode()[:-1])
    disk.full = True
    log = make()
    log.record(FLOW, BLOCKED, "lost.example")
    disk.full = False
    log.close()
    half, *rest = log_lines(tmp_path / "log", follow=False)
    assert half.startswith('{"host": "f')
    assert [json.loads(line)["event"] for line in rest] == ["gap", "counts"]


def test_a_log_that_cannot_be_opened_again_is_tried_again(tmp_path, disk, said, make):
    disk.full = True
    log = make("counts")
    log.record(FLOW, BLOCKED, "host.example")
    log.flush()
    disk.full = False
    (tmp_path / "log").mkdir()
    log.flush()
    (tmp_path / "log").rmdir()
    log.flush()
    log.close()
    assert len(said) == 2
    assert [(line["event"], line.get("missing", line.get("blocked"))) for line in events(tmp_path)] == [
        ("gap", 0),
        ("counts", 1),
    ]


def test_a_full_log_is_begun_anew_and_what_could_not_be_is_missing_once(tmp_path, disk, said, make, monkeypatch):
    monkeypatch.setattr("tunflow.tunnel.filter_log.LARGEST_LOG", 1)
    log = make()
    log.record(FLOW, BLOCKED, "first.example")
    (tmp_path / "log").unlink()
    log.record(FLOW, BLOCKED, "second.example")
    assert [line["host"] for line in events(tmp_path)] == ["second.example"]
    disk.full = True
    log.record(FLOW, BLOCKED, "lost.example")
    disk.full = False
    log.close()
    assert said[1:] == [f"filter: the log {tmp_path / 'log'} goes on; lines missing: 1"]
    assert [line["event"] for line in events(tmp_path)] == ["blocked", "gap", "counts"]


def test_what_is_not_to_be_written_down_is_not_counted_as_missing(tmp_path, said, make):
    log = make("none")
    log.record(FLOW, BLOCKED, "host.example")
    log.flush()
    log.close()
    assert not said
    assert not (tmp_path / "log").exists()
