"""Rules send flows where they should: two servers, straight out and nowhere, seen on C's only link."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence

import pytest
from bench.netlab.namespaces import SITE4, SITE6, Lab
from bench.netlab.peers import SHADOWSOCKS_PORT, start_shadowsocks_server
from bench.netlab.tunnel import run_command, shadowsocks_url
from lab_spy import Spy
from lab_support import DIGEST, DNS, ECHO, Held, Tunnel, client

pytestmark = pytest.mark.lab

TWO = 8402
DEAD = 8403
NOTHING = "(ip[0] = 0)"
"""A filter that no packet passes: the spy keeps all."""

RULES = f"""
server = "{shadowsocks_url()}"
rules = [
  "PROCESS-NAME,wget,REJECT",
  "DST-PORT,{ECHO},two",
  "DST-PORT,{DIGEST},REJECT-DROP",
  "DOMAIN,four.lab,two",
  "DOMAIN-SUFFIX,quic.lab,two",
  "AND,((IP-CIDR6,{SITE6}/128,no-resolve),(DST-PORT,80)),DIRECT",
  "DST-PORT,81,auto",
  "MATCH,PROXY",
]
[servers.two]
url = "{shadowsocks_url(port=TWO)}"
[servers.dead]
url = "{shadowsocks_url(port=DEAD)}"
[groups.auto]
type = "fallback"
servers = ["dead", "two"]
url = "http://{SITE4}/1k"
"""


@pytest.fixture(scope="module")
def ruled(lab: Lab, tunnel: Tunnel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    """A tunnel with the rules, and the second server."""
    second = start_shadowsocks_server(lab, port=TWO)
    profile = tmp_path_factory.mktemp("rules") / "rules.toml"
    profile.write_text(RULES)
    profile.chmod(0o600)
    held = Held(lab, lambda argv: run_command(argv, server=None, dns=DNS, options=["--profile", str(profile), "-v"]))
    yield held
    held.stop()
    second.stop()


def ports(packets: Sequence[str]) -> set[str]:
    """Where packets went: server one, server two, or past both."""
    names = {f".{SHADOWSOCKS_PORT}:": "one", f".{TWO}:": "two", f".{DEAD}:": "dead"}
    return {next((name for port, name in names.items() if port in line), line) for line in packets}


def watched(lab: Lab, held: Held, argv: Sequence[str]) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    with Spy(lab, allowed=NOTHING) as spy:
        done = held.run(argv)
    return done, ports(spy.packets)


CURL = ["curl", "-sS", "-o", "/dev/null", "-m", "30", "-w", "%{http_code} %{time_total}"]


def test_a_name_out_of_the_first_bytes_decides(lab: Lab, ruled: Held) -> None:
    """The client resolved it itself; the second server is asked for the name."""
    done, seen = watched(lab, ruled, [*CURL, "--resolve", f"four.lab:80:{SITE4}", "http://four.lab/1k"])
    assert done.stdout.startswith("200"), done.stderr
    assert seen == {"two"}
    assert f"{SITE4}:80 (four.lab): two, by" in ruled.process.output()


def test_a_name_in_tls_decides(lab: Lab, ruled: Held) -> None:
    """Nobody serves TLS there, and the way to nobody shows: the second server is asked."""
    done, seen = watched(lab, ruled, [*CURL, "--resolve", f"four.lab:443:{SITE4}", "https://four.lab/"])
    assert done.returncode != 0
    assert seen == {"two"}


def test_a_name_in_quic_decides(lab: Lab, ruled: Held) -> None:
    done, seen = watched(lab, ruled, client("quic_hello", SITE4, "www.quic.lab"))
    assert done.returncode == 0, done.stderr
    assert seen == {"two"}
    assert "(www.quic.lab): two, by" in ruled.process.output()


def test_an_address_goes_straight_out(lab: Lab, ruled: Held) -> None:
    done, seen = watched(lab, ruled, [*CURL, f"http://[{SITE6}]/1k"])
    assert done.stdout.startswith("200"), done.stderr
    assert seen
    assert all(f"{SITE6}.80:" in line for line in seen), seen


def test_a_port_decides_before_its_client_speaks(lab: Lab, ruled: Held) -> None:
    done, seen = watched(lab, ruled, ["busybox", "nc", "-w", "2", SITE4, str(ECHO)])
    assert done.returncode == 0
    assert "two" in seen
    assert seen <= {"one", "two"}


def test_what_no_other_rule_is_about_goes_to_the_first_server(lab: Lab, ruled: Held) -> None:
    done, seen = watched(lab, ruled, [*CURL, f"http://{SITE4}/1k"])
    assert done.stdout.startswith("200"), done.stderr
    assert seen == {"one"}


def test_a_program_is_refused_at_once(lab: Lab, ruled: Held) -> None:
    done, seen = watched(lab, ruled, ["wget", "-q", "-T", "5", "-t", "1", "-O", "/dev/null", f"http://{SITE4}/1k"])
    assert done.returncode != 0
    assert seen == set()


def test_a_dropped_flow_hears_nothing(lab: Lab, ruled: Held) -> None:
    done, seen = watched(lab, ruled, ["curl", "-s", "--connect-timeout", "1", f"http://{SITE4}:{DIGEST}/"])
    assert done.returncode == 28, "curl: 28 is a time-out"
    assert seen == set()


def test_a_group_moves_to_the_server_that_works(lab: Lab, ruled: Held) -> None:
    """The first flow finds out that the first member is dead; later ones go to the second."""
    first, seen = watched(lab, ruled, [*CURL, f"http://{SITE4}:81/"])
    assert first.returncode != 0
    assert "dead" in seen
    for _ in range(20):
        _, seen = watched(lab, ruled, [*CURL, f"http://{SITE4}:81/"])
        if seen == {"two"}:
            break
    assert seen == {"two"}
    assert "auto -> two, by" in ruled.process.output()
