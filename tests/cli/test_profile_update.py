"""Subscriptions: fetched again, the last good one kept, and what is left of them."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tunflow.cli import main
from tunflow.profiles.imports.user_info import UserInfo, parse_user_info_untrusted
from tunflow.profiles.store import load_profile


def link(name: str) -> str:
    return f"ss://YWVzLTI1Ni1nY206cA@192.0.2.1:8388#{name}"


class Provider:
    """A provider's web server: what it answers, and what it was asked."""

    def __init__(self) -> None:
        self.content = b""
        self.status = 200
        self.etag = '"1"'
        self.headers = {"Subscription-Userinfo": "upload=1000; download=2000; total=10000; expire=4102444800"}
        self.asked: list[tuple[str | None, str | None]] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                known = self.headers["If-None-Match"]
                provider.asked.append((self.headers["User-Agent"], known))
                same = known == provider.etag
                self.send_response(304 if same else provider.status)
                self.send_header("ETag", provider.etag)
                for each in provider.headers.items():
                    self.send_header(*each)
                self.end_headers()
                if not same:
                    self.wfile.write(provider.content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/SECRET/list"

    def gives(self, *names: str) -> None:
        self.content = b64encode("\n".join(map(link, names)).encode())
        self.etag = f'"{"-".join(names)}"'


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TUNFLOW_DATA_DIR", str(tmp_path / "data"))
    made = Provider()
    made.gives("a", "b", "c")
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_servers_are_fetched_again_and_what_was_written_beside_them_stays(provider, tmp_path, capsys) -> None:
    assert main(["profile", "import", provider.url, "--name", "sub", "--user-agent", "clash.meta"]) == 0
    assert provider.asked == [("clash.meta", None)]
    file = tmp_path / "config" / "tunflow" / "profiles" / "sub.toml"
    file.write_text(f"# mine\n{file.read_text()}\n[tunnel]\nkill_switch = true\n")
    capsys.readouterr()
    assert main(["profile", "update"]) == 0
    assert capsys.readouterr().out == "sub: as it was\n"
    assert provider.asked[1] == ("clash.meta", '"a-b-c"')
    provider.gives("b", "c", "d")
    assert main(["profile", "update", "sub"]) == 0
    assert capsys.readouterr().out == "sub: 3 servers; new: d; gone: a\n"
    profile = load_profile("sub")
    assert list(profile.servers) == ["b", "c", "d"]
    assert profile.groups["servers"].servers == ("b", "c", "d")
    assert profile.tunnel.kill_switch
    assert file.read_text().startswith("# mine")
    assert file.stat().st_mode & 0o777 == 0o600
    assert main(["profile", "update", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["state"], row["servers"], row["subscription"]["total"]) == ("unchanged", 3, 10000)


def test_the_list_shows_what_is_used_and_when_it_ends_and_no_key(provider, capsys) -> None:
    assert main(["profile", "import", provider.url, "--name", "sub"]) == 0
    capsys.readouterr()
    assert main(["profile", "list"]) == 0
    assert capsys.readouterr().out == "sub  3 servers  [3 kB of 10 kB used, expires 2100-01-01]\n"
    assert main(["profile", "list", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)[0]["subscription"]
    assert (facts["used"], facts["total"], facts["expires"]) == (3000, 10000, "2100-01-01T00:00:00+00:00")
    assert facts["fetched"].endswith("+00:00")
    assert main(["profile", "show", "sub"]) == 0
    shown = capsys.readouterr().out
    assert "SECRET" not in shown
    assert f"http://127.0.0.1:{provider.server.server_port}/(hidden)" in shown
    provider.headers = {"Subscription-Userinfo": "expire=1"}
    assert main(["profile", "update"]) == 0  # also where the list is the same (304)
    capsys.readouterr()
    assert main(["profile", "list"]) == 0
    assert capsys.readouterr().out == "sub  3 servers  [expired 1970-01-01]\n"


@pytest.mark.parametrize(
    ("content", "status", "why"),
    [
        (b"<html>blocked</html>", 200, "a web page, not a list of servers"),
        (b"", 200, "holds no server"),
        (b"", 503, "status 503"),
        (link("x").encode(), 200, "sent 1 servers, and there are 3: not taken without --force"),
        (b"proxies: [{name: z, type: snell}]\nrules: ['MATCH,z']\n", 200, "no server that can be used"),
        (
            b"proxies:\n- {name: z, type: ss, server: 192.0.2.1, port: 1, cipher: aes-256-gcm, password: p}\n"
            b"- {name: y, type: snell}\nrules: ['MATCH,z']\n",
            200,
            "the old servers stay (subscription.partial = true takes the rest)",
        ),
    ],
)
def test_the_last_good_one_stays(provider, capsys, content: bytes, status: int, why: str) -> None:
    assert main(["profile", "import", provider.url, "--name", "sub"]) == 0
    provider.content, provider.status, provider.etag = content, status, '"other"'
    capsys.readouterr()
    assert main(["profile", "update"]) == 1
    assert why in capsys.readouterr().out
    assert list(load_profile("sub").servers) == ["a", "b", "c"]
    provider.status = 200
    provider.gives("a", "b", "d")
    assert main(["profile", "update"]) == 0, "what was not taken is not known by its ETag"
    assert list(load_profile("sub").servers) == ["a", "b", "d"]


def test_a_short_list_is_taken_by_force(provider) -> None:
    assert main(["profile", "import", provider.url, "--name", "sub"]) == 0
    provider.content, provider.etag = link("x").encode(), '"x"'
    assert main(["profile", "update", "--force"]) == 0
    assert [each.text for each in load_profile("sub").server] == [link("x")]
    assert not load_profile("sub").servers


def test_what_is_no_subscription_is_told(provider, capsys) -> None:
    assert main(["profile", "update"]) == 2
    assert "no profile is a subscription" in capsys.readouterr().err
    assert main(["profile", "add", "own", link("a")]) == 0
    capsys.readouterr()
    assert main(["profile", "update", "own"]) == 1
    assert "own is no subscription" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("header", "info"),
    [
        ("upload=455; download=617; total=1073; expire=1671815872", UserInfo(1072, 1073, 1671815872)),
        ("download=617;total=0;expire=0", UserInfo(617, None, None)),
        ("total=1e9; expire=never; x; =; upload=-1", UserInfo()),
        ("expire=1671815872.5", UserInfo(None, None, 1671815872)),
        (f"total={'9' * 400}; expire={10**15}", UserInfo()),
        ("", UserInfo()),
    ],
)
def test_what_a_provider_says_of_a_subscription(header: str, info: UserInfo) -> None:
    assert parse_user_info_untrusted(header) == info


def test_a_quota_stays_where_a_server_only_says_that_nothing_changed(
    provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    provider.gives("one", "two")
    assert main(["profile", "import", provider.url, "--name", "sub"]) == 0
    provider.headers = {}
    assert main(["profile", "update", "sub"]) == 0
    capsys.readouterr()
    assert main(["profile", "list"]) == 0
    assert "3 kB of 10 kB used" in capsys.readouterr().out
