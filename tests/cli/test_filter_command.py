"""`tunflow filter`: what it says of URLs, and of wrong input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunflow.cli import filter as filter_command
from tunflow.cli import main

LINES = "||site.example^\nfour.example/big\n10.9.9.9\n2001:db8::1\n"


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    (tmp_path / "list.txt").write_text(LINES)
    return written(tmp_path)


def written(folder: Path, more: str = "") -> Path:
    path = folder / "p.toml"
    path.write_text(f'server = "direct://"\n[filter]\n{more}\n[[filter.lists]]\nname = "school"\nfile = "list.txt"\n')
    path.chmod(0o600)
    return path


def judged(profile: Path, url: str, *options: str) -> list[str]:
    return ["filter", "test", url, "--profile", str(profile), *options]


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("site.example", 1),
        ("//www.SITE.example./x", 1),
        ("https://site.example/x", 1),
        ("four.example", None),
        ("four.example/big", 2),
        ("four.example:81/big", 2),
        ("http://four.example/%62ig", 2),
        ("four.example//big", 2),
        ("https://four.example/big", None),
        ("10.9.9.9", 3),
        ("::ffff:10.9.9.9", 3),
        ("2001:db8::1", 4),
        ("http://[2001:db8::1]:81/", 4),
        ("2001:db8::12", None),
    ],
)
def test_the_line_that_decides(profile: Path, capsys: pytest.CaptureFixture[str], url: str, line: int | None) -> None:
    assert main(judged(profile, url, "--json")) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["blocked"], said["line"]) == (line is not None, line)


@pytest.mark.parametrize("url", ["http://192.0.2.1/", "https://192.0.2.1/", "2001:db8::7", "3221225985"])
def test_bare_addresses_where_they_are_closed(tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str) -> None:
    (tmp_path / "list.txt").write_text(LINES)
    assert main(judged(written(tmp_path, 'close = ["raw-ip"]'), url)) == 0
    assert "raw-ip is closed" in capsys.readouterr().out


def test_safe_search_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.txt").write_text(LINES)
    assert main(judged(written(tmp_path, "safe_search = true"), "www.google.de")) == 0
    assert "forcesafesearch.google.com" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "arguments", "told"),
    [
        ("", ["ftp://site.example/"], "only http:// and https://"),
        ("", ["mailto:me@site.example"], "neither a URL nor a host"),
        ("", ["a..b"], "neither a URL nor a host"),
        ("", ["site.example", "--uid", "-1"], "--uid -1"),
        ("", ["site.example", "--at", "noon"], "--at 'noon'"),
        ('provider = "mine.py:Mine"', ["site.example"], "only it knows"),
    ],
)
def test_what_cannot_be_tested(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, arguments: list[str], told: str
) -> None:
    (tmp_path / "list.txt").write_text(LINES)
    assert main(judged(written(tmp_path, more), *arguments)) == 2
    said = capsys.readouterr().err
    assert told in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("way", ["renamed", "emptied"])
def test_a_log_that_is_begun_anew_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    log = tmp_path / "log"
    log.write_text("one\n")
    monkeypatch.setattr(filter_command, "LOOK_AGAIN", 0)
    lines = filter_command.log_lines(log, follow=True)
    assert next(lines) == "one\n"
    if way == "renamed":
        with log.open("a") as file:
            file.write("two\n")
        log.rename(tmp_path / "log.1")
        log.write_text("three\n")
        assert next(lines) == "two\n"
    else:
        log.write_text("")
        assert log.stat().st_size == 0
        log.write_text("3\n")
    assert next(lines) in {"three\n", "3\n"}


def test_a_line_that_was_half_there_when_the_log_was_begun_anew_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    log.write_text("on")

    def begin_anew(_: float) -> None:
        if log.read_text() == "on":
            log.write_text("one\n")
            log.rename(tmp_path / "log.1")
            log.write_text("two\n")

    monkeypatch.setattr(filter_command.time, "sleep", begin_anew)
    lines = filter_command.log_lines(log, follow=True)
    assert [next(lines), next(lines)] == ["one\n", "two\n"]


def test_a_filter_that_keeps_no_log_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, f'privacy = "none"\nlog = "{tmp_path}/log"')
    assert main(["filter", "log", str(path)]) == 2
    assert 'filter.privacy is "none"' in capsys.readouterr().err


def test_lists_tells_what_is_not_kept_by_its_reason(tmp_path, capsys):
    path = tmp_path / "p.toml"
    path.write_text('server = "direct://"\n[filter]\n[[filter.lists]]\nname = "school"\nfile = "list.txt"\n')
    path.chmod(0o600)
    (tmp_path / "list.txt").write_text(
        "||a.example^\n||b.example^$popup\n||c.example^$popup\n##.ad\naddress=/d.example/\n"
    )
    assert main(["filter", "lists", str(path)]) == 0
    said = capsys.readouterr().out
    assert "1 rule, 3 not kept here, 1 broken" in said
    assert "2 not kept: depends on $popup" in said
    assert "1 not kept: about what a page shows" in said
    assert "dnsmasq's configuration: write ||d.example^" in said
