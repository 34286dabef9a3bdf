"""A profile's servers, groups and rules, made ready to decide flows.

Targets of rules: the names of servers and groups, `DIRECT`, `REJECT` (told at once), `REJECT-DROP` (not told), and
`PROXY` for the profile's own `server`, unless a server or group is called so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

from tunflow.dataplane.decision import Refuse
from tunflow.dataplane.rule_policy import Routing
from tunflow.errors import LocalError
from tunflow.outbound.chain import outbound_of
from tunflow.outbound.direct import DirectOutbound
from tunflow.profiles.profile import Profile
from tunflow.protocols.contract import Outbound
from tunflow.rules.groups import Group, Groups, Health
from tunflow.rules.rule_set import silent
from tunflow.rules.syntax import Line, Rule, parse_rule
from tunflow.rules.table import RuleTable, Verdict
from tunflow.rules.targets import BUILT_IN, DIRECT, PROXY, REJECT, REJECT_DROP
from tunflow.tunnel.app_rules import app_rules
from tunflow.tunnel.rule_lists import RuleLists

MakeDialer = Callable[[tuple[str, ...]], Outbound]
"""Links of a chain, first hop first, to its dialer. Raises LocalError."""


def dial(links: tuple[str, ...]) -> Outbound:
    """The dialer for links; names of first hops are resolved, which may take seconds. Raises LocalError."""
    return outbound_of(links)


def make_routing(
    profile: Profile,
    health: Health,
    make: MakeDialer = dial,
    table: RuleTable | None = None,
    tell: Callable[[str], None] = silent,
) -> Routing:
    """What the profile says about flows. Raises LocalError that names file and line.

    `table` are the profile's rules if they were read already; else `tell` gets a line about each list with lines that
    are not understood. A server whose name cannot be resolved refuses its flows; only when none can be, that is an
    error.
    """
    chains = server_chains(profile)
    groups = make_groups(profile, chains, health)
    if table is None:
        table = make_table(profile, {*chains, *groups.all, *BUILT_IN}, RuleLists(profile, tell))
    ways: dict[str, Outbound | Refuse] = {**dialers(chains, make)}
    ways |= {DIRECT: DirectOutbound(), REJECT: Refuse.RESET, REJECT_DROP: Refuse.DROP}
    return Routing(table, groups, ways, default_verdict(profile, PROXY in chains or PROXY in groups))


def default_dialer(routing: Routing) -> Outbound:
    """Where flows go that no special rule is about."""
    last = routing.table.verdict(len(routing.table) - 1) if len(routing.table) else routing.default
    target = (last if last.text.partition(",")[0].upper() in {"MATCH", "FINAL"} else routing.default).target
    way = routing.ways[routing.groups.way(target, "")[-1]]
    if isinstance(way, Refuse):
        way = routing.ways[DIRECT]
    assert not isinstance(way, Refuse)
    return way


def server_chains(profile: Profile) -> dict[str, tuple[str, ...]]:
    """Every server's links by its name."""
    chains = {name: (section.url,) if section.url else section.chain for name, section in profile.servers.items()}
    if profile.server and PROXY not in chains and PROXY not in profile.groups:
        chains[PROXY] = profile.server
    for name in (*profile.servers, *profile.groups):
        if name in BUILT_IN:
            kind = "servers" if name in profile.servers else "groups"
            raise LocalError(f"{profile.at(kind, name)}: {name} is a built-in target and cannot be a name")
        if name in profile.servers and name in profile.groups:
            raise LocalError(f"{profile.at('groups', name)}: {name!r} is a server already")
    return chains


def make_groups(profile: Profile, servers: Iterable[str], health: Health) -> Groups:
    """The profile's groups. Raises LocalError."""
    made = [
        Group(
            name,
            section.type,
            section.servers,
            section.url,
            section.interval,
            section.tolerance,
            section.strategy,
        )
        for name, section in profile.groups.items()
    ]
    try:
        return Groups(made, tuple(servers), health, BUILT_IN)
    except LocalError as error:
        raise LocalError(f"{profile.at('groups')}: {error}") from None


def make_table(profile: Profile, targets: set[str], lists: RuleLists | None = None) -> RuleTable:
    """The profile's app rules and rules. Raises LocalError that names the rule's line."""
    apps = app_rules(profile, {"direct": DIRECT, "block": REJECT})
    return RuleTable(chain(apps, rules_of(profile, targets, lists or RuleLists(profile))))


def rules_of(profile: Profile, targets: set[str], lists: RuleLists) -> Iterable[Rule]:
    """The profile's rules, one by one. Raises LocalError that names the rule's line."""
    context = lists.context
    for number, text in enumerate(profile.rules):
        line = Line(text, profile.file or profile.name, profile.line("rules", number) or number + 1)
        rule = parse_rule(line, context)
        if rule.target not in targets:
            known = ", ".join(sorted(targets))
            raise line.error(f"there is no server or group {rule.target!r}; there are: {known}")
        yield rule


def default_verdict(profile: Profile, has_proxy: bool) -> Verdict:
    """Where flows go that no rule is about. Raises LocalError."""
    last = profile.rules[-1].partition(",")[0].strip().upper() if profile.rules else ""
    if not has_proxy and last not in {"MATCH", "FINAL"}:
        raise LocalError(
            f"{profile.at('rules')}: the last rule must be MATCH,TARGET, since there is no server = … for what no "
            "rule is about"
        )
    return Verdict(PROXY, profile.file or profile.name, profile.line("server") or 0, "server")


def dialers(chains: dict[str, tuple[str, ...]], make: MakeDialer) -> dict[str, Outbound]:
    """A dialer for each server; names are resolved side by side. Raises LocalError when none can be."""
    made: dict[str, Outbound] = {}
    failures: list[LocalError] = []
    if not chains:
        return made
    with ThreadPoolExecutor(min(len(chains), 16)) as pool:
        results = {name: pool.submit(make, links) for name, links in chains.items()}
    for name, result in results.items():
        try:
            made[name] = result.result()
        except LocalError as error:
            failures.append(error)
            made[name] = make(("block://",))
    if len(failures) == len(chains):
        raise failures[0]
    return made
