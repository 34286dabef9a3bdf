"""What a provider asks of the host, as the host's settings.

A packet tunnel says its addresses, routes and resolvers itself; the profile's own are left out then, but for what it
excludes. A tunnel that takes all of one IP version and nothing of the other leaves the other unreachable: it must not
go around.
"""

from __future__ import annotations

from dataclasses import replace

from tunflow.errors import LocalError
from tunflow.host.network.settings import EVERYTHING, HostDNS, HostSettings
from tunflow.providers.dns_settings import DNSProtocol, DNSSettings
from tunflow.providers.tunnel_settings import PacketTunnelNetworkSettings

PHYSICAL_MTU = 1500


def host_settings(profile: HostSettings, settings: PacketTunnelNetworkSettings) -> HostSettings:
    """Return the profile's settings as a packet tunnel wants them. Raises LocalError."""
    families = [family for family in (settings.ipv4_settings, settings.ipv6_settings) if family is not None]
    addresses = tuple(address for family in families for address in family.addresses)
    own = tuple(address.network for address in addresses if address.network.num_addresses > 1)
    included = tuple(route.destination for family in families for route in family.included_routes)
    excluded = tuple(route.destination for family in families for route in family.excluded_routes)
    if any(not route.prefixlen for route in included):
        included = (*included, *EVERYTHING)
    return replace(
        with_dns(profile, settings.dns_settings),
        addresses=addresses,
        mtu=settings.mtu_on(PHYSICAL_MTU),
        included=tuple(dict.fromkeys((*own, *included))),
        excluded=tuple(dict.fromkeys((*profile.excluded, *excluded))),
    )


def with_dns(profile: HostSettings, settings: DNSSettings | None) -> HostSettings:
    """Return the profile's settings with a provider's resolvers; queries are carried where those are for all names.

    Raises LocalError.
    """
    dns = None if settings is None else _host_dns(settings)
    return replace(profile, dns=dns, carry_dns=dns is not None and dns.match is None)


def _host_dns(settings: DNSSettings) -> HostDNS:
    """Raises LocalError."""
    if settings.dns_protocol is not DNSProtocol.CLEARTEXT:
        raise LocalError("dns_settings: the host is given plain resolvers only; TLS and HTTPS are the profile's [dns]")
    match = None
    if settings.match_domains is not None and "" not in settings.match_domains:
        match = settings.match_domains or None
    search = settings.search_domains
    if match and not settings.match_domains_no_search:
        search = tuple(dict.fromkeys((*search, *match)))
    return HostDNS(settings.servers, search, match)
