"""Names that nobody may look up: the tunnel has some domains only, and the kill switch closes all other resolvers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tunflow.addresses import ip_address
from tunflow.host.network.prefixes import covered
from tunflow.host.network.settings import AppScope, HostSettings
from tunflow.host.resolvers import resolver_file
from tunflow.host.resolvers.resolvers import splits_names


def closed_names(
    settings: HostSettings | None, outer: Sequence[str], path: Path = resolver_file.RESOLV_CONF
) -> str | None:
    """A line for people where the host, as `settings` have it, resolves some domains only; else None.

    `outer` are the resolvers of the network outside, `path` is the host's resolv.conf.
    """
    if settings is None or settings.dns is None or not settings.dns.match or not settings.kill_switch:
        return None
    if settings.scope is AppScope.ONLY or not splits_names(path) or not all(_is_ours(each, settings) for each in outer):
        return None
    return (
        f"only names of {', '.join(settings.dns.match)} resolve: the others belong to the network's own resolvers, "
        "which the kill switch closes; without dns.match_domains the tunnel looks up all names"
    )


def _is_ours(resolver: str, settings: HostSettings) -> bool:
    """Return True if packets to it are the tunnel's business, which the kill switch keeps from going around."""
    address = ip_address(resolver.partition("%")[0])
    intervals = covered(settings.included, settings.excluded, address.version)
    return any(first <= int(address) <= last for first, last in intervals)
