"""Names that tunflow knows, and what is fetched beside them."""

from __future__ import annotations

import pytest

from tunflow.dns.public_resolvers import PublicResolvers, known_resolvers
from tunflow.errors import RemoteError
from tunflow.profiles.file import parse
from tunflow.profiles.imports.fetch import ServerReply
from tunflow.tunnel import known_names
from tunflow.tunnel.rule_data import DATA_VARIABLE
from tunflow.tunnel.rule_update import update

CONTENT = {
    known_names.RESOLVERS_URL: b"dns.new.example\nDOH.Other.example # a comment\ncom\nno name\n",
    known_names.ENGINES_URL: b"# New\n|www.new.example^$dnsrewrite=NOERROR;CNAME;strict.new.example\n",
}


def profile_of(lines: str):
    return parse(f'server = "direct://"\n{lines}', "p", "p.toml")


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        ("", []),
        ("[filter]", []),
        ('[filter]\nclose = ["encrypted-dns"]', ["public resolvers"]),
        ("[filter]\nsafe_search = true", ["safe search"]),
        ("[filter]\nenabled = false\nsafe_search = true", []),
        ("[dns]\nblock_encrypted = true", ["public resolvers"]),
    ],
)
def test_what_a_profile_has_a_use_for(lines, names):
    assert [source.name for source in known_names.sources(profile_of(lines))] == names


def test_what_was_fetched_completes_what_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    assert not known_names.public_resolvers().has("dns.new.example")
    sources = known_names.sources(profile_of('[filter]\nclose = ["encrypted-dns"]\nsafe_search = true'))
    outcomes = update(sources, tmp_path, fetch=lambda url, _etag: ServerReply(CONTENT[url], None))
    assert [(each.state, each.count) for each in outcomes] == [("updated", 2), ("updated", 1)]
    resolvers, engines = known_names.public_resolvers(), known_names.strict_modes()
    for name in ("dns.new.example", "x.doh.other.example", "dns.google"):
        assert resolvers.is_encrypted_dns(name, 443)
    assert not resolvers.has("new.com")
    assert engines.strict_host("www.new.example") == "strict.new.example"
    assert engines.strict_host("www.google.de") == "forcesafesearch.google.com"


@pytest.mark.parametrize("content", [b"<html>", b"", b"\xff\xfe"])
def test_what_is_no_such_list_is_not_taken(tmp_path, content):
    sources = known_names.sources(profile_of('[filter]\nclose = ["encrypted-dns"]\nsafe_search = true'))
    for outcome in update(sources, tmp_path, fetch=lambda _url, _etag: ServerReply(content, None)):
        assert outcome.state == "failed"


def test_a_list_that_cannot_be_fetched(tmp_path):
    def fetch(_url, _etag):
        raise RemoteError("no network")

    (source,) = known_names.sources(profile_of("[filter]\nsafe_search = true"))
    assert update([source], tmp_path, fetch=fetch)[0].state == "failed"


@pytest.mark.parametrize(
    ("host", "port", "is_one"),
    [
        ("dns.google", 443, True),
        ("x.dns.nextdns.io", 443, True),
        ("dns.google", 80, False),
        ("anything.example", 853, True),
        ("google", 443, False),
        (bytes([8, 8, 8, 8]), 443, True),
        (bytes([8, 8, 8, 9]), 443, False),
        ("use-application-dns.net", 443, True),
    ],
)
def test_who_is_encrypted_dns(host, port, is_one):
    assert known_resolvers().is_encrypted_dns(host, port) is is_one


def test_the_list_of_resolvers_is_whole():
    names, addresses = known_resolvers()
    assert all("." in name and name == name.lower() and "/" not in name for name in names)
    assert {len(address) for address in addresses} == {4, 16}
    with pytest.raises(ValueError, match="nonsense"):
        PublicResolvers.of(["address nonsense"])
