"""Every method of the servers fails once, in the middle of a mixed load: one client's flow ends, and nothing else.

As `tests/dataplane/test_fault_injection.py` has it for the dataplane.
"""

from __future__ import annotations

import gc
from collections import Counter

import pytest
from faulty_load import World

from faults import counted, failing, kept, sites_of
from open_files import open_files, opened_since

pytestmark = pytest.mark.interpreted  # faults are put into methods, which compiled code calls directly

ROOMS = (
    "tunflow.inbound.client_request",
    "tunflow.inbound.codecs",
    "tunflow.inbound.connect",
    "tunflow.inbound.forwarding",
    "tunflow.inbound.listen",
    "tunflow.inbound.listen_udp",
    "tunflow.inbound.listening_sockets",
    "tunflow.inbound.pipe",
    "tunflow.inbound.proxy_service",
    "tunflow.inbound.relay",
    "tunflow.inbound.resolver",
    "tunflow.inbound.server",
    "tunflow.inbound.side",
    "tunflow.inbound.silent_peers",
    "tunflow.inbound.stream_server",
    "tunflow.inbound.stream_service",
    "tunflow.inbound.target_dial",
    "tunflow.inbound.target_service",
    "tunflow.inbound.udp",
    "tunflow.protocols.http.forwarder",
)
MECHANISM = {
    "cut", "abort", "close", "cancel", "over", "release",
    "_drop", "_drop_oldest", "_drop_site", "_leave", "_sweep", "_work",
}  # fmt: skip
"""What gives back, and what runs in a thread: of these only what they call fails."""

SECONDS = 5.0


@pytest.fixture
def world():
    made = World()
    yield made
    made.close()


def state(world):
    """What is to be as it was, once all is idle."""
    shared = [server.shared for server in world.servers]
    return {
        "descriptors": opened_since(world.files),
        "budget": [each.budget.used for each in shared],
        "newcomers": [len(each.newcomers) for each in shared],
        "silent": [len(each.silence) for each in shared],
        "handlers": world.reactor.watched,
    }


def test_each_call_site_fails_once_and_one_flow_with_it(world):
    calls = Counter()
    with counted(calls, ROOMS, MECHANISM):
        for _ in range(2):
            begun = world.load()
            assert not world.run(begun, 60), [(each.kind, each.outcome) for each in begun]
            world.settle(begun)
    sites = [(site, number) for site, number in sites_of(calls) if number == 1 or number > 6]
    assert len(sites) > 120, "the load does not reach what it is to reach"
    kinds = {kind for kind, _ in calls}
    gc.collect()
    world.files = open_files()
    before, objects = state(world), kept(*kinds)
    wrong = []
    failed = 0
    for (kind, name), number in sites:
        what = f"{kind.__name__}.{name}, call {number}"
        errors = world.reactor.internal_errors
        world.lines.clear()
        with failing(kind, name, number) as has_failed:
            begun = world.load()
            world.run(begun, SECONDS)
            world.settle(begun)
            if not has_failed():
                continue
            failed += 1
        ended = [client for client in begun if client.outcome != "whole"]
        if len(ended) > 1:
            wrong.append(f"{what}: ended {[(client.kind, client.outcome) for client in ended]}")
        if world.reactor.internal_errors == errors:
            wrong.append(f"{what}: not counted")
        told = [line for line in world.lines if "internal error in" in line]
        if not told or any("the loop" in line for line in told) or any("secret" in line for line in world.lines):
            wrong.append(f"{what}: told as {world.lines}")
        if state(world) != before:
            gc.collect()
        if (after := state(world)) != before:
            wrong.append(f"{what}: left {[(key, was, after[key]) for key, was in before.items() if after[key] != was]}")
            before = after
    assert not wrong, "\n" + "\n".join(wrong)
    assert failed > 100
    begun = world.load()
    assert not world.run(begun, 60)
    world.settle(begun)
    assert not kept(*kinds) - objects
