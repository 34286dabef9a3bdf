"""Other programs' files where a profile is named: taken as they are, or one line that says what to do."""

from __future__ import annotations

import argparse
import json
from base64 import b64encode
from math import inf
from pathlib import Path

import pytest

from tunflow.cli.instructions import Instructions
from tunflow.errors import LocalError
from tunflow.profiles.profile import Profile
from tunflow.profiles.store import ProfileStore, parse_text

LINK = "ss://YWVzLTI1Ni1nY206cA@192.0.2.1:8388#a"
SERVER = {"server": "192.0.2.1", "server_port": 8388, "method": "aes-256-gcm", "password": "p"}
CLASH = (
    "proxies:\n- {name: a, type: ss, server: 192.0.2.1, port: 8388, cipher: aes-256-gcm, password: p}\n"
    "rules:\n- MATCH,a\n"
)
SURGE = "[Proxy]\na = ss, 192.0.2.1, 8388, encrypt-method=aes-256-gcm, password=p\n[Rule]\nFINAL,a\n"
SING_BOX = json.dumps({"outbounds": [{**SERVER, "type": "shadowsocks", "tag": "a"}], "route": {"final": "a"}})
XRAY = json.dumps(
    {
        "outbounds": [
            {
                "protocol": "shadowsocks",
                "tag": "a",
                "settings": {
                    "servers": [{"address": "192.0.2.1", "port": 8388, "method": "aes-256-gcm", "password": "p"}]
                },
            }
        ],
        "routing": {"rules": []},
    }
)
FILES = {
    "clash.yaml": CLASH,
    "clash.txt": CLASH,
    "surge.conf": SURGE,
    "sing-box.json": SING_BOX,
    "xray.json": XRAY,
    "sip008.json": json.dumps({"version": 1, "servers": [SERVER]}),
    "links.txt": f"{LINK}\n",
    "base64.txt": b64encode(f"{LINK}\n".encode()).decode(),
    "without-suffix": CLASH,
    "bom.json": "\ufeff" + SING_BOX,
    "own.txt": f'server = "{LINK}"\n',
    "own": f'server = "{LINK}"\n',
}


def addresses(profile: Profile) -> set[tuple[str, int] | None]:
    links = [*profile.server, *(link for section in profile.servers.values() for link in section.links)]
    return {link.server.first_hop for link in links}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_another_program_reads_is_a_profile(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text(FILES[name], encoding="utf-8")
    assert addresses(ProfileStore([tmp_path / "saved"]).load(str(file))) == {("192.0.2.1", 8388)}
    assert addresses(parse_text(FILES[name], str(file))) == {("192.0.2.1", 8388)}


def test_servers_of_a_list_that_are_not_taken_are_told(tmp_path: Path) -> None:
    file = tmp_path / "list.json"
    file.write_text(json.dumps({"servers": [SERVER, {**SERVER, "method": "rc4-md5"}]}))
    told: list[str] = []
    assert addresses(ProfileStore([], told.append).load(str(file))) == {("192.0.2.1", 8388)}
    assert len(told) == 1
    assert "servers[1]: the method rc4-md5" in told[0]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("lost.json", SING_BOX.replace("shadowsocks", "naive"), "naive"),
        ("page.txt", "<!doctype html><p>no</p>", "a web page, not a list of servers"),
        ("odd.json", "{", "looks like JSON and is not valid"),
        ("empty.txt", "", "holds no server"),
        ("wrong.toml", "servr = 1\n", "servr"),
        ("wrong", "servr = ", "not valid TOML"),
        ("rules.conf", "DOMAIN,a.example\n", "a list of rules"),
    ],
)
def test_a_file_that_holds_no_profile_is_refused_by_what_it_is(
    tmp_path: Path, name: str, content: str, said: str
) -> None:
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(LocalError, match=said):
        ProfileStore([]).load(str(file))


@pytest.mark.parametrize("link", [LINK, "https://provider.example/list"])
def test_a_link_is_no_profile_and_the_line_says_how_it_is_given(link: str) -> None:
    with pytest.raises(LocalError, match="given as --server URL, and tunflow profile import URL"):
        ProfileStore([]).load(link)


def test_a_saved_profile_may_be_called_as_a_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "list.txt.toml").write_text(f'server = "{LINK}"\n')
    monkeypatch.chdir(tmp_path)
    store = ProfileStore([saved])
    assert store.load("list.txt").name == "list.txt"
    (tmp_path / "list.txt").write_text(LINK.replace("192.0.2.1", "192.0.2.9"))
    assert addresses(store.load("list.txt")) == {("192.0.2.9", 8388)}, "a file that is there"
    with pytest.raises(LocalError, match=r"cannot read the profile other\.json"):
        store.load("other.json")


def test_the_command_hands_on_where_a_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sb.json").write_text(SING_BOX)
    given = argparse.Namespace(
        profile="sb.json", server=[], dns=None, kill_switch=None, exclude_lan=None, per_app=None, gateway=None,
        on_demand=None, replace=False, verbose=False, memory_limit=inf, pcap=None, stats=False, api=None,
    )  # fmt: skip
    assert Instructions.given(given).profile == str(tmp_path / "sb.json")
    given.profile = "other.json"
    assert Instructions.given(given).profile == "other.json"
