"""Why a flow goes where it goes: the same tables that decide flows, asked about one that does not exist."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from tunflow.addresses import ip_address
from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import LocalError
from tunflow.flow import ProcessInfo
from tunflow.protocols.contract import Settings
from tunflow.rules.conditions import Facts, Need
from tunflow.rules.domains import normalise
from tunflow.rules.groups import Groups, Health, copied
from tunflow.rules.table import Verdict
from tunflow.rules.targets import BUILT_IN
from tunflow.tunnel.plan import Plan, Rules
from tunflow.urls import parse_url

PORTS = {"http": 80, "https": 443, "ssh": 22, "ftp": 21}
BUILT_IN_MEANS = {
    "DIRECT": "straight to the target",
    "REJECT": "refused at once (TCP reset, ICMP port unreachable)",
    "REJECT-DROP": "dropped without a word",
}


class LookedUp(NamedTuple):
    """What came of a name."""

    addresses: Sequence[str]
    steps: Sequence[str] = ()
    """What the resolvers said, and which of it was believed."""


Lookup = Callable[[str], LookedUp]
"""Looks a name up as the profile says."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The steps of the decision."""

    destination: str
    network: str
    process: str | None
    name: str | None
    address: str | None
    address_from: str
    """Where the address is known from, or why it is not."""
    answers: tuple[str, ...]
    """What resolvers said about the name, where they were asked."""
    rule: Verdict
    is_default: bool
    path: tuple[str, ...]
    """From the rule's target through groups to the server."""
    groups: dict[str, tuple[str, tuple[str, ...]]]
    """Each group on the way: its type and members."""
    server: str
    """What the last name of the path is, without passwords."""
    asked_for: str
    """What the server is asked for, or what is dialled."""


def parse_destination(text: str) -> Endpoint:
    """A name or an address, with a port or without (443), or a URL. Raises LocalError."""
    try:
        if "://" in text:
            parts = parse_url(text)
            port = parts.port or PORTS.get(parts.scheme, 443)
            host = parts.host
        elif text.count(":") > 1 and not text.startswith("["):
            host, port = text, 443
        else:
            parts = parse_url(f"//{text}")
            host, port = parts.host, parts.port or 443
        where = endpoint(host, port)
        if isinstance(where.host, str):
            where = Endpoint(normalise(where.host), port)
    except ValueError as error:
        raise LocalError(f"{text!r} is not a destination ({error}): example.com, 192.0.2.1:80 or https://…") from None
    return where


def explain(
    plan: Plan,
    destination: Endpoint,
    lookup: Lookup,
    *,
    network: str = "tcp",
    source: str = "198.18.0.1",
    process: ProcessInfo | None = None,
    look_up_always: bool = False,
    chosen: Mapping[str, str] | None = None,
) -> Explanation:
    """What would happen to such a flow now; by default names are looked up only where the flow itself would do so.

    `chosen` is what users chose in groups.

    Raises LocalError for a plan without rules.
    """
    rules = plan.rules
    if rules is None:
        raise LocalError(f"{plan.file}: nothing is to be chosen: {', '.join(plan.labels)} has everything")
    groups = _groups(rules, plan, chosen or {})
    name = destination.host if isinstance(destination.host, str) else None
    address = destination.host if isinstance(destination.host, bytes) else None
    facts = Facts(
        network,
        ip_address(source).packed,
        0,
        destination.port,
        address,
        name,
        name_sought=True,
        find_process=lambda: process,
    )
    address_from = "given" if address else "not needed: no rule that could decide asks for it"
    found = rules.table.match(facts)
    said = LookedUp(())
    if name is not None and (found is Need.ADDRESS or look_up_always):
        said = lookup(name)
    if found is Need.ADDRESS:
        facts.address, address_from = _address(said.addresses)
        facts.address_sought = True
        found = rules.table.match(facts)
    assert not isinstance(found, Need)
    verdict = found or rules.default
    path = tuple(groups.way(verdict.target, name or str(address)))
    return Explanation(
        str(destination),
        network,
        (process.executable or process.name) if process else None,
        name,
        str(ip_address(facts.address)) if facts.address else None,
        address_from,
        tuple(said.steps),
        verdict,
        found is None,
        path,
        {step: (groups.all[step].kind, groups.all[step].members) for step in path[:-1]},
        _server(path[-1], plan.chains),
        _asked_for(path[-1], destination, facts),
    )


def _groups(rules: Rules, plan: Plan, chosen: Mapping[str, str]) -> Groups:
    """The plan's groups as they stand where no server was asked yet, with what users chose."""
    groups = Groups(copied(rules.groups), plan.chains, Health(lambda: 0.0), BUILT_IN)
    for group, member in chosen.items():
        with suppress(LocalError):  # the file was changed since the tunnel read it
            groups.select(group, member)
    return groups


def _address(found: Sequence[str]) -> tuple[bytes | None, str]:
    if not found:
        return None, "looked up: the name has none"
    more = f"; also {', '.join(found[1:4])}" if len(found) > 1 else ""
    return ip_address(found[0]).packed, f"looked up{more}"


def _server(name: str, chains: Mapping[str, tuple[Settings, ...]]) -> str:
    if name in BUILT_IN_MEANS:
        return BUILT_IN_MEANS[name]
    return " -> ".join(server.label for server in chains[name])


def _asked_for(server: str, destination: Endpoint, facts: Facts) -> str:
    if server in {"REJECT", "REJECT-DROP"}:
        return "nothing"
    if server == "DIRECT" and facts.address is not None:
        return str(Endpoint(facts.address, destination.port))
    return str(destination)
