"""Nothing leaks: witnesses on both uplinks see packets to the server and none else, whatever programs try."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from bench.netlab.namespaces import SERVER4, SERVER6, SITE4, SITE6
from bench.netlab.processes import Process
from lab_spy import TO_SHADOWSOCKS
from lab_support import client
from lab_system import System
from lab_uplinks import FIRST4, SECOND4, UplinkLab, until

pytestmark = pytest.mark.lab

MIX = {
    "web": ["curl", "-s", "-m", "1", "-o", "/dev/null", "http://site.lab/1k"],
    "web6": ["curl", "-s", "-m", "1", "-o", "/dev/null", f"http://[{SITE6}]/1k"],
    "dns": ["dig", "+tries=1", "+timeout=1", "site.lab"],
    "dns over TCP to the outside": ["dig", "+tcp", "+tries=1", "+timeout=1", f"@{SERVER4}", "site.lab"],
    "dns over IPv6 to the outside": ["dig", "+tries=1", "+timeout=1", f"@{SERVER6}", "site.lab"],
    "dns to nobody": ["dig", "+tries=1", "+timeout=1", "@192.0.2.53", "site.lab"],
    "udp": client("udp_refused", "192.0.2.1", 443, "briefly"),
    "ping": ["ping", "-c1", "-W1", SITE4],
    "ping6": ["ping", "-c1", "-W1", SITE6],
    "multicast": client("udp_refused", "224.0.0.251", 5353, "briefly"),
    "the other port of the server": ["curl", "-s", "-m", "1", "-o", "/dev/null", f"http://{SERVER4}/1k"],
}
PROBED = ("connectivitycheck.gstatic.com", "detectportal.firefox.com")
"""Whose names the tunnel itself asks the network for, where no server is reached (docs/portal.md)."""
BOUND = {
    "bound": client("bound", "eth1", FIRST4, SITE4),
    "bound to the second": client("bound", "eth2", SECOND4, SITE4),
    "ping bound to a device": ["ping", "-c1", "-W1", "-I", "eth1", SITE4],
    "ping6 bound to a device": ["ping", "-c1", "-W1", "-I", "eth1", SITE6],
}


@contextmanager
def mix_running(system: System, attempts: dict[str, list[str]], pause: float = 0.1) -> Iterator[Process]:
    """Every attempt over and over, each in its own loop; begun once each was tried.

    `pause`: seconds between two of a kind. All of them take a CPU for themselves at a tenth.
    """
    loops = "".join(
        f"(while :; do {shlex.join(argv)} >/dev/null 2>&1; echo {shlex.quote(name)}; sleep {pause}; done) &\n"
        for name, argv in attempts.items()
    )
    running = system.lab.start(system.host, ["sh", "-c", loops + "wait"])
    try:
        until(lambda: set(running.output().splitlines()) >= set(attempts), 60, "every attempt once")
        yield running
    finally:
        running.stop()


def test_without_a_kill_switch(uplinks: UplinkLab, system: System) -> None:
    """Steady state and a move: what does not bind itself to an uplink goes through the tunnel."""
    system.up()
    with uplinks.spied() as leaks, mix_running(system, MIX):
        uplinks.use_uplink(2)
        until(lambda: "connected again" in system.log())
        until(lambda: system.fetch(f"http://{SITE4}/1k", timeout=5) == 1024)
        time.sleep(0.5)
    assert leaks == []


def test_with_a_kill_switch_through_everything(uplinks: UplinkLab, system: System) -> None:
    """Steady state, a move, kill -9, a restart that fails, one that succeeds, and a replacement."""
    system.up("--kill-switch")
    refusing = f"(tcp dst port 9 and dst host {SERVER4})"
    with uplinks.spied(f"({TO_SHADOWSOCKS} or {refusing})") as leaks, mix_running(system, {**MIX, **BOUND}):
        uplinks.use_uplink(2)
        until(lambda: "connected again" in system.log())
        system.kill()
        until(lambda: system.tunflow("status").returncode == 3)
        time.sleep(1.5)
        assert system.fetch(f"http://{SITE4}/1k", timeout=0.5) == 0
        failed = system.tunflow("up", "--kill-switch", "--server", "ss://aes-256-gcm:x@10.66.0.2:9")
        assert failed.returncode == 1, failed
        assert system.fetch(f"http://{SITE4}/1k", timeout=0.5) == 0
        system.up("--kill-switch")
        until(lambda: system.fetch(f"http://{SITE4}/1k", timeout=5) == 1024)
        system.up("--kill-switch", "--replace")
        until(lambda: system.fetch(f"http://{SITE4}/1k", timeout=5) == 1024)
    assert [line for line in leaks if not any(f"? {name}" in line for name in PROBED)] == []


def test_the_witness_sees_what_leaves_without_a_tunnel(uplinks: UplinkLab, system: System) -> None:
    """A test that cannot fail proves nothing."""
    with uplinks.spied() as leaks:
        for name in ("web", "web6", "ping", "ping6"):
            system.run(MIX[name])
        system.run(BOUND["bound to the second"])
    for words in ("10.77.0.1.80: ", "fd77::1.80: ", "echo request", SECOND4):
        assert any(words in line for line in leaks), (words, leaks)


def test_down_ends_the_kill_switch(uplinks: UplinkLab, system: System) -> None:
    before = system.snapshot()
    system.up("--kill-switch")
    system.kill()
    until(lambda: system.tunflow("status").returncode == 3)
    assert "left changes behind" in system.tunflow("status").stdout
    assert system.fetch(f"http://{SITE4}/1k", timeout=0.5) == 0
    system.ok("down")
    assert system.snapshot() == before
    assert system.fetch(f"http://{SITE4}/1k") == 1024
