"""AnyConnect against ocserv: run, a chain, wrong words, and nothing left behind."""

from __future__ import annotations

import os
import select
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from bench.netlab.namespaces import SITE4, Lab
from bench.netlab.tunnel import TUNFLOW, shadowsocks_url
from lab_support import Contents, Tunnel
from lab_system import System
from lab_uplinks import until
from ocserv_peer import INSIDE4, PASSWORD, Ocserv, ocserv
from test_lab_wireguard import run

pytestmark = pytest.mark.lab

DIGEST = f"curl -sS --fail http://{SITE4}/10m | sha256sum"


@pytest.fixture(scope="module")
def server(lab: Lab) -> Iterator[Ocserv]:
    """It runs."""
    with ocserv(lab) as made:
        yield made


def test_run_and_sign_out(lab: Lab, server: Ocserv, contents: Contents) -> None:
    script = f"ping -c 2 -i 0.2 -W 30 {INSIDE4}; {DIGEST}; cat /etc/resolv.conf"
    done = run(lab, [TUNFLOW, "run", "--server", server.link(), "--", "sh", "-c", script])
    assert " 0% packet loss" in done.stdout, (done.stdout, done.stderr)
    assert done.stdout.split()[-4:] == [contents.medium_sha256, "-", "nameserver", SITE4], done.stderr
    assert lab.running("openconnect --config") == []


def test_a_chain(lab: Lab, tunnel: Tunnel, server: Ocserv, contents: Contents) -> None:
    assert tunnel.lab is lab
    command = [TUNFLOW, "run", "--server", shadowsocks_url(), "--server", server.link(), "--", "sh", "-c", DIGEST]
    done = run(lab, command)
    assert done.stdout.split()[:1] == [contents.medium_sha256], done.stderr


HIDDEN = ["unshare", "-m", "sh", "-c", 'mount --bind /dev/null "$(command -v openconnect)" && exec "$0" "$@"']


def test_up_by_a_profile_with_rules(lab: Lab, server: Ocserv, contents: Contents) -> None:
    """The whole machine: it is up once it has signed in, or says why not; and nothing is left behind."""
    with System(lab) as system:
        before = system.snapshot()
        office = system.directory / "office.toml"

        def profile(link: str) -> str:
            office.write_text(f"rules = ['MATCH,office']\n[servers.office]\nurl = '{link}'\n")
            office.chmod(0o600)
            return str(office)

        system.prefix = HIDDEN
        missing = system.tunflow("up", profile(server.link()))
        assert (missing.returncode, missing.stderr.count("\n")) == (2, 1), missing
        assert "apt install openconnect" in missing.stderr
        system.prefix = ()
        assert system.snapshot() == before
        for link, said in (
            (server.link(password="another"), "user or password is wrong"),
            (server.link(pin=f"sha256:{'0' * 64}"), "certificate"),
        ):
            refused = system.tunflow("up", "--kill-switch", profile(link))
            assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), refused
            assert said in refused.stderr
            assert system.snapshot() == before
        system.ok("up", profile(server.link()))
        (tunnel,) = system.status()["tunnels"]
        assert tunnel["status"] == "connected"
        assert lab.running("openconnect --config") != []
        done = run(lab, ["sh", "-c", DIGEST])
        assert done.stdout.split()[:1] == [contents.medium_sha256], (done.stderr, system.log())
        system.ok("reload", profile(server.link(password="another")))
        until(lambda: "user or password is wrong" in str(system.status()["troubles"]), 60, "the trouble")
        system.ok("reload", profile(server.link()))  # the wrong password is not tried any more
        until(lambda: not system.status()["troubles"], 60, "no trouble")
        assert len(system.status()["tunnels"]) == 1
        system.ok("down")
        assert system.snapshot() == before
        assert lab.running("openconnect --config") == []


def test_what_the_server_asks_is_asked_on_the_terminal(lab: Lab, server: Ocserv) -> None:
    """And what is typed there signs in."""
    link = server.link(password=None)
    words = ["run", "--server", link, "--", "echo", "got", "in"]
    with System(lab) as system, on_a_terminal(system, words) as terminal:
        answer(terminal, "assword", PASSWORD)
        answer(terminal, "got in", "")
        assert terminal.wait(60) == 0


@contextmanager
def on_a_terminal(system: System, words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A tunflow command that has a terminal, which `script` (script(1)) makes of two pipes."""
    argv = system.host.command(["script", "-qfec", shlex.join([TUNFLOW, *words]), "/dev/null"])
    with subprocess.Popen(argv, env=system.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def answer(terminal: subprocess.Popen[bytes], question: str, text: str) -> None:
    """Wait until a question is printed, and type the answer."""
    assert terminal.stdin is not None
    assert terminal.stdout is not None
    seen = ""
    while question not in seen:
        assert select.select([terminal.stdout], [], [], 60)[0], f"no {question!r} in {seen!r}"
        data = os.read(terminal.stdout.fileno(), 4096)
        assert data, f"it ended; no {question!r} in {seen!r}"
        seen += data.decode(errors="replace")
    terminal.stdin.write(f"{text}\n".encode())
    terminal.stdin.flush()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("password", "user or password is wrong"),
        ("pin", "certificate"),
        ("unpinned", "add pin=pin-sha256:"),
        ("no password", "no terminal"),
    ],
)
def test_wrong_words(lab: Lab, server: Ocserv, wrong: str, said: str) -> None:
    links = {
        "password": server.link(password="another"),
        "pin": server.link(pin=f"sha256:{'0' * 64}"),
        "unpinned": server.unpinned,
        "no password": server.link(password=None),
    }
    done = run(lab, ["setsid", "-w", TUNFLOW, "run", "--server", links[wrong], "--", "true"])
    assert done.returncode != 0
    assert said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
