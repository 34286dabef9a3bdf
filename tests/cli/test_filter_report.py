"""A filter's log and status in words."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from tunflow.cli import main
from tunflow.cli.device_names import DeviceNames
from tunflow.cli.filter_report import event_line, most_blocked, status_lines, who_was_blocked
from tunflow.profiles.sections.filter import FilterSection

AT = "2026-03-02T15:04:05.678+01:00"
LISTED = {
    "event": "blocked",
    "time": AT,
    "host": "games.example",
    "why": "blocked by games:12",
    "list": "games",
    "line": 12,
}
EVENTS = [
    {"event": "counts", "time": AT, "blocked": 3, "passed": 40, "list games": 2, "list ads": 1, "forged": 1},
    {**LISTED, "category": "homework"},
    {**LISTED, "client": "192.168.7.20", "device": "3c:22:fb:01:02:03"},
    {"event": "blocked", "time": AT, "host": "ads.example", "why": "blocked by ads:1", "list": "ads", "line": 1},
    {"event": "passed", "time": AT, "host": "fine.example", "why": "no rule is about it"},
    {"event": "counts", "time": "2026-03-01T23:59:59+01:00", "blocked": 1},
]


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        (EVENTS[1], "Mon 2026-03-02 15:04:05  blocked  games.example  list games, line 12 (homework)"),
        (
            EVENTS[2],
            "Mon 2026-03-02 15:04:05  blocked  games.example  192.168.7.20 [3c:22:fb:01:02:03]  list games, line 12",
        ),
        (
            {
                **LISTED,
                "url": "http://games.example/a",
                "program": "/usr/bin/firefox",
                "uid": 0,
                "client": "198.18.0.1",
            },
            "Mon 2026-03-02 15:04:05  blocked  http://games.example/a  firefox of root  list games, line 12",
        ),
        (
            {**LISTED, "why": "it is an alias of t.bad.example: blocked by games:12"},
            "Mon 2026-03-02 15:04:05  blocked  games.example  list games, line 12: it is an alias of t.bad.example",
        ),
        (
            {"event": "blocked", "time": AT, "host": "1.2.3.4", "why": "TLS to a bare address (raw-ip is closed)"},
            "Mon 2026-03-02 15:04:05  blocked  1.2.3.4  TLS to a bare address (raw-ip is closed)",
        ),
        (
            EVENTS[0],
            "Mon 2026-03-02 15:04:05  3 blocked, 40 passed, 1 forged (by lists: games 2, ads 1)",
        ),
        (
            {
                "event": "ended",
                "time": AT,
                "host": "a.example",
                "bytes_in": 1234567,
                "bytes_out": 99,
                "client": "10.0.0.1",
            },
            "Mon 2026-03-02 15:04:05  ended    a.example  10.0.0.1  1.2 MB in, 99 B out",
        ),
        (
            {"event": "blocked", "time": "never", "host": "a\x1b[31m\n\x9b", "why": "x\x07"},
            "at some time  blocked  a\ufffd[31m\ufffd\ufffd  x\ufffd",
        ),
        ({}, "at some time  ?        ?"),
    ],
)
def test_a_line_tells_when_what_for_whom_and_why(facts, line):
    assert event_line(facts) == line


def test_a_device_is_called_what_the_profile_calls_it():
    devices = {
        "ann's phone": {"clients": ["3c:22:fb:01:02:03"]},
        "room 12": {"clients": ["10.7.12.0/24"]},
        "screen": {"clients": ["10.7.12.9"]},
    }
    names = DeviceNames(FilterSection.model_validate({"devices": devices}))
    told = {
        ("192.168.7.20", "3c:22:fb:01:02:03"): "ann's phone (192.168.7.20 [3c:22:fb:01:02:03])",
        ("10.7.12.9", ""): "room 12, screen (10.7.12.9)",
        ("10.7.13.9", "3c:22:fb:01:02:04"): "10.7.13.9 [3c:22:fb:01:02:04]",
        ("nobody", ""): "nobody",
    }
    events = [{**LISTED, "client": client, **({"device": device} if device else {})} for client, device in told]
    assert [*who_was_blocked(map(names.named, events))] == [*told.values()]
    assert names.named(LISTED) == LISTED
    assert DeviceNames(None).named(events[0]) == events[0]


def test_what_was_blocked_most_and_for_whom():
    assert [(each.host, each.times) for each in most_blocked(EVENTS)] == [("games.example", 2), ("ads.example", 1)]
    assert who_was_blocked(EVENTS) == {"192.168.7.20 [3c:22:fb:01:02:03]": 1}


def test_the_status_is_about_what_a_teacher_set_up():
    section = FilterSection.model_validate(
        {
            "close": ["encrypted-dns", "quic"],
            "only_allowed": True,
            "safe_search": True,
            "schedules": {"homework": {"weekdays": ["mon-fri"], "from": "15:00", "to": "18:00"}},
            "lists": [
                {
                    "name": "games",
                    "file": "g",
                    "category": "fun",
                    "schedule": "homework",
                    "clients": ["10.7.0.0/24"],
                },
                {"name": "needed", "file": "n", "action": "allow", "uids": [0]},
            ],
        }
    )
    blocked = [facts for facts in EVENTS if facts["event"] == "blocked"]
    said = dict(status_lines(section, "school.toml", "log.jsonl", EVENTS, date(2026, 3, 2)))
    assert said == {
        "filter": "on, of school.toml",
        "blocks": "games (fun), mon-fri 15:00-18:00, for 10.7.0.0/24",
        "allows": "needed, for root",
        "else": "only what a list allows may pass",
        "closed": "encrypted DNS, QUIC (HTTP/3)",
        "search": "engines and YouTube are held to their strict modes",
        "failure": "what it cannot judge is refused",
        "log": "log.jsonl: what was blocked, not for whom",
        "today": "3 blocked, 40 passed, 1 forged (by lists: games 2, ads 1)",
        "in all": "4 blocked, 40 passed, 1 forged (by lists: games 2, ads 1)",
        "mostly": "games.example (2), ads.example (1)",
        "for": "192.168.7.20 [3c:22:fb:01:02:03] (1)",
        "last": event_line(blocked[-1]),
        "": event_line(blocked[0]),
    }


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "p.toml"
    path.write_text(f'server = "direct://"\n[filter]\nlog = "{tmp_path}/log"\n')
    path.chmod(0o600)
    (tmp_path / "log").write_text("".join(f"{json.dumps(facts)}\n" for facts in EVENTS) + "half a li")
    return path


def test_the_log_in_words_and_as_it_is(profile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["filter", "log", str(profile)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(EVENTS) + 1
    assert "games.example" in lines[1]
    assert "half a li" in lines[-1]
    assert "not a line of a filter's log" in lines[-1]
    assert main(["filter", "log", str(profile), "--blocked", "--json"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == EVENTS[1:4]


def test_what_was_blocked_most(profile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["filter", "log", str(profile), "--top"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "      2  games.example  list games, line 12",
        "      1  ads.example  list ads, line 1",
        "for",
        "      1  192.168.7.20 [3c:22:fb:01:02:03]",
    ]
    assert main(["filter", "log", str(profile), "--top", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(each["host"], each["times"]) for each in found["hosts"]] == [("games.example", 2)]
    assert found["for"] == [{"who": "192.168.7.20 [3c:22:fb:01:02:03]", "count": 1}]
    assert main(["filter", "log", str(profile), "--top", "--follow"]) == 2
    assert "cannot be given together" in capsys.readouterr().err
    for number in ("0", "-1"):
        assert main(["filter", "log", str(profile), "--top", number]) == 2
        assert "expected a number from 1 on" in capsys.readouterr().err
    (profile.parent / "log").write_text("")
    assert main(["filter", "log", str(profile), "--top"]) == 0
    assert capsys.readouterr().out == "nothing was blocked\n"


def test_the_status_command(profile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["filter", "status", str(profile)]) == 0
    said = capsys.readouterr().out
    assert "in all   4 blocked, 40 passed, 1 forged (by lists: games 2, ads 1)" in said
    assert main(["filter", "status", str(profile), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["counts"] == {"blocked": 4, "passed": 40, "forged": 1, "list games": 2, "list ads": 1}
    assert found["most_blocked"][0]["host"] == "games.example"
    assert found["blocked_for"] == {"192.168.7.20 [3c:22:fb:01:02:03]": 1}
    assert [each["host"] for each in found["last_blocked"]] == ["ads.example", "games.example", "games.example"]
