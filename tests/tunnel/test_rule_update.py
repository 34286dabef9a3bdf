from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tunflow.cli import main
from tunflow.errors import RemoteError
from tunflow.profiles.file import parse
from tunflow.profiles.imports.fetch import ServerReply
from tunflow.tunnel.rule_data import DATA_VARIABLE, Countries, rule_set_path
from tunflow.tunnel.rule_update import registry_source, rule_set_sources, update

HEAD = b"2|apnic|20210715|2|19830613|20210714|+1000\n"


def delegated(count: int) -> bytes:
    return HEAD + b"".join(b"apnic|CN|ipv4|10.%d.0.0|256|20110414|allocated\n" % n for n in range(count))


class Web:
    """Answers with `content`, or 304 to its own ETag; remembers what it was asked."""

    def __init__(self, content: bytes = delegated(10), etag: str | None = '"1"') -> None:
        self.content = content
        self.etag = etag
        self.asked: list[tuple[str, str | None]] = []
        self.failing: RemoteError | None = None

    def __call__(self, url: str, etag: str | None) -> ServerReply:
        self.asked.append((url, etag))
        if self.failing:
            raise self.failing
        return ServerReply(None if etag and etag == self.etag else self.content, self.etag)


def states(*outcomes):
    return [(each.state, each.count) for each in outcomes]


def test_a_list_is_fetched_once_and_then_asked_about_by_its_etag(tmp_path):
    web, source = Web(), registry_source("apnic")
    assert states(*update([source], tmp_path, fetch=web)) == [("updated", 10)]
    assert states(*update([source], tmp_path, fetch=web)) == [("unchanged", 10)]
    assert [etag for _, etag in web.asked] == [None, '"1"']
    record = json.loads((tmp_path / "delegated" / "apnic.txt.json").read_text())
    assert record["sha256"] == hashlib.sha256(web.content).hexdigest()
    assert record["etag"] == '"1"'
    assert Countries(places=[tmp_path]).addresses("CN")
    web.content, web.etag = delegated(12), '"2"'
    assert states(*update([source], tmp_path, fetch=web)) == [("updated", 12)]


def test_bytes_that_are_not_those_of_the_record_are_fetched_again(tmp_path):
    """A crash between the two, or a hand that touched the file."""
    web, source = Web(), registry_source("apnic")
    update([source], tmp_path, fetch=web)
    (tmp_path / source.path).write_bytes(delegated(9))
    assert states(*update([source], tmp_path, fetch=web)) == [("updated", 10)]
    assert web.asked[-1][1] is None


def test_a_list_that_shrank_by_more_than_half_is_not_taken(tmp_path):
    web, source = Web(), registry_source("apnic")
    update([source], tmp_path, fetch=web)
    web.content, web.etag = delegated(4), '"2"'
    (outcome,) = update([source], tmp_path, fetch=web)
    assert outcome.state == "failed"
    assert "has 4 entries, the old one 10: not taken without --force" in outcome.reason
    assert (tmp_path / source.path).read_bytes() == delegated(10)
    assert states(*update([source], tmp_path, force=True, fetch=web)) == [("updated", 4)]
    web.content, web.etag = delegated(2), '"3"'
    assert states(*update([source], tmp_path, fetch=web)) == [("updated", 2)]  # just half


@pytest.mark.parametrize("content", [b"", b"<html>login here</html>", delegated(3)[:-20]])
def test_what_is_not_a_list_is_not_taken(tmp_path, content):
    web, source = Web(), registry_source("apnic")
    update([source], tmp_path, fetch=web)
    web.content, web.etag = content, '"2"'
    assert [each.state for each in update([source], tmp_path, force=True, fetch=web)] == ["failed"]
    assert (tmp_path / source.path).read_bytes() == delegated(10)


def test_one_that_fails_does_not_keep_the_others(tmp_path):
    profile = parse(
        'server = "direct://"\n[rule_sets.a]\nbehavior = "domain"\nurl = "https://h.example/a"\n'
        '[rule_sets.b]\nbehavior = "ipcidr"\nurl = "https://h.example/b"\n'
        '[rule_sets.c]\nbehavior = "ipcidr"\nfile = "c"\n',
        "p.toml",
    )
    web = Web(b"+.a.example\n# x\nb.example\n", None)
    outcomes = update(rule_set_sources(profile), tmp_path, fetch=web)
    assert states(*outcomes) == [("updated", 2), ("failed", None)]
    assert "the fetched list:1: not an IPv4 or IPv6 prefix" in outcomes[1].reason
    assert (tmp_path / rule_set_path("https://h.example/a")).read_bytes() == web.content
    web.failing = RemoteError("h.example does not answer")
    assert update(rule_set_sources(profile), tmp_path, fetch=web)[0].reason == "h.example does not answer"


class Handler(BaseHTTPRequestHandler):
    """A registry's web server with ETags."""

    content = delegated(7)
    etag = '"x"'

    def do_GET(self):
        if self.headers["If-None-Match"] == self.etag:
            self.send_response(304)
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("ETag", self.etag)
        self.send_header("Content-Length", str(len(self.content) + (100 if self.path == "/short" else 0)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_):
        pass


@pytest.fixture
def web():
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_command_over_real_http(web, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    assert main(["rules", "update", "--url", f"{web}/delegated"]) == 0
    assert capsys.readouterr().out == "apnic: updated, 7 entries\n"
    assert main(["rules", "update", "--url", f"{web}/delegated", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lists"][0]["state"] == "unchanged"
    assert main(["rules", "update", "--url", f"{web}/short"]) == 1
    assert "apnic: failed: " in capsys.readouterr().out
    assert (Path(tmp_path) / "delegated" / "apnic.txt").read_bytes() == Handler.content


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--registry", "nic"], "'nic': apnic, ripencc, arin, lacnic, afrinic and all are known"),
        (["--registry", "all", "--url", "http://x/"], "--url is one registry's"),
        (["./none.toml"], "cannot read the profile"),
    ],
)
def test_what_cannot_be_meant_is_one_line(arguments, why, capsys):
    assert main(["rules", "update", *arguments]) == 2
    assert why in capsys.readouterr().err


def test_filter_update_over_real_http(web, tmp_path, monkeypatch, capsys):
    """A list of the content filter: by its ETag, not when it shrank, and the last good one kept."""
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    profile = tmp_path / "p.toml"
    profile.write_text(
        f'server = "direct://"\n[filter]\n[[filter.lists]]\nname = "ads"\nurl = "{web}/ads"\naction = "block"\n'
    )
    profile.chmod(0o600)
    monkeypatch.setattr(Handler, "content", b"".join(b"||ad%d.example^\n" % number for number in range(10)))

    def run(*options, status=0):
        assert main(["filter", "update", str(profile), *options]) == status
        return capsys.readouterr().out

    assert run() == "list ads: updated, 10 rules\n"
    assert run() == "list ads: unchanged, 10 rules\n"
    assert main(["filter", "test", "www.ad3.example", "--profile", str(profile)]) == 0
    assert ":4\nrule     ||ad3.example^" in capsys.readouterr().out
    monkeypatch.setattr(Handler, "etag", '"y"')
    monkeypatch.setattr(Handler, "content", b"||ad1.example^\n")
    assert "what was there before is kept" in run(status=1)
    monkeypatch.setattr(Handler, "content", b"<html>please log in to this network</html>\n" * 20)
    assert "what was there before is kept" in run("--force", status=1)
    monkeypatch.setattr(Handler, "content", b"\x1f\x8b\x08\x00" + b"garbage\n" * 400)
    assert "it is no text" in run("--force", status=1)
    assert main(["filter", "lists", str(profile)]) == 0
    assert "ads: 10 rules" in capsys.readouterr().out
    monkeypatch.setattr(Handler, "content", b"||ad1.example^\n")
    assert run("--force") == "list ads: updated, 1 rules\n"
