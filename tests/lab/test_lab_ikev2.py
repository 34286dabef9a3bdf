"""IKEv2 against strongSwan: each way to sign in, wrong words, and nothing left behind."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.netlab.namespaces import SITE4, SITE6, Lab
from bench.netlab.tunnel import TUNFLOW, shadowsocks_url
from lab_support import Contents, Tunnel
from lab_system import System
from lab_uplinks import until
from strongswan_peer import Strongswan, strongswan
from test_lab_wireguard import run

pytestmark = pytest.mark.lab

SANDBOX = str(Path(__file__).with_name("unit_sandbox.py"))
DIGEST = f"curl -sS --fail http://{SITE4}/10m | sha256sum"


@pytest.fixture(scope="module")
def server(lab: Lab) -> Iterator[Strongswan]:
    """It runs."""
    with strongswan(lab) as made:
        yield made


def test_run_and_sign_out(lab: Lab, server: Strongswan, contents: Contents) -> None:
    script = f"ping -c 2 -i 0.2 -W 30 {SITE4}; ping -c 1 -W 3 {SITE6}; {DIGEST}; cat /etc/resolv.conf"
    servers = lab.running("charon")
    done = run(lab, [TUNFLOW, "run", "--server", server.link(), "--", "sh", "-c", script])
    assert done.stdout.count(" 0% packet loss") == 2, (done.stdout, done.stderr)
    assert done.stdout.split()[-4:] == [contents.medium_sha256, "-", "nameserver", SITE4], done.stderr
    until(lambda: lab.running("charon") == servers, 30, "nothing left")


def test_a_chain(lab: Lab, tunnel: Tunnel, server: Strongswan, contents: Contents) -> None:
    assert tunnel.lab is lab
    command = [TUNFLOW, "run", "--server", shadowsocks_url(), "--server", server.link(), "--", "sh", "-c", DIGEST]
    done = run(lab, command)
    assert done.stdout.split()[:1] == [contents.medium_sha256], done.stderr


@pytest.mark.parametrize("how", ["secret", "certificate"])
def test_other_ways_to_sign_in(lab: Lab, server: Strongswan, contents: Contents, how: str) -> None:
    link = server.by_secret() if how == "secret" else server.by_certificate()
    done = run(lab, [TUNFLOW, "run", "--server", link, "--", "sh", "-c", DIGEST])
    assert done.stdout.split()[:1] == [contents.medium_sha256], done.stderr


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("password", "user or password is wrong"),
        ("secret", "secret, local_id or remote_id is wrong"),
        ("remote_id", "local_id or remote_id is wrong"),
        ("system's CAs", "not trusted: ca=FILE"),
        ("algorithms", "none of our algorithms"),
    ],
)
def test_wrong_words(lab: Lab, server: Strongswan, wrong: str, said: str) -> None:
    links = {
        "password": server.link(password="another"),
        "secret": server.by_secret("another"),
        "remote_id": server.link(remote_id="other.lab"),
        "system's CAs": server.link(ca=""),
        "algorithms": server.link(ike="3des-md5-modp1024"),
    }
    done = run(lab, ["setsid", "-w", TUNFLOW, "run", "--server", links[wrong], "--", "true"])
    assert done.returncode != 0
    assert said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_up_fails_where_signing_in_does(lab: Lab, server: Strongswan) -> None:
    """With a line, and the host as it was."""
    with System(lab) as system:
        before = system.snapshot()
        office = system.directory / "office.toml"
        office.write_text(f"server = '{server.link(password='another')}'\n")
        office.chmod(0o600)
        refused = system.tunflow("up", str(office))
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), refused
        assert "user or password is wrong" in refused.stderr
        assert system.snapshot() == before


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed: NOT RUN")
def test_up_and_down_as_the_unit_allows(lab: Lab, server: Strongswan, contents: Contents) -> None:
    """`service install` allows what charon takes; in another profile's unit it is said what is denied."""
    home = lab.directory / "home.toml"
    home.write_text("server = 'direct://'\n")
    office = lab.directory / "office.toml"
    office.write_text(f"server = '{server.link()}'\n")
    office.chmod(0o600)
    units = {}
    for profile in (home, office):
        units[profile] = profile.with_suffix(".service")
        units[profile].write_text(run(lab, [TUNFLOW, "service", "install", str(profile), "--print"]).stdout)
    with System(lab, prefix=[sys.executable, SANDBOX, str(units[office])]) as system:
        before, servers = system.snapshot(), lab.running("charon")
        system.ok("up", str(office))
        done = run(lab, ["sh", "-c", DIGEST])
        assert done.stdout.split()[:1] == [contents.medium_sha256], done.stderr
        assert len(lab.running("charon")) > len(servers)
        system.ok("down")
        until(lambda: lab.running("charon") == servers, 30, "nothing left")
        system.prefix = [sys.executable, SANDBOX, str(units[home])]
        denied = system.tunflow("up", str(office))
        assert (denied.returncode, denied.stderr.count("\n")) == (2, 1), denied
        assert "systemd unit denies namespaces: tunflow service install" in denied.stderr
        assert system.snapshot() == before
