"""Whoever carries a flow by a profile decides alike: `run`, `up`, `attach` and `tunflow.attach`, and `explain` says so.

Nothing leaves this machine: the servers are `block://`.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path
from queue import SimpleQueue

import pytest

from tunflow.cli.instructions import Instructions
from tunflow.embed import attach
from tunflow.host.memory import memory_pair
from tunflow.loop.reactor import Reactor
from tunflow.profiles.store import load_profile
from tunflow.testing.packet_script import ScriptedClient
from tunflow.tunnel.assemble import ServingContext
from tunflow.tunnel.compile import compile_profile
from tunflow.tunnel.explain import LookedUp, explain, parse_destination
from tunflow.tunnel.outbounds import make_outbounds
from tunflow.tunnel.process_filter import ProcessFilter
from tunflow.tunnel.tunnel_interface import TunnelContext, TunnelInterface
from tunflow.wire.tcp import SYN

PROFILE = """\
server = "block://"
rules = [
  "DST-PORT,25,REJECT",
  "IP-CIDR,192.0.2.64/26,auto",
  "IP-CIDR,198.51.100.0/24,REJECT-DROP",
]
[dns]
mode = "off"
[servers.two]
url = "block://"
[groups.auto]
type = "fallback"
servers = ["two", "PROXY"]
"""
FLOWS = [("192.0.2.80", 80), ("192.0.2.80", 25), ("192.0.2.1", 80), ("198.51.100.7", 443)]

Decide = Callable[[Path, str, int], str]
"""What is told of a flow to an address and port: the way to a server, and the rule that says so."""


def by_run(profile: Path, address: str, port: int) -> str:
    script = f"exec 3<>/dev/tcp/{address}/{port}"
    command = [
        sys.executable,
        "-m",
        "tunflow",
        "run",
        "--profile",
        str(profile),
        "-v",
        "--",
        "timeout",
        "3",
        "bash",
        "-c",
        script,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return told(line.removeprefix("tunflow: ") for line in done.stderr.splitlines())


def by_attach(profile: Path, address: str, port: int) -> str:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "tunflow", "attach", "--fd", str(theirs.fileno()), "--profile", str(profile), "-v"]
    with (
        ours,
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, pass_fds=(theirs.fileno(),)) as running,
    ):
        theirs.close()
        ours.send(ScriptedClient(target=address, target_port=port).packet(SYN, seq=0))
        assert running.stderr is not None
        try:
            return told(line.strip().removeprefix("tunflow: ") for line in running.stderr)
        finally:
            running.send_signal(signal.SIGTERM)
            running.wait(60)


def by_embedding(profile: Path, address: str, port: int) -> str:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    lines: SimpleQueue[str] = SimpleQueue()
    tunnel = attach(theirs.detach(), profile=str(profile), verbose=True, log=lines.put)
    thread = threading.Thread(target=tunnel.run)
    thread.start()
    with ours:
        ours.send(ScriptedClient(target=address, target_port=port).packet(SYN, seq=0))
        try:
            return told(iter(lambda: lines.get(timeout=60), None))
        finally:
            tunnel.stop()
            thread.join(60)


class OneDevice:
    """A host on which nothing has to be made."""

    settings = None

    def __init__(self, device) -> None:
        self.device = device

    def apply(self, settings) -> None:
        """It is so already."""

    def undo(self, *, keep_kill_switch: bool = False) -> None:
        """Nothing was done."""


def by_up(profile: Path, address: str, port: int) -> str:
    given = argparse.Namespace(
        profile=str(profile), server=[], dns=None, kill_switch=None, exclude_lan=None, per_app=None, gateway=None,
        on_demand=None, replace=False, verbose=True, memory_limit=inf, pcap=None, stats=False, api=None,
    )  # fmt: skip
    plan = compile_profile(Instructions.given(given).make_profile(), lasting=True)
    device, card = memory_pair(vnet=False)
    lines: list[str] = []
    reactor = Reactor()
    serving = ServingContext(reactor, lines.append, ProcessFilter(reactor, lines.append), verbose=True)

    async def make() -> TunnelInterface:  # it is made in a running loop
        return TunnelInterface(plan, TunnelContext(OneDevice(device), lambda: (), serving))

    end = asyncio.run(make())
    end.assemble(plan, make_outbounds(plan))
    card.write([[bytes(10), ScriptedClient(target=address, target_port=port).packet(SYN, seq=0)]])
    reactor.run_once(1)
    end.take_down()
    reactor.close()
    return told(lines)


def told(lines: Iterator[str] | list[str]) -> str:
    """What the line about the decision says behind the flow's addresses."""
    return next(line.partition(": ")[2] for line in lines if line.startswith("tcp ") and ", by " in line)


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "p.toml"
    path.write_text(PROFILE)
    return path


@pytest.mark.parametrize("decide", [by_run, by_up, by_attach, by_embedding])
def test_all_decide_as_it_is_explained(profile: Path, decide: Decide) -> None:
    plan = compile_profile(load_profile(str(profile)))
    for address, port in FLOWS:
        said = explain(plan, parse_destination(f"{address}:{port}"), lambda _: LookedUp(()))
        rule = said.rule
        assert decide(profile, address, port) == f"{' -> '.join(said.path)}, by {rule.file}:{rule.line} {rule.text}"
