"""The Linux kernel's TCP against ours over a wire that loses, damages, repeats and reorders packets both ways.

On every connection both sides send at once and then close; every byte is checked. The cases mix what Linux can be set
to, each pair of settings at least once.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from lossy_wire import SERVER_V4, SERVER_V6, kernel_host, run

from tunflow.stack.stack import Stack
from tunflow.testing.link import Conditions
from tunflow.testing.owner import Owner, Owners
from tunflow.testing.pair import End, Pair
from tunflow.testing.stream import PERIOD, Stream

pytestmark = pytest.mark.lab

CLIENT = Path(__file__).parent / "clients" / "both_ways.py"
CONNECTIONS = 2
SIZE = 1_000_000
RTO_MAX = Path("/proc/sys/net/ipv4/tcp_rto_max_ms")
"""Since Linux 6.15: what a time-out doubles up to."""

PATIENCE = 40.0 if RTO_MAX.exists() else 150.0
"""Seconds for one case; it takes 3 to 15. Without timestamps Linux doubles its time-out for each segment of a flight
that gets lost twice, and keeps it so until it has measured a round trip again (Karn's rule, RFC 6298 section 3): where
that has no maximum that could be set, some runs of a hundred take longer."""


class Case(NamedTuple):
    loss: float
    version: int
    mtu: int
    sack: int
    timestamps: int

    def __str__(self) -> str:
        options = f"{'sack' if self.sack else 'no-sack'}-{'ts' if self.timestamps else 'no-ts'}"
        return f"{self.loss:.0%}-ipv{self.version}-{self.mtu}-{options}"


CASES = [
    Case(0.01, 4, 1500, sack=1, timestamps=1),
    Case(0.01, 4, 576, sack=0, timestamps=0),
    Case(0.01, 6, 1500, sack=0, timestamps=1),
    Case(0.01, 6, 1280, sack=1, timestamps=0),
    Case(0.05, 4, 1500, sack=0, timestamps=0),
    Case(0.05, 4, 576, sack=1, timestamps=1),
    Case(0.05, 6, 1500, sack=1, timestamps=0),
    Case(0.05, 6, 1280, sack=0, timestamps=1),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.usefixtures("_available")
def test_every_byte_arrives_over_a_bad_wire(case):
    settings = [f"net.ipv4.tcp_sack={case.sack}", f"net.ipv4.tcp_timestamps={case.timestamps}"]
    settings += ["net.ipv4.tcp_rto_max_ms=1000"] if RTO_MAX.exists() else []
    with kernel_host(case.mtu, settings) as (host, kernel):
        stack = Stack(case.mtu, b"lossy")
        serving: list[Owner] = []

        def asked(connection, now):
            owner = Owner(connection, Stream(2), Stream(1))
            owner.to_send, owner.closes = SIZE, True
            serving.append(owner)
            connection.accept(now)
            owner.serve(now)

        conditions = Conditions(
            loss=case.loss, corrupt=case.loss / 4, duplicate=0.01, reorder=0.01, overtaken_for=0.003, delay=0.002
        )
        pair = Pair(End(kernel), End(stack, Owners(stack, asked).serve), conditions, seed=case.mtu)
        address = SERVER_V4 if case.version == 4 else SERVER_V6
        argv = host.command([sys.executable, str(CLIENT), address, "80", str(SIZE), str(CONNECTIONS)])
        with subprocess.Popen(argv, stdout=subprocess.PIPE, env=host.env) as client:
            try:
                done = run(pair, kernel, lambda: client.poll() is not None and not stack.connections, PATIENCE)
                assert done, [(owner.received, owner.queued, owner.connection.state.name) for owner in serving]
                assert client.stdout is not None
                results = json.loads(client.stdout.read())
            finally:
                client.kill()
    expected = {"error": None, "received": SIZE, "sha256": digest(Stream(2))}
    assert results == [expected] * CONNECTIONS
    assert [(owner.received, owner.saw_end, owner.was_reset) for owner in serving] == [
        (SIZE, True, False)
    ] * CONNECTIONS
    for link in (pair.there, pair.back):
        counts = link.counts
        assert min(counts.lost, counts.corrupted, counts.duplicated, counts.reordered) > 0


def digest(stream: Stream) -> str:
    whole = b"".join(stream.piece(start, SIZE - start) for start in range(0, SIZE, PERIOD))
    return hashlib.sha256(whole).hexdigest()
