"""`tunflow profile` as users type it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunflow.cli import main

LINK = "ss://YWVzLTEyOC1nY206dGVzdA@192.168.100.1:8888#Example1"
PASSWORD = "YWVzLTEyOC1nY206dGVzdA"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("TUNFLOW_SERVER", raising=False)
    return tmp_path / "tunflow" / "profiles"


def test_from_add_to_remove(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "add", "home", LINK, "--json"]) == 0
    added = json.loads(capsys.readouterr().out)
    assert added["file"] == str(home / "home.toml")
    assert (home / "home.toml").stat().st_mode & 0o777 == 0o600

    assert main(["profile", "list", "--json"]) == 0
    (listed,) = [each for each in json.loads(capsys.readouterr().out) if each["name"] == "home"]
    assert listed["servers"] == ["ss://aes-128-gcm@192.168.100.1:8888#Example1"]

    assert main(["profile", "show", "home"]) == 0
    shown = capsys.readouterr().out
    assert "192.168.100.1" in shown
    assert PASSWORD not in shown
    assert main(["profile", "show", "home", "--secrets"]) == 0
    assert LINK in capsys.readouterr().out
    assert main(["profile", "show", "home", "--qr"]) == 0
    assert "█" in capsys.readouterr().out

    assert main(["profile", "remove", "home"]) == 0
    assert main(["profile", "show", "home"]) == 2
    assert "there is no profile 'home'" in capsys.readouterr().err


def test_nothing_is_replaced_by_accident(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "add", "home", LINK]) == 0
    assert main(["profile", "add", "home", "direct://"]) == 2
    assert main(["profile", "import", "direct://", "--name", "home"]) == 2
    assert "--replace" in capsys.readouterr().err
    assert LINK in (home / "home.toml").read_text()
    assert main(["profile", "import", "gopher://x", "--name", "home", "--replace"]) == 2
    assert LINK in (home / "home.toml").read_text()
    assert main(["profile", "add", "home", "direct://", "--replace"]) == 0
    assert LINK not in (home / "home.toml").read_text()


def test_a_chain_and_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNFLOW_SERVER", f"{LINK} {LINK}")
    assert main(["profile", "add", "two"]) == 0
    assert (home / "two.toml").read_text().count(LINK) == 2


def test_a_partial_import_tells_what_it_skipped(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = tmp_path / "list.txt"
    given.write_text(f"{LINK}\ngopher://x\n{LINK}\n")
    assert main(["profile", "import", str(given)]) == 0
    said = capsys.readouterr()
    assert "skipped line 2: unknown server scheme" in said.err
    assert "saved list with 2 servers" in said.out
    given.write_text("nothing of use")
    assert main(["profile", "import", str(given), "--replace"]) == 2
    assert (home / "list.toml").read_text().count(LINK) == 2


def test_an_import_of_shadowvpns_files(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for mode in ("client", "server"):
        (tmp_path / f"{mode}.conf").write_text(f"mode={mode}\nserver=192.0.2.1\nport=1123\npassword=s3cret\n")
    assert main(["profile", "import", str(tmp_path / "client.conf")]) == 0
    assert f"saved client with provider shadowvpn in {home / 'client.toml'}" in capsys.readouterr().out
    assert main(["profile", "import", str(tmp_path / "server.conf")]) == 2
    said = capsys.readouterr().err
    assert "mode is 'server'; accepted is client" in said
    assert "s3cret" not in said
    assert not (home / "server.toml").exists()


def test_a_broken_profile_is_listed_with_what_is_wrong(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home.mkdir(parents=True)
    (home / "bad.toml").write_text("\nservr = 'x'\n")
    assert main(["profile", "list"]) == 0
    assert "bad.toml:2: servr is not a key; did you mean server?" in capsys.readouterr().out
    assert main(["profile", "show", "bad"]) == 2


def test_secrets_of_every_kind_are_hidden(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home.mkdir(parents=True)
    (home / "all.toml").write_text(
        "[provider_configuration]\nhost='SECRET'\nports=['SECRET', 5]\n"
        f"[servers.a]\nchain=['{LINK}', '{LINK}']\n"
        "[rule_sets.b]\nbehavior='domain'\nurl='https://SECRET:SECRET@host/path?token=SECRET'\n"
    )
    assert main(["profile", "show", "all", "--json"]) == 0
    shown = capsys.readouterr().out
    assert "SECRET" not in shown
    assert PASSWORD not in shown
    assert "https://host/path" in shown
