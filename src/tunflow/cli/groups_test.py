"""`tunflow groups test`: how long servers take to answer, of the tunnel that is up or of a profile."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

from tunflow.cli.progress import bar
from tunflow.cli.stderr import say
from tunflow.cli.table import print_table
from tunflow.control.client import NotRunning, Refused, ask, watch
from tunflow.errors import LocalError, RemoteError
from tunflow.host.runtime import RuntimeDirectory
from tunflow.outbound.delay_round import DelayListener


def test_servers(group: str | None, profile: str | None, *, as_json: bool) -> int:
    """Print them, the fastest first; 0 if one answered. Raises LocalError or RemoteError."""
    measure = _of_running if profile is None else _of_profile(profile)
    delays: dict[str, float | None] = {}
    with bar(quiet=False) as show:

        def told(server: str, delay: float | None) -> None:
            delays[server] = delay
            show(f"{len(delays)} of {len(servers)}", len(delays) / len(servers))

        servers: list[str] = []
        measure(group, servers, told)
    found = sorted(delays.items(), key=lambda each: (each[1] is None, each[1] or 0.0, each[0]))
    if as_json:
        facts = [{"name": name, "works": delay is not None, "delay": delay} for name, delay in found]
        print(json.dumps(facts, indent=2, ensure_ascii=False))  # noqa: T201
    else:
        print_table([(name, "no answer" if delay is None else f"{delay * 1000:5.0f} ms") for name, delay in found])
    return 0 if any(delay is not None for delay in delays.values()) else 1


Measure = Callable[[str | None, list[str], DelayListener], None]
"""Asks the servers of a group, or all; says which they are, then what each says. Raises LocalError or RemoteError."""


def _of_running(group: str | None, servers: list[str], told: DelayListener) -> None:
    control = RuntimeDirectory.running().control
    try:
        events = watch(control)  # first, so that no answer is missed
        servers += ask(control, "measure", group=group)["servers"]
    except NotRunning:
        raise LocalError("no tunnel is up: tunflow groups test --profile PROFILE asks a profile's servers") from None
    except Refused as error:
        raise LocalError(str(error)) from None
    waiting = set(servers)
    while waiting:
        event = next(events, None)
        if event is None:
            raise RemoteError("the tunnel went down while its servers were asked")
        name = event.facts.get("server")
        if event.name == "delay" and name in waiting:
            waiting.discard(name)
            told(str(name), event.facts.get("delay"))


def _of_profile(name: str) -> Measure:
    from tunflow.loop.reactor import Reactor  # noqa: PLC0415
    from tunflow.loop.rounds import serve_while  # noqa: PLC0415
    from tunflow.loop.sockets import UNMARKED  # noqa: PLC0415
    from tunflow.outbound.delay_round import DelayRound  # noqa: PLC0415
    from tunflow.outbound.sessions import KeptSessions  # noqa: PLC0415
    from tunflow.profiles.store import load_profile  # noqa: PLC0415
    from tunflow.rules.groups import Groups, Health  # noqa: PLC0415
    from tunflow.rules.targets import BUILT_IN  # noqa: PLC0415
    from tunflow.tunnel.compile import chains_of, groups_of  # noqa: PLC0415
    from tunflow.tunnel.outbounds import find_hops_now, outbounds_of  # noqa: PLC0415
    from tunflow.tunnel.plan import first_hops  # noqa: PLC0415
    from tunflow.tunnel.rule_lists import RuleLists  # noqa: PLC0415
    from tunflow.tunnel.server_lists import with_fetched_servers  # noqa: PLC0415

    profile = load_profile(name, say)
    profile = with_fetched_servers(profile, RuleLists(profile, say))
    chains = chains_of(profile)
    groups = Groups(groups_of(profile, chains), tuple(chains), Health(random.random), BUILT_IN)

    def measure(group: str | None, servers: list[str], told: DelayListener) -> None:
        servers += groups.servers_of(group) if group is not None else list(chains)
        if not servers:
            raise LocalError(f"{profile.file or name}: there is no server to ask")
        asked_for = {each: chains[each] for each in servers}
        find, _ = find_hops_now(first_hops(asked_for))
        sessions = KeptSessions()
        ways = outbounds_of(asked_for, find, sessions=sessions)
        reactor = Reactor()
        sessions.start(reactor, lambda _: None)
        asked = DelayRound(reactor, servers, ways.get, groups.question, UNMARKED, told)
        try:
            serve_while(reactor, lambda: bool(asked.left), sessions.close, coroutines=sessions.wants_coroutines)
        finally:
            asked.close()
            reactor.close()

    return measure
