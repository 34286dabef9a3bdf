"""What is known of groups after a restart of the tunnel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunflow.rules.groups import Group, Groups, Health
from tunflow.tunnel.group_memory import LARGEST, GroupMemory

SERVERS = ("a", "b", "c")


def made(*groups: Group, servers: tuple[str, ...] = SERVERS) -> Groups:
    mine = groups or (Group("pick", "select", SERVERS), Group("auto", "url-test", SERVERS))
    return Groups(mine, servers, Health(lambda: 0.0))


def asked(groups: Groups, now: float, delays: dict[str, float | None]) -> None:
    """Have every server of `auto` asked, with these answers."""
    groups.used("auto", now)
    groups.health.handle_timeout(now)
    while groups.health.due:
        server = groups.health.due.pop(0)
        delay = delays[server]
        if delay is None:
            groups.health.failed(server, now)
        else:
            groups.health.succeeded(server, delay, now)


def test_choices_and_health_are_there_after_a_restart(tmp_path: Path) -> None:
    path, said = tmp_path / "groups" / "home.json", []
    before = made()
    before.select("pick", "c")
    asked(before, 0.0, {"a": 0.3, "b": 0.1, "c": None})
    assert before.way("auto", "")[-1] == "b"
    GroupMemory(path, said.append).keep(before)
    assert path.stat().st_mode & 0o777 == 0o600
    after = made()
    GroupMemory(path, said.append).recall(after)
    assert not said
    assert after.way("pick", "")[-1] == "c"
    assert after.way("auto", "")[-1] == "b"
    facts = {each["name"]: each for each in after.facts()[1]["members"]}
    assert (facts["a"]["delay"], facts["c"]["works"]) == (0.3, False)
    after.used("auto", 5.0)
    after.health.handle_timeout(5.0)
    assert sorted(after.health.due) == ["a", "b", "c"], "what is old is asked again when somebody needs to know"


def test_what_does_not_exist_any_more_is_told_and_dropped(tmp_path: Path) -> None:
    path, said = tmp_path / "home.json", []
    before = made()
    before.select("pick", "c")
    asked(before, 0.0, {"a": 0.3, "b": 0.1, "c": 0.2})
    before.way("auto", "")
    GroupMemory(path, said.append).keep(before)
    after = made(Group("pick", "select", ("a", "b")), servers=("a", "b"))
    GroupMemory(path, said.append).recall(after)
    assert said == [
        "there is no more: 'c' in the group 'pick', where it was chosen, the group 'auto', where 'b' was chosen, "
        "the server 'c'"
    ]
    assert after.way("pick", "")[-1] == "a"
    said.clear()
    GroupMemory(path, said.append).recall(made(Group("pick", "select", ("a", "b")), servers=("a", "b")))
    assert not said, "it is told once"


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"\xff", b"[" * 100_000, b" " * (LARGEST + 1),
    ],
)  # fmt: skip
def test_a_file_that_is_something_else_costs_the_memory_only(tmp_path: Path, content: bytes) -> None:
    path, said = tmp_path / "home.json", []
    path.write_bytes(content)
    groups = made()
    GroupMemory(path, said.append).recall(groups)
    assert said == [f"what was chosen in groups is not known: {path} is no file of ours"]


@pytest.mark.parametrize(
    "memory",
    [
        {"chosen": 5, "servers": []},
        {"chosen": {"pick": 7}, "servers": {"a": "x", "b": -1, "c": True}},
        {"chosen": {"pick": ["a"]}, "servers": {"a": 1e300}},
    ],
)
def test_values_that_are_none_are_passed_over(tmp_path: Path, memory: object) -> None:
    path = tmp_path / "home.json"
    path.write_text(json.dumps(memory))
    groups = made()
    GroupMemory(path, lambda _: None).recall(groups)
    assert groups.way("pick", "")[-1] == "a"
    assert groups.health.memory() == {}


def test_a_folder_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said: list[str] = []
    memory = GroupMemory(tmp_path / "file" / "home.json", said.append)
    groups = made()
    memory.keep(groups)
    memory.keep(groups)
    assert len(said) == 1
    assert "will not be known after a restart" in said[0]
