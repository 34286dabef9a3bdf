"""Real programs go different ways, by which program they are: the site's log says by whom each was carried."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bench.netlab.namespaces import CLIENT4, SITE4, Lab
from bench.netlab.peers import UDP_ECHO_PORT
from bench.netlab.tunnel import run_command, shadowsocks_url
from lab_spy import Spy
from lab_support import DNS, Contents, Tunnel, client
from lab_system import System
from lab_uplinks import FIRST4, FIRST6

pytestmark = pytest.mark.lab
CURL = "curl -s -m 30 -o /dev/null"
WGET = "wget -q -t 1 -T 30 -O /dev/null"


OWN = (f"{CLIENT4} ", "fd66::1 ", f"{FIRST4} ", f"{FIRST6} ")
"""C's addresses in both labs."""


def run_with(lab: Lab, profile: str, command: str) -> subprocess.CompletedProcess[str]:
    """A shell in a tunnel with that profile."""
    file = lab.directory / "apps.toml"
    file.write_text(f'server = "{shadowsocks_url()}"\n{profile}')
    file.chmod(0o600)
    argv = run_command(["sh", "-c", command], server=None, dns=DNS, options=["--profile", str(file)])
    return lab.client.run(argv, check=False, timeout=60)


class Visits:
    """Who fetched what, as the site saw it since this was made."""

    def __init__(self, lab: Lab) -> None:
        self._file: Path = lab.directory / "nginx" / "access.log"
        self._before = len(self._file.read_text().splitlines()) if self._file.exists() else 0

    def of(self, agent: str) -> list[str]:
        """Where the visits of one kind of program came from: "direct" or "carried"."""
        lines = [line for line in self._file.read_text().splitlines()[self._before :] if agent in line]
        return ["direct" if line.startswith(OWN) else "carried" for line in lines]


def test_one_app_in_the_tunnel_and_the_rest_direct(tunnel: Tunnel, contents: Contents) -> None:
    visits = Visits(tunnel.lab)
    done = run_with(
        tunnel.lab,
        '[[apps]]\npath = "/usr/bin/curl"\n',
        f"{CURL} http://{SITE4}/1k && {WGET} http://{SITE4}/1k && {CURL} http://site.lab/1k && {WGET} http://[fd77::1]/1k",
    )
    assert done.returncode == 0, done.stderr
    assert visits.of("curl/") == ["carried", "carried"]
    assert visits.of("Wget/") == ["direct", "direct"]


def test_programs_that_live_for_a_moment(tunnel: Tunnel, contents: Contents) -> None:
    """Twenty of each at once: every one goes its way."""
    visits = Visits(tunnel.lab)
    each = f"{CURL} http://{SITE4}/1k & {WGET} http://{SITE4}/1k & "
    done = run_with(tunnel.lab, '[[apps]]\npath = "/usr/bin/wget"\n', f"{each * 20} wait")
    assert done.returncode == 0, done.stderr
    assert visits.of("curl/") == ["direct"] * 20
    assert visits.of("Wget/") == ["carried"] * 20


def test_block_and_all_but_one(tunnel: Tunnel, contents: Contents) -> None:
    visits = Visits(tunnel.lab)
    apps = 'other_apps = "tunnel"\n[[apps]]\npath = "/usr/bin/wget"\naction = "block"\n'
    done = run_with(tunnel.lab, apps, f"{CURL} http://{SITE4}/1k; echo $?; {WGET} http://{SITE4}/1k; echo $?")
    assert done.stdout.split() == ["0", "4"]
    assert visits.of("curl/") == ["carried"]
    assert visits.of("Wget/") == []


def test_by_domain_within_an_app(tunnel: Tunnel, contents: Contents) -> None:
    """The name is only known from the request; the other program is not looked at."""
    visits = Visits(tunnel.lab)
    apps = 'other_apps = "direct"\n[[apps]]\npath = "/usr/bin/curl"\ndomains = ["site.lab"]\n'
    command = f"{CURL} http://site.lab/1k && {CURL} http://four.lab/1k && {WGET} http://site.lab/1k"
    assert run_with(tunnel.lab, apps, command).returncode == 0
    assert visits.of("curl/") == ["carried", "direct"]
    assert visits.of("Wget/") == ["direct"]


def up_with(system: System, profile: str) -> None:
    """The whole host in a tunnel with that profile."""
    file = system.directory / "apps.toml"
    file.write_text(f'server = "{system.url}"\n{profile}')
    file.chmod(0o600)
    system.ok("up", "--dns", DNS, str(file))


@pytest.mark.parametrize("kill_switch", [False, True])
def test_programs_of_the_whole_system(system: System, kill_switch: bool) -> None:
    """Nobody started them in any special way; a program that started before the tunnel counts too."""
    visits = Visits(system.lab)
    switch = "[tunnel]\nkill_switch = true\n" if kill_switch else ""
    up_with(system, f'{switch}[[apps]]\npath = "/usr/bin/curl"\n')
    for url in (f"http://{SITE4}/1k", "http://site.lab/1k", "http://[fd77::1]/1k"):
        assert system.run(["sh", "-c", f"{CURL} {url} && {WGET} {url}"]).returncode == 0, url
    assert visits.of("curl/") == ["carried"] * 3
    assert visits.of("Wget/") == ["direct"] * 3


def test_by_user_of_the_whole_system(system: System) -> None:
    visits = Visits(system.lab)
    up_with(system, 'other_apps = "tunnel"\n[[apps]]\nuid = "nobody"\naction = "direct"\n')
    assert (
        system.run(["setpriv", "--reuid=65534", "--clear-groups", *CURL.split(), f"http://{SITE4}/1k"]).returncode == 0
    )
    assert system.run([*WGET.split(), f"http://{SITE4}/1k"]).returncode == 0
    assert (visits.of("curl/"), visits.of("Wget/")) == (["direct"], ["carried"])


def test_moments_of_the_whole_system(system: System) -> None:
    visits = Visits(system.lab)
    up_with(system, '[[apps]]\npath = "/usr/bin/wget"\n')
    each = f"{CURL} http://{SITE4}/1k & {WGET} http://{SITE4}/1k & "
    assert system.run(["sh", "-c", f"{each * 20} wait"]).returncode == 0
    assert visits.of("curl/") == ["direct"] * 20
    assert visits.of("Wget/") == ["carried"] * 20


@pytest.mark.parametrize("kind", ["run", "up"])
def test_datagrams(tunnel: Tunnel, system: System, spy: Callable[..., Spy], kind: str) -> None:
    """An unconnected socket has no peer that the kernel could look for: it is found all the same."""
    python = str(Path(sys.executable).resolve())
    talk = client("udp", UDP_ECHO_PORT, 100, SITE4)
    for action, others in (("tunnel", "direct"), ("direct", "tunnel")):
        apps = f'other_apps = "{others}"\n[[apps]]\npath = "{python}"\naction = "{action}"\n'
        if kind == "run":
            with spy() as watching:
                done = run_with(tunnel.lab, apps, " ".join(talk))
            seen = watching.packets
        else:
            up_with(system, apps)
            with system.lab.spied() as seen:
                done = system.run(talk)
            system.ok("down")
        assert done.stdout == "ok\n", done.stderr
        assert bool(seen) is (action == "direct"), seen
