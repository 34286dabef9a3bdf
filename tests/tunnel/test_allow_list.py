"""Hosts that are let in while the filter runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tunflow.errors import LocalError
from tunflow.filter.judge import Subject
from tunflow.profiles.profile import Profile
from tunflow.profiles.store import load_profile
from tunflow.tunnel.filter_lists import moment
from tunflow.tunnel.filtering import Filtering, files

LISTS = """
[[filter.lists]]
name = "games"
lines = ["game.example", "||never.example^$important", "||site.example/games/*"]
"""
ALLOWS = """
[[filter.lists]]
name = "needed"
file = "needed.txt"
action = "allow"
"""

Make = Callable[[str], Filtering]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    (tmp_path / "needed.txt").write_text("school.example")  # without a newline at its end

    def made(lists: str) -> Filtering:
        return Filtering(profile_of(tmp_path, lists), print)

    return made


def profile_of(folder: Path, lists: str, more: str = "") -> Profile:
    path = folder / "p.toml"
    path.write_text(f'server = "direct://"\n{more}\n[filter]\nlog = "log"\n{lists}')
    path.chmod(0o600)
    return load_profile(str(path), print)


@pytest.mark.parametrize(
    ("lists", "api", "may"),
    [
        (LISTS + ALLOWS, '[api]\nlisten = "127.0.0.1:9090"\nsecret = "x"', True),
        (LISTS + ALLOWS, '[api]\nlisten = "127.0.0.1:9090"', False),
        (LISTS + ALLOWS, "", False),
        (LISTS, '[api]\nlisten = "127.0.0.1:9090"\nsecret = "x"', False),
    ],
)
def test_only_an_api_with_a_secret_has_root_s_list_opened(tmp_path: Path, lists: str, api: str, may: bool) -> None:
    (tmp_path / "needed.txt").write_text("")
    assert ((tmp_path / "needed.txt", True) in files(profile_of(tmp_path, lists, api))) is may


def is_blocked(filtering: Filtering, host: str, url: str | None = None) -> bool:
    assert filtering.content is not None
    return filtering.content.judge.judge(Subject(host, 443, "tcp", url), moment(None)).blocked


def test_a_host_and_all_below_it_pass_from_now_on(make: Make, tmp_path: Path) -> None:
    filtering = make(LISTS + ALLOWS)
    assert is_blocked(filtering, "game.example")
    ruling = filtering.allow("Game.Example.")
    assert (ruling.blocked, ruling.list) == (False, "needed")
    assert not is_blocked(filtering, "game.example")
    assert not is_blocked(filtering, "www.game.example")
    first, why, host = (tmp_path / "needed.txt").read_text().splitlines()
    assert (first, host) == ("school.example", "game.example")
    assert why.endswith("let in by the API")
    assert not is_blocked(make(LISTS + ALLOWS), "game.example")  # and after a start, too


def test_a_url_that_is_blocked_passes_with_its_host(make: Make) -> None:
    filtering = make(LISTS + ALLOWS)
    assert is_blocked(filtering, "site.example", "http://site.example/games/1")
    filtering.allow("site.example")
    assert not is_blocked(filtering, "site.example", "http://site.example/games/1")


def test_what_is_there_is_not_written_again(make: Make, tmp_path: Path) -> None:
    filtering = make(LISTS + ALLOWS)
    filtering.allow("school.example")
    filtering.allow("www.school.example")
    assert (tmp_path / "needed.txt").read_text() == "school.example"


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("never.example", "would be blocked all the same: .*games"),
        ("", "is no host"),
        ("a.example\n||*^", "is no host"),
        ("@@||a.example^", "is no host"),
        ("*", "is no host"),
        ("*.com", "is no host"),
        ("||com", "is no host"),
    ],
)
def test_nothing_changes_when_it_does_not_help(make: Make, tmp_path: Path, host: str, words: str) -> None:
    filtering = make(LISTS + ALLOWS)
    assert filtering.content is not None
    judge = filtering.content.judge
    with pytest.raises(LocalError, match=words):
        filtering.allow(host)
    assert filtering.content.judge is judge
    assert (tmp_path / "needed.txt").read_text() == "school.example"


@pytest.mark.parametrize("lists", [LISTS, LISTS + ALLOWS + 'clients = ["192.0.2.0/24"]\n'])
def test_without_a_list_for_everybody_it_is_said_what_to_do(make: Make, lists: str) -> None:
    with pytest.raises(LocalError, match=r'action = "allow" and a file'):
        make(lists).allow("game.example")


def test_a_list_that_cannot_be_written_is_told(make: Make, tmp_path: Path) -> None:
    filtering = make(LISTS + ALLOWS)
    (tmp_path / "needed.txt").unlink()
    with pytest.raises(LocalError, match=r"needed\.txt"):
        filtering.allow("game.example")
    assert is_blocked(filtering, "game.example")
