"""Every call site of the dataplane fails once, in the middle of a mixed load: one flow ends, and nothing else.

The sites are found by a run without faults: every method of the classes of `ROOMS` that it calls. Then each in turn is
replaced, for one call, by a bug. The others' bytes arrive, the bug is counted, and descriptors, memory and tables are
afterwards what they were before.
"""

from __future__ import annotations

import gc
from collections import Counter

import pytest
from mixed_load import World

from faults import counted, failing, kept, sites_of
from open_files import open_files, opened_since

pytestmark = pytest.mark.interpreted  # faults are put into methods, which compiled code calls directly

ROOMS = (
    "tunflow.dataplane.admission",
    "tunflow.dataplane.context",
    "tunflow.dataplane.driver",
    "tunflow.dataplane.filtering.connection",
    "tunflow.dataplane.filtering.datagrams",
    "tunflow.dataplane.filtering.flow_filter",
    "tunflow.dataplane.filtering.session",
    "tunflow.dataplane.ping",
    "tunflow.dataplane.served_names",
    "tunflow.dataplane.server_watch",
    "tunflow.dataplane.slots",
    "tunflow.dataplane.tcp.flow_dial",
    "tunflow.dataplane.tcp.new_stream",
    "tunflow.dataplane.tcp.openings",
    "tunflow.dataplane.tcp.relay",
    "tunflow.dataplane.tcp.remote_socket",
    "tunflow.dataplane.turns",
    "tunflow.dataplane.udp.client_socket",
    "tunflow.dataplane.udp.new_datagrams",
    "tunflow.dataplane.udp.relay",
    "tunflow.dns.local_answers",
    "tunflow.dns.resolver",
    "tunflow.names.exchange",
    "tunflow.names.group",
    "tunflow.names.name_server",
    "tunflow.names.queries",
    "tunflow.names.udp",
    "tunflow.outbound.dialing",
)
MECHANISM = {
    "cut", "_open_streams", "_serve_datagrams", "_close_expired", "_answer_pings",
    "_sweep", "_sweep_later",
}  # fmt: skip
"""What contains, and what the next flow begins anew: of these only what they call fails."""

BULK = 100_000
SECONDS = 30.0
"""What only a busy machine takes."""


@pytest.fixture
def world():
    made = World()
    yield made
    made.close()


def state(world):
    """What is to be as it was, once all is idle."""
    stack = world.context.stack
    return {
        "descriptors": opened_since(world.files),
        "slots": len(world.context.slots),
        "connections": stack.connections,
        "client sockets": len(stack.udp),
        "buffered": stack.budget.used,
        "lookups": len(world.names.resolver),
        "handlers": world.reactor.watched,
        "filter's flows": world.filter.flows,
    }


def test_each_call_site_fails_once_and_one_flow_with_it(world):
    calls = Counter()
    with counted(calls, ROOMS, MECHANISM):
        for _ in range(2):
            assert not world.run(world.load(BULK), SECONDS)
            world.settle()
    sites = sites_of(calls)
    assert len(sites) > 250, "the load does not reach what it is to reach"
    kinds = {kind for kind, _ in calls if kind.__module__ != "tunflow.dataplane.ping"}
    gc.collect()
    world.files = open_files()
    before, objects = state(world), kept(*kinds)
    wrong = []
    failed = 0
    for (kind, name), number in sites:
        what = f"{kind.__name__}.{name}, call {number}"
        errors = world.reactor.internal_errors
        world.lines.clear()
        begun = world.load(BULK)
        with failing(kind, name, number) as has_failed:
            world.run(begun, SECONDS)
            world.settle()
            if not has_failed():
                continue
            failed += 1
        ended = [client for client in begun if client.outcome != "whole"]
        if len({client.kind for client in ended}) > 1:
            wrong.append(f"{what}: ended {[(client.kind, client.outcome) for client in ended]}")
        wrong += [f"{what}: {client.kind} {client.outcome}" for client in ended if client.outcome == "cut short"]
        is_providers = any("the filter failed" in line for line in world.lines)
        if world.reactor.internal_errors == errors and not is_providers:
            wrong.append(f"{what}: not counted")
        if any("secret" in line for line in world.lines) and not is_providers:
            wrong.append(f"{what}: told with its words")
        if (after := state(world)) != before:
            wrong.append(f"{what}: left {[(key, was, after[key]) for key, was in before.items() if after[key] != was]}")
            before = after
    assert not wrong, "\n" + "\n".join(wrong)
    assert failed > 200
    assert not world.run(world.load(BULK), SECONDS)
    world.settle()
    assert not kept(*kinds) - objects
