"""Folders of another user: one line for whoever is led into them."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tunflow.errors import LocalError
from tunflow.host.runtime import SYSTEM, RuntimeDirectory
from tunflow.profiles.imports.importer import read_source
from tunflow.profiles.store import ProfileStore
from tunflow.protocols.registry import parse_server


@pytest.fixture
def forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def stat(self: Path, **_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setattr(Path, "exists", lambda self: bool(self.stat()) or True)


@pytest.mark.usefixtures("forbidden")
def test_status_in_the_runtime_directory_of_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNFLOW_RUNTIME_DIR", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert RuntimeDirectory.running().path == SYSTEM


@pytest.mark.usefixtures("forbidden")
def test_a_profile_in_the_home_of_another_user() -> None:
    with pytest.raises(LocalError, match="cannot look into /home/other: Permission denied"):
        ProfileStore([Path("/home/other")]).find("work")


def test_the_profiles_in_a_folder_of_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    def iterdir(folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", iterdir)
    with pytest.raises(LocalError, match="cannot look into /home/other: Permission denied"):
        ProfileStore([Path("/home/other")]).names()


def test_nothing_to_import() -> None:
    with pytest.raises(LocalError, match="nothing is named to import"):
        read_source("")


@pytest.mark.parametrize("host", ["a..b", ".a", ".."])
def test_a_host_with_an_empty_label(host: str) -> None:
    with pytest.raises(LocalError, match="empty label"):
        parse_server(f"socks5://{host}:1")
