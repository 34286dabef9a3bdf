"""What a profile file may say, what is said about one that is wrong, and how it is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cost import lines_executed
from tunflow.errors import LocalError
from tunflow.profiles import file as profile_file
from tunflow.profiles.profile import Profile
from tunflow.profiles.store import ProfileStore, directories
from tunflow.tunnel.compile import compile_profile

LINK = "ss://YWVzLTEyOC1nY206dGVzdA@192.168.100.1:8888#Example1"
"""Published in SIP002."""
ROOT = Path(__file__).parent.parent.parent


def parse(text: str) -> Profile:
    return profile_file.parse(text, "home.toml", "home")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nmae = 'x'", "home.toml:1: nmae is not a key; did you mean name?"),
        ("\n[tunnel]\nmtu = '1500'", "home.toml:3: tunnel.mtu must be a whole number"),
        ("[tunnel]\n\nmtu = true", "home.toml:3: tunnel.mtu must be a whole number"),
        ("[tunnel]\nmtu = 500", "home.toml:2: tunnel.mtu must be at least 1280"),
        ("[tunnel]\nkill_switch = 'yes'", "home.toml:2: tunnel.kill_switch must be true or false"),
        ("[tunnel]\nexcluded_routes = [\n'CN',\n'10.0.0.1/8']", "home.toml:4: tunnel.excluded_routes[1] must be"),
        ("server = [\n'direct://', 5]", "home.toml:2: server[1] must be a string in quotes"),
        ("server = 'gopher://x'", "home.toml:1: server unknown server scheme gopher://"),
        ("server = 'ss://aes-256-gcm:SECRET@'", "home.toml:1: server the ss:// link names no host"),
        ("tunnel = 5", "home.toml:1: tunnel must be a table"),
        ("rules = 'x'", "home.toml:1: rules must be a list in brackets"),
        ("[[apps]]\npath='/a'\n[[apps]]\naction='block'", "home.toml:3: apps[1] must have a condition"),
        ("[[apps]]\npath='curl'", "home.toml:2: apps[0].path must be a path that begins with /"),
        ("[[apps]]\nuid='no such user'", "home.toml:2: apps[0].uid must be a user of this host"),
        ("[[apps]]\npath='/a'\naction='tunel'", "home.toml:3: apps[0].action must be 'tunnel', 'direct' or 'block'"),
        ("[servers.a]\nurl='direct://'\nchain=['direct://']", "home.toml:1: servers.a must have either url or chain"),
        ("[groups.a]\ntype='select'", "home.toml:1: groups.a.servers is missing"),
        ("[groups.a]\ntype='url-test'\nservers=['b']\nurl='http://192.0.2.7:99999/'",
         "home.toml:4: groups.a.url must be an http:// or https:// URL in ASCII, its port from 1 to 65535"),
        ("provider = 'a b'", "home.toml:1: provider must be module:Class, path/to/file.py:Class or an entry"),
        ("name = '../x'", "home.toml:1: name must be 1 to 64 letters"),
        ("[on_demand]\nrules=[{action='evaluate-connection'}]", "home.toml:2: on_demand.rules[0] must have"),
        ("[filter.schedules.s]\nfrom='1:00'", "home.toml:2: filter.schedules.s.from must be a time like"),
        ("[filter.schedules.s]\nfrom='01:00'\nto='02:00'\ntime_zone='Europe/Nowhere'",
         "home.toml:4: filter.schedules.s.time_zone must be a time zone like"),
        ("[filter.schedules.s]\nfrom='01:00'\nto='02:00'\nweekdays=[]", "home.toml:4: filter.schedules.s.weekdays"),
        ("x = ", "home.toml: not valid TOML: "),
        ("x = " + "[" * 5000, "home.toml: not valid TOML: "),
    ],
)  # fmt: skip
def test_an_error_names_file_line_key_and_what_is_accepted(text: str, said: str) -> None:
    with pytest.raises(LocalError) as caught:
        parse(text)
    message = str(caught.value)
    assert message.startswith(said)
    assert "\n" not in message
    assert "SECRET" not in message


def test_a_profile_says_nothing_of_its_passwords() -> None:
    profile = parse(f"server = '{LINK}'\nprovider_configuration = {{ password = 'SECRET' }}\n[servers.a]\nurl='{LINK}'")
    assert "YWVz" not in repr(profile)
    assert "SECRET" not in repr(profile)


def test_a_key_knows_its_place() -> None:
    profile = parse("rules = [\n'MATCH,a',\n'MATCH,b']")
    assert profile.at("rules", 1) == "home.toml:3"
    assert profile.at("tunnel", "mtu") == "home.toml"
    assert profile.name == "home"


def test_where_it_was_read_from_makes_no_difference() -> None:
    assert parse("server='direct://'") == profile_file.parse("\n\nserver=['direct://']", "other.toml", "home")
    assert parse("server='direct://'") != parse("server='block://'")


def test_the_example_in_the_docs_is_a_profile() -> None:
    """docs/profiles.md shows every key there is."""
    page = (ROOT / "docs" / "profiles.md").read_text()
    profile = parse(page.split("```toml\n")[1].split("```")[0])
    shown = profile.model_dump(exclude_unset=True)
    assert set(Profile.model_fields) <= set(shown)
    assert set(type(profile.tunnel).model_fields) <= set(shown["tunnel"])
    assert profile.apps
    assert profile.on_demand.rules


def test_writing_keeps_comments_and_is_private(tmp_path: Path) -> None:
    file = tmp_path / "home.toml"
    file.write_text("# mine\nserver = 'direct://' # here\n[tunnel]\nkill_switch = false # for now\nmtu = 1400\n")
    profile = profile_file.load(file)
    tunnel = profile.tunnel.model_copy(update={"kill_switch": True, "mtu": None})
    profile_file.save(profile.model_copy(update={"tunnel": tunnel}), file)
    text = file.read_text()
    assert "# mine" in text
    assert "kill_switch = true # for now" in text
    assert "mtu" not in text
    assert file.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["home.toml"]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "profiles.md").read_text()
    profile = parse(page.split("```toml\n")[1].split("```")[0])
    profile_file.save(profile, tmp_path / "x.toml")
    assert profile_file.load(tmp_path / "x.toml") == profile


def test_ten_times_as_many_rules_cost_ten_times_as_much_to_write(tmp_path: Path) -> None:
    few, many = (
        Profile.parse({"server": ["direct://"], "rules": [f'DOMAIN,a"{n}.example,REJECT' for n in range(count)]}, "p")
        for count in (200, 2000)
    )
    costs = [lines_executed(lambda made=made: profile_file.save(made, tmp_path / "x.toml")) for made in (few, many)]
    assert costs[1] < 11 * costs[0]
    assert profile_file.load(tmp_path / "x.toml").rules == many.rules


def test_a_readable_password_is_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "home.toml"
    file.write_text(f"server = '{LINK}'")
    file.chmod(0o644)
    told: list[str] = []
    profile_file.load(file, told.append)
    assert told == [f"{file} holds a password and others may read it: chmod 600 {file}"]
    file.chmod(0o600)
    profile_file.load(file, pytest.fail)
    file.write_text("server = 'direct://'")
    file.chmod(0o644)
    profile_file.load(file, pytest.fail)


def test_places() -> None:
    assert directories({"XDG_CONFIG_HOME": "/x"}, 1000) == [Path("/x/tunflow/profiles")]
    assert directories({"HOME": "/home/a"}, 1000) == [Path("/home/a/.config/tunflow/profiles")]
    assert directories({"HOME": "/root"}, 0) == [Path("/etc/tunflow/profiles")]
    assert directories({"XDG_CONFIG_HOME": "relative", "HOME": "/root"}, 0) == [Path("/etc/tunflow/profiles")]


def test_a_name_or_a_path(tmp_path: Path) -> None:
    store = ProfileStore([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(LocalError, match="there is none yet: tunflow profile add"):
        store.load("home")
    assert store.save(Profile(name="home", server=("direct://",))) == tmp_path / "a" / "home.toml"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    assert [each.text for each in store.load("home").server] == ["direct://"]
    assert store.load(str(tmp_path / "a" / "home.toml")).name == "home"
    with pytest.raises(LocalError, match="there are: home"):
        store.load("work")
    with pytest.raises(LocalError, match="cannot read the profile"):
        store.load("./nowhere.toml")
    with pytest.raises(LocalError, match="no profile name"):
        store.remove("../etc/passwd")
    store.remove("home")
    assert store.names() == []


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(b"name = '\xff'")
    with pytest.raises(LocalError, match="not UTF-8"):
        profile_file.load(file)
    with pytest.raises(LocalError, match="cannot read"):
        profile_file.load(tmp_path)


@pytest.mark.parametrize(
    "url",
    ["http://h:0/", "http://h:x/", "http://[::1]x/", "http://[fe80::1%25eth0]/", "http://[1.2.3.4]/", "http://[::1/",
     "http:///x", "ftp://h/", "http://h/a b", "http://h/\u00fc", "http://b\u00fccher.example/", "http://a..b/",
     f"http://{'a' * 64}.example/", "http://h:\u0661/", "http://h/\u0007", "http://h:" + "9" * 5000 + "/"],
)  # fmt: skip
def test_a_url_that_cannot_be_asked_for_is_refused(url: str) -> None:
    with pytest.raises(LocalError, match=r"^home\.toml:2: rule_sets\.a\.url must be an http:// or https:// URL"):
        parse(f"[rule_sets.a]\nurl={json.dumps(url)}\nbehavior='domain'")


@pytest.mark.parametrize("url", ["http://h:65535/", "https://user:pass@h.example./x?y#z", "http://[2001:db8::1]:80/"])
def test_a_url_that_can_be_asked_for_is_taken(url: str) -> None:
    assert parse(f"[rule_sets.a]\nurl={json.dumps(url)}\nbehavior='domain'").rule_sets["a"].url == url


def test_a_server_is_read_once_and_travels_as_a_value(tmp_path):
    (tmp_path / "p.toml").write_text(
        'server = "ss://aes-256-gcm:secret@192.0.2.7:8388#x"\n[servers.a]\nchain = ["direct://", "tor://"]\n'
        '[servers.b]\ntype = "shadowsocks"\nmethod = "aes-256-gcm"\npassword = "secret"\nhost = "192.0.2.8"\nport = 1\n'
    )
    profile = profile_file.load(tmp_path / "p.toml")
    plan = compile_profile(profile)
    assert plan.chains["PROXY"][0] is profile.server[0].server
    assert plan.chains["a"][1] is profile.servers["a"].chain[1].server
    assert plan.chains["b"][0] is profile.servers["b"].links[0].server
    assert "secret" not in repr(profile)
    assert profile_file.as_data(profile)["servers"]["a"] == {"chain": ["direct://", "tor://"]}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('server = "nothing://x"', r"p\.toml:1: server.*unknown server scheme"),
        ('server = ["direct://",\n"ss://x"]', r"p\.toml:[12]: server\[1\]"),
        ("server = 7", r"p\.toml:1: server"),
        ("[servers.a]\nurl = 7", r"p\.toml:2: servers\.a\.url must be a string in quotes"),
        ('[servers.a]\nchain = ["tor://", "direct://"]', r"p\.toml:1: direct:// can only be the first"),
    ],
)
def test_a_server_that_is_none_is_named_with_its_line(tmp_path, text, where):
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(LocalError, match=where):
        compile_profile(profile_file.load(tmp_path / "p.toml"))
