"""IKEv2 against strongSwan: each way to sign in, wrong words, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bench.netlab.namespaces import SITE4, SITE6, Lab
from bench.netlab.tunnel import TUNFLOW
from lab_support import Contents
from lab_system import System
from strongswan_peer import Strongswan, strongswan
from test_lab_wireguard import run

pytestmark = pytest.mark.lab

DIGEST = f"curl -sS --fail http://{SITE4}/10m | sha256sum"


@pytest.fixture(scope="module")
def server(lab: Lab) -> Iterator[Strongswan]:
    """It runs."""
    with strongswan(lab) as made:
        yield made


def test_run_and_sign_out(lab: Lab, server: Strongswan, contents: Contents) -> None:
    script = f"ping -c 2 -i 0.2 -W 3 {SITE4}; ping -c 1 -W 3 {SITE6}; {DIGEST}; cat /etc/resolv.conf"
    done = run(lab, [TUNFLOW, "run", "--server", server.link(), "--", "sh", "-c", script])
    assert done.stdout.count(" 0% packet loss") == 2, (done.stdout, done.stderr)
    assert done.stdout.split()[-4:] == [contents.medium_sha256, "-", "nameserver", SITE4], done.stderr
    assert "charon_namespace" not in lab.client.run(["ps", "-eo", "args"]).stdout


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


def test_up_and_down(lab: Lab, server: Strongswan, contents: Contents) -> None:
    with System(lab) as system:
        before = system.snapshot()
        system.env["TUNFLOW_SERVER"] = server.link()
        system.up()
        done = run(lab, ["sh", "-c", DIGEST])
        assert done.stdout.split()[:1] == [contents.medium_sha256], done.stderr
        system.ok("down")
        assert system.snapshot() == before
