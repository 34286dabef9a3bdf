"""A plan's ways out: the addresses of its servers found, an outbound for each, and what chooses between them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tunflow.endpoint import Address
from tunflow.errors import LocalError, RemoteError
from tunflow.outbound.chain import goes_direct, make_outbound
from tunflow.outbound.direct import DirectOutbound
from tunflow.outbound.lookup import NoAddress, find_by_system, is_address
from tunflow.outbound.sessions import KeptSessions
from tunflow.protocols.contract import Outbound, Settings
from tunflow.protocols.server_addresses import ServerAddresses
from tunflow.rules.targets import BUILT_IN, DIRECT, PROXY, REJECT, REJECT_DROP
from tunflow.tunnel.plan import Hop, Plan

if TYPE_CHECKING:
    from tunflow.dataplane.rule_policy import Routing
    from tunflow.hosting.packet_tunnels import PacketTunnels

Find = Callable[[str, int], Awaitable[tuple[Address, ...]]]
"""Finds the addresses of a host and port. Raises LocalError or RemoteError."""
FindServer = Callable[[str, int], ServerAddresses]
"""Finds where a server is, and waits for it. Raises LocalError or NoAddress."""
Found = dict[Hop, tuple[Address, ...]]

AT_ONCE = 16
"""Names that are looked up side by side."""


class Outbounds(NamedTuple):
    """Where the flows of a plan can go."""

    find_default: Callable[[], Outbound]
    """Finds `default`; what groups choose may change at any time."""
    find_ping: Callable[[], Outbound]
    """Finds where pings go: as flows that no rule is about, and nowhere where those are refused."""
    routing: Routing | None
    """What the plan's rules say, where it has some."""
    tunnels: PacketTunnels | None
    """What has to run for them; None for nothing."""
    sessions: KeptSessions
    """The connections to servers that flows share."""

    @property
    def default(self) -> Outbound:
        """For what nobody is asked about, as of now: names, and everything where nothing is to be chosen."""
        return self.find_default()


async def find_hops(plan: Plan, find: Find, known: Found | None = None) -> tuple[Found, list[str]]:
    """The addresses of all first hops, and what went wrong with some; `known` ones are kept where that is so.

    Raises LocalError or RemoteError when none is found although there are some.
    """
    import asyncio  # noqa: PLC0415 - who waits for one server has no loop

    results = await asyncio.gather(*(find(*hop) for hop in plan.first_hops), return_exceptions=True)
    found: Found = {}
    failures: list[LocalError | RemoteError] = []
    for hop, result in zip(plan.first_hops, results, strict=True):
        if isinstance(result, LocalError | RemoteError):
            failures.append(result)
            if known is not None and hop in known:
                found[hop] = known[hop]
        elif isinstance(result, BaseException):
            raise result
        else:
            found[hop] = result
    if failures and not found:
        raise failures[0]
    return found, [str(failure) for failure in failures]


class KnownServers:
    """Where the first hops are, kept while the ways through them are made anew; `failed` hears when one does not answer
    whose name is to be looked up again."""

    def __init__(self, failed: Callable[[], None]) -> None:
        self._failed = failed
        self._known: dict[Hop, ServerAddresses] = {}

    def use(self, found: Found) -> None:
        """Go on with what was found."""
        for hop, addresses in found.items():
            if hop in self._known:
                self._known[hop].use(addresses)
            else:
                look_up = None if is_address(hop[0]) else self._look_up
                self._known[hop] = ServerAddresses(addresses, look_up)

    def find(self, host: str, port: int) -> ServerAddresses:
        """Where a server is. Raises NoAddress."""
        return _known(self._known, host, port)

    def _look_up(self, _use: Callable[[Sequence[Address]], None]) -> None:
        self._failed()


def find_hops_now(hops: Sequence[Hop], find: FindServer = find_by_system) -> tuple[FindServer, list[str]]:
    """What finds a plan's `first_hops`, and what went wrong with some; returns when all were looked up, side by side.

    Raises LocalError or NoAddress when none is found although there are some.
    """
    found, failures = _find_side_by_side(hops, find) if len(hops) > 1 else ({hop: find(*hop) for hop in hops}, [])
    if failures and not found:
        raise failures[0]
    return lambda host, port: _known(found, host, port), [str(failure) for failure in failures]


def _find_side_by_side(
    hops: Sequence[Hop], find: FindServer
) -> tuple[dict[Hop, ServerAddresses], list[LocalError | NoAddress]]:
    found: dict[Hop, ServerAddresses] = {}
    failures: list[LocalError | NoAddress] = []
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - who has one server needs no threads

    with ThreadPoolExecutor(min(len(hops), AT_ONCE)) as pool:
        results = {hop: pool.submit(find, *hop) for hop in hops}
    for hop, result in results.items():
        try:
            found[hop] = result.result()
        except (LocalError, NoAddress) as error:
            failures.append(error)
    return found, failures


def _known(known: Mapping[Hop, ServerAddresses], host: str, port: int) -> ServerAddresses:
    try:
        return known[host, port]
    except KeyError:
        raise NoAddress(f"the server's name {host!r} cannot be resolved") from None


def make_outbounds(
    plan: Plan,
    find: FindServer = find_by_system,
    tunnels: PacketTunnels | None = None,
    sessions: KeptSessions | None = None,
) -> Outbounds:
    """The ways out through a plan's servers; one that is not found refuses its flows.

    `tunnels` run what carries packets; with None such servers are refused. `sessions` are those of a plan before this
    one, which go on where the servers are the same.

    Raises LocalError, and NoAddress where none is found.
    """
    sessions = sessions or KeptSessions()
    if not plan.has_rules:
        servers = plan.chains.get(PROXY, ())
        default = make_outbound(servers, find, tunnels, sessions) if servers else DirectOutbound()
        made = Outbounds(lambda: default, lambda: default, None, tunnels, sessions)
    else:
        routing = _routing(plan, find, tunnels, sessions)
        rest, other, refused = _rest(routing), _other(plan, routing), nowhere()
        made = Outbounds(
            lambda: routing.dialer(rest) or other, lambda: routing.dialer(rest) or refused, routing, tunnels, sessions
        )
    _check_names(plan, made.default)
    return made


def _check_names(plan: Plan, default: Outbound) -> None:
    """Raise LocalError where names are to be asked of Tor, and Tor is not there."""
    asked = [upstream for group in plan.resolver_groups for upstream in group.upstreams if upstream.transport == "tor"]
    if asked and default.resolver is None:
        raise LocalError("names cannot be asked of Tor (dns mode tor): the last server is not tor://")


def _routing(plan: Plan, find: FindServer, tunnels: PacketTunnels | None, sessions: KeptSessions) -> Routing:
    from random import random  # noqa: PLC0415 - nobody without rules waits for these

    from tunflow.dataplane.decision import Refuse  # noqa: PLC0415
    from tunflow.dataplane.rule_policy import Routing  # noqa: PLC0415
    from tunflow.rules.groups import Groups, Health, copied  # noqa: PLC0415

    assert plan.rules is not None
    ways: dict[str, Outbound | Refuse] = {**outbounds_of(plan.chains, find, tunnels, sessions)}
    ways |= {DIRECT: DirectOutbound(), REJECT: Refuse.RESET, REJECT_DROP: Refuse.DROP}
    groups = Groups(copied(plan.rules.groups), tuple(plan.chains), Health(random), BUILT_IN)
    return Routing(plan.rules.table, groups, ways, plan.rules.default)


def tunnels_for(plan: Plan) -> PacketTunnels | None:
    """Who runs the packet tunnels of a plan; None where it has none."""
    if not plan.packet_hops:
        return None
    from tunflow.hosting.packet_tunnels import PacketTunnels  # noqa: PLC0415 (brings asyncio, for those who need it)

    return PacketTunnels()


def outbounds_of(
    chains: Mapping[str, Sequence[Settings]],
    find: FindServer,
    tunnels: PacketTunnels | None = None,
    sessions: KeptSessions | None = None,
) -> dict[str, Outbound]:
    """A way out for each chain; one whose server is not found refuses its flows. Raises NoAddress if none is."""
    from tunflow.protocols.block.outbound import BlockOutbound  # noqa: PLC0415 - nobody without rules waits for it

    made: dict[str, Outbound] = {}
    failures: list[NoAddress] = []
    for name, chain in chains.items():
        try:
            made[name] = make_outbound(chain, find, tunnels, sessions)
        except NoAddress as error:
            failures.append(error)
            made[name] = BlockOutbound()
    if failures and len(failures) == len(chains):
        raise failures[0]
    return made


def _rest(routing: Routing) -> str:
    """Where MATCH sends flows: what no rule is asked about goes there too, by the groups' choice of the moment."""
    last = routing.table.verdict(len(routing.table) - 1) if len(routing.table) else routing.default
    return (last if last.text.partition(",")[0].upper() in {"MATCH", "FINAL"} else routing.default).target


def _other(plan: Plan, routing: Routing) -> Outbound:
    """Where names are asked for if MATCH refuses: by the first server of the plan. Straight out only where the profile
    sends flows there itself."""
    ways = [way for name in plan.chains if (way := routing.dialer(name)) is not None]
    other = next((way for way in ways if not goes_direct(way)), None)
    if other is not None:
        return other
    return DirectOutbound() if plan.goes_direct else nowhere()


def nowhere() -> Outbound:
    """The way out that refuses everything."""
    from tunflow.protocols.block.outbound import BlockOutbound  # noqa: PLC0415 - nobody without rules waits for it

    return BlockOutbound()
