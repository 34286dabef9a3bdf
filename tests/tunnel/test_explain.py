from __future__ import annotations

import json
import socket
import threading

import dns.message
import dns.rdatatype
import dns.rrset
import pytest

from tunflow.cli import main
from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import LocalError
from tunflow.flow import ProcessInfo
from tunflow.profiles.file import parse
from tunflow.tunnel.compile import compile_profile
from tunflow.tunnel.explain import LookedUp, explain, parse_destination

PROFILE = """\
server = "ss://aes-256-gcm:SECRET@192.0.2.7:8388"
rules = [
  "DOMAIN-SUFFIX,ads.example,REJECT",
  "PROCESS-NAME,curl,DIRECT",
  "DOMAIN-SUFFIX,example.com,auto",
  "IP-CIDR,10.0.0.0/8,DIRECT",
]
[servers.two]
chain = ["ss://aes-256-gcm:SECRET@192.0.2.8:8388", "ss://aes-256-gcm:SECRET@192.0.2.9:8388"]
[groups.auto]
type = "fallback"
servers = ["two", "PROXY"]
"""


def told(destination, lookup=lambda _: LookedUp(()), **options):
    return explain(compile_profile(parse(PROFILE, "home.toml")), parse_destination(destination), lookup, **options)


def test_a_name_goes_by_rule_and_group_to_a_server_and_is_not_looked_up():
    def never(_):
        raise AssertionError("looked up in vain")

    said = told("www.example.com", never)
    assert (said.rule.file, said.rule.line, said.rule.text) == ("home.toml", 5, "DOMAIN-SUFFIX,example.com,auto")
    assert said.path == ("auto", "two")
    assert said.groups == {"auto": ("fallback", ("two", "PROXY"))}
    assert said.server == "ss://aes-256-gcm@192.0.2.8:8388 -> ss://aes-256-gcm@192.0.2.9:8388"
    assert said.asked_for == "www.example.com:443"


@pytest.mark.parametrize(
    ("addresses", "path", "asked_for"),
    [
        (["10.1.2.3", "10.1.2.4"], ("DIRECT",), "10.1.2.3:443"),
        (["203.0.113.1"], ("PROXY",), "other.org:443"),
        ([], ("PROXY",), "other.org:443"),
    ],
)
def test_a_name_is_looked_up_where_a_rule_asks_for_its_address(addresses, path, asked_for):
    said = told("other.org", lambda _: LookedUp(addresses, ["who: taken"]))
    assert (said.path, said.asked_for) == (path, asked_for)
    assert said.address_from.startswith("looked up")
    assert said.answers == ("who: taken",)


def test_what_no_rule_is_about_says_so():
    said = told("203.0.113.1:80")
    assert said.is_default
    assert said.path == ("PROXY",)


def test_the_program_counts():
    assert told("www.example.com", process=ProcessInfo(name="curl")).rule.line == 4


def test_app_rules_stand_in_front():
    text = PROFILE + "[[apps]]\npath = '/usr/bin/ssh'\naction = 'block'\n"
    plan = compile_profile(parse(text.replace("rules = [", "other_apps = 'tunnel'\nrules = [", 1), "home.toml"))
    ssh = ProcessInfo(executable="/usr/bin/ssh")
    assert explain(plan, parse_destination("www.example.com"), lambda _: LookedUp(()), process=ssh).path == ("REJECT",)
    assert explain(plan, parse_destination("www.example.com"), lambda _: LookedUp(())).path == ("auto", "two")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("Example.com", Endpoint("example.com", 443)),
        ("example.com:80", Endpoint("example.com", 80)),
        ("https://user@example.com/path", Endpoint("example.com", 443)),
        ("http://example.com:8080/", Endpoint("example.com", 8080)),
        ("192.0.2.1", endpoint("192.0.2.1", 443)),
        ("2001:db8::1", endpoint("2001:db8::1", 443)),
        ("[2001:db8::1]:53", endpoint("2001:db8::1", 53)),
    ],
)
def test_every_way_to_write_a_destination(text, where):
    assert parse_destination(text) == where


@pytest.mark.parametrize("text", ["", "a b", "example.com:http", "example.com:99999", "https://", "[::1"])
def test_what_is_no_destination_is_one_line(text):
    with pytest.raises(LocalError, match="is not a destination"):
        parse_destination(text)


def test_without_a_profile_it_is_about_the_tunnel_that_is_up(tmp_path, monkeypatch, capsys):
    from tunflow.cli import explain as command
    from tunflow.control.client import NotRunning

    servers = "".join(
        f'[servers.{name}]\nurl = "ss://YWVzLTI1Ni1nY206cA@192.0.2.1:8388#{name}"\n' for name in ("one", "two")
    )
    (tmp_path / "p.toml").write_text(
        f'rules = ["MATCH,g"]\n{servers}[groups.g]\ntype = "select"\nservers = ["one", "two"]\n'
    )
    answers = {
        "status": {"profile": str(tmp_path / "p.toml")},
        "groups": {"groups": [{"name": "g", "type": "select", "now": "two"}]},
    }
    monkeypatch.setattr(command, "ask", lambda _control, operation: answers[operation])
    assert main(["explain", "x.example", "--no-lookup"]) == 0
    assert "group    g (select of one, two): two" in capsys.readouterr().out

    def nobody(*_):
        raise NotRunning("nobody")

    monkeypatch.setattr(command, "ask", nobody)
    assert main(["explain", "x.example"]) == 2
    assert "no tunnel is up" in capsys.readouterr().err


def test_the_command_prints_lines_and_json_without_passwords(tmp_path, capsys):
    file = tmp_path / "home.toml"
    file.write_text(PROFILE)
    file.chmod(0o600)
    assert main(["explain", "www.example.com", "--no-lookup", "--profile", str(file)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "flow     tcp to www.example.com:443",
        "name     www.example.com",
        "address  - (not needed: no rule that could decide asks for it)",
        f"rule     {file}:5: DOMAIN-SUFFIX,example.com,auto",
        "group    auto (fallback of two, PROXY): two",
        "server   two: ss://aes-256-gcm@192.0.2.8:8388 -> ss://aes-256-gcm@192.0.2.9:8388",
        "asks for www.example.com:443",
    ]
    assert (
        main(
            ["explain", "x.ads.example", "--profile", str(file), "--process", "/usr/bin/wget", "--json", "--no-lookup"]
        )
        == 0
    )
    facts = json.loads(capsys.readouterr().out)
    assert facts["rule"] == {
        "target": "REJECT",
        "file": str(file),
        "line": 3,
        "text": "DOMAIN-SUFFIX,ads.example,REJECT",
    }
    assert facts["process"] == "/usr/bin/wget"
    assert "SECRET" not in out + json.dumps(facts)
    assert main(["explain", "x", "--profile", str(file), "--source", "y"]) == 2


def test_a_name_is_looked_up_as_the_profile_says(tmp_path, capsys):
    """A resolver on loopback, asked directly; and one that is not there."""
    with Resolver() as resolver:
        file = tmp_path / "home.toml"
        file.write_text(
            f'[dns]\nservers = ["udp://127.0.0.1:{resolver.port}#direct"]\n[servers.x]\nurl = "direct://"\n'
            '[groups.g]\ntype = "select"\nservers = ["DIRECT"]\n'
        )
        text = file.read_text()
        file.write_text('rules = ["IP-CIDR,10.0.0.0/8,REJECT", "MATCH,g"]\n' + text)
        assert main(["explain", "a.example", "--profile", str(file)]) == 0
    out = capsys.readouterr().out
    assert f"answer   udp://127.0.0.1:{resolver.port}: taken: " in out
    assert "address  10.9.8.7 (looked up)" in out
    assert "server   REJECT: " in out
    assert main(["explain", "a.example", "--profile", str(file)]) == 0
    out = capsys.readouterr().out
    assert "address  - (looked up: the name has none)" in out
    assert "server   DIRECT: " in out


class Resolver:
    """Says that every name is at 10.9.8.7."""

    def __enter__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()
        return self

    def _serve(self):
        while True:
            query, peer = self.sock.recvfrom(1000)
            if query == b"stop":
                return
            made = dns.message.make_response(dns.message.from_wire(query))
            question = made.question[0]
            if question.rdtype == dns.rdatatype.A:
                made.answer.append(dns.rrset.from_text(question.name, 60, "IN", "A", "10.9.8.7"))
            self.sock.sendto(made.to_wire(), peer)

    def __exit__(self, *_):
        self.sock.sendto(b"stop", self.sock.getsockname())
        self.thread.join()
        self.sock.close()
