"""Whose filter is meant: no tunnel is up here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunflow.cli.filter_profile import profile_in_use
from tunflow.errors import LocalError
from tunflow.profiles.store import ProfileStore

PLAIN = 'server = "direct://"\n'
FILTERED = PLAIN + "[filter]\n"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProfileStore:
    monkeypatch.setenv("TUNFLOW_RUNTIME_DIR", str(tmp_path / "run"))
    return ProfileStore([tmp_path])


def save(store: ProfileStore, name: str, text: str) -> None:
    path = store.places[0] / f"{name}.toml"
    path.write_text(text)
    path.chmod(0o600)


def test_the_only_profile_with_a_filter(store: ProfileStore) -> None:
    save(store, "home", PLAIN)
    save(store, "school", FILTERED)
    save(store, "broken", "server = [")
    assert profile_in_use(store) == "school"


def test_none_or_several_have_one(store: ProfileStore) -> None:
    save(store, "home", PLAIN)
    with pytest.raises(LocalError, match=r"no saved profile has a \[filter\]"):
        profile_in_use(store)
    save(store, "school", FILTERED)
    save(store, "office", FILTERED)
    with pytest.raises(LocalError, match=r"with a \[filter\]: office, school"):
        profile_in_use(store)
