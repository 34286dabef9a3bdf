"""Nothing of who runs the tests is seen by them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from own_home import own_home


def test_what_leads_to_the_users_own_is_gone_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNFLOW_SERVER", "ss://theirs")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/theirs")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("LEFT_ALONE", "yes")
    before = dict(os.environ)
    with own_home(tmp_path):
        assert not {"TUNFLOW_SERVER", "XDG_CONFIG_HOME", "https_proxy", "NO_PROXY"} & os.environ.keys()
        assert os.environ["LEFT_ALONE"] == "yes"
        assert Path.home().parent == tmp_path
        assert not list(Path.home().iterdir())
        os.environ["XDG_DATA_HOME"] = "left behind"
    assert dict(os.environ) == before


def test_each_has_another(tmp_path: Path) -> None:
    homes = set()
    for _ in range(2):
        with own_home(tmp_path):
            homes.add(Path.home())
    assert len(homes) == 2


def test_this_test_has_one() -> None:
    assert Path.home().parent.name.startswith("tunflow-homes-")
    assert not {"TUNFLOW_SERVER", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"} & os.environ.keys()
