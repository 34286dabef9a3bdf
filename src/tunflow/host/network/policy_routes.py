"""Which rules and routes carry the host's traffic into the tunnel. Pure: settings and what there is in, values out.

The main table is never changed. For each IP version, in this order (the first rule that finds a route decides):

    P    fwmark M (and M+1, M+3)               -> main            our own sockets, programs that go around, answers
    P+1  fwmark M (and M+1, M+3)                   -> on at P+10      never back into the tunnel: that would be a loop
    P+2  from the tunnel device                -> main            what the tunnel delivers to containers and LANs
    P+3  UDP from port 68 to 67                -> main            a DHCP lease is renewed (IPv4)
    P+4  to port 53 of what is inside of this machine, or of `dns`  -> on at P+7
    P+5  to port 53                            -> N               whose names are the tunnel's (`carry_dns`)
    P+6  to port 53                            -> unreachable     of a socket that is bound to another interface
    P+7  to the tunnel's own and the uplinks' private networks -> T   (the latter unless exclude_lan)
    P+8  to private networks                   -> main, but not by its default route
    P+9  everything (or mark M+2 only)         -> T
    P+10 nothing                               -> on              with the host's own rules

Where the main table has no way out (`ip rule add table 100`, a default route in table 100) our own packets go on past
our tables, as they would without us, and the interfaces of that table's default route are the uplinks.

N has nothing but a default route into the device: whatever is excluded and whatever the host's resolvers are, a query
for a name does not leave in the clear. systemd-resolved binds its queries to the interface of the resolver, and so does
everybody who asks a link-local one; N has no route for those, hence P+6. A resolver in a container or behind another
VPN is no neighbour who listens.

T holds `included` as routes into the device and `excluded` as `throw`: the search goes on behind rule P+9 with what
the host does on its own. So the longest prefix decides between the two. P+8 keeps bridges of containers and virtual
machines working the moment they appear. It is limited to private networks because a DHCP server may hand out routes
to any network it likes (option 121, CVE-2024-3661), and these must not win over the tunnel. Public or private, what
is routed through a *local* interface (`links`) in any table but ours is thrown as well: other VPNs with a table
of their own, whatever their rules' priority, keep their networks.

Forwarded packets (containers, virtual machines, gateways' hosts) take the same way as the host's own.

Read first: ip-rule(8), ip-route(8).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tunflow.addresses import ip_network
from tunflow.host.netlink.links import NetworkInterface, inside_links
from tunflow.host.netlink.messages import RTN_UNICAST
from tunflow.host.netlink.policy_rules import PolicyRule
from tunflow.host.netlink.routes import THROW, UNREACHABLE, Route, RouteTarget
from tunflow.host.network.settings import EVERYTHING, AppScope, HostSettings, Network

TABLE_MAIN = 254
TABLE_DEFAULT = 253
TABLE_LOCAL = 255
RTPROT_DHCP = 16
_VPN_KINDS = frozenset(("tun", "wireguard", "ppp"))
DHCP_PORTS = (68, 67)
DNS_PORT = 53

PRIVATE: tuple[Network, ...] = tuple(
    map(
        ip_network,
        (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",  # RFC 1918
            "100.64.0.0/10",  # RFC 6598
            "169.254.0.0/16",  # RFC 3927
            "fc00::/7",  # RFC 4193
            "fe80::/10",  # RFC 4291 §2.5.6
        ),
    )
)
"""Networks that are never reached across the Internet."""

_DEFAULT_LENGTH = {4: 7, 6: 6}
"""Routes with a prefix of at most that length are taken for parts of a default route: the halves that OpenVPN's
`redirect-gateway def1` adds, 2000::/3, and whatever else cuts the Internet into large pieces."""


@dataclass(frozen=True, slots=True)
class RoutingFacts:
    """What else is on this host: its interfaces, and the routes of all tables but our own."""

    links: Mapping[int, NetworkInterface]
    routes: Sequence[Route]
    tunnel: int
    """Index of the tunnel device."""
    gateways: frozenset[int] = frozenset()
    """Indexes of the interfaces that we are the gateway of."""

    @property
    def uplinks(self) -> frozenset[int]:
        """The interfaces that a default route of the main table leads through; where it has none, of any table, but
        not those of VPNs, which have tables of their own."""
        defaults = [route for route in self.routes if is_default(route.destination)]
        if not any(self._leads_out(route) for route in defaults if route.table == TABLE_MAIN):
            vpns = {index for index, link in self.links.items() if link.kind in _VPN_KINDS}
            return frozenset(device for route in defaults for device in self._leads_out(route) if device not in vpns)
        return frozenset(device for route in defaults if route.table == TABLE_MAIN for device in self._leads_out(route))

    def _leads_out(self, route: Route) -> list[int]:
        """The interfaces of a route that may be uplinks."""
        if route.table == TABLE_LOCAL or route.way.kind != RTN_UNICAST:
            return []
        return [device for device in route.way.devices if device != self.tunnel]

    @property
    def inside(self) -> frozenset[int]:
        """The local interfaces (`host.links`) but the tunnel's own."""
        names = inside_links(self.links, self.uplinks | {self.tunnel})
        return frozenset(index for index, link in self.links.items() if link.name in names)


def is_default(network: Network) -> bool:
    """Return True if a route to `network` is a default route, or a large part of one."""
    return network.prefixlen <= _DEFAULT_LENGTH[network.version]


def is_private(network: Network) -> bool:
    """Return True if all of `network` lies in private networks."""
    return any(_is_within(network, private) for private in PRIVATE)


def attached_networks(around: RoutingFacts, devices: frozenset[int]) -> set[Network]:
    """The networks that `devices` are attached to; never so large as to be a default route."""
    return {
        route.destination
        for route in around.routes
        if _is_specific(route) and route.is_connected and devices.intersection(route.way.devices)
    }


def plan_rules(settings: HostSettings, version: int, around: RoutingFacts) -> list[PolicyRule]:
    """The rules of IP `version`, first to last."""
    first, table = settings.priority, settings.table
    marks = (settings.mark, settings.bypass_mark, settings.answer_mark)
    rules = [PolicyRule(version, first, TABLE_MAIN, mark=mark) for mark in marks]
    rules += [PolicyRule(version, first + 1, None, mark=mark, goto=first + 10) for mark in marks]
    rules.append(PolicyRule(version, first + 2, TABLE_MAIN, device=settings.device))
    if version == 4:
        rules.append(PolicyRule(version, first + 3, TABLE_MAIN, ports=DHCP_PORTS))
    only = settings.only_mark if settings.scope is AppScope.ONLY else None
    if settings.carry_dns:
        rules += _dns_rules(settings, version, around, only)
    captured = _tunnel_networks(settings, version)
    if not settings.exclude_lan:
        captured |= _uplink_networks(around, version)
    rules += [
        PolicyRule(version, first + 7, table, mark=only, destination=network)
        for network in sorted(captured, key=_order)
    ]
    rules += [
        PolicyRule(version, first + 8, TABLE_MAIN, destination=network, suppress=0)
        for network in PRIVATE
        if network.version == version
    ]
    rules.append(PolicyRule(version, first + 9, table, mark=only))
    rules.append(PolicyRule(version, first + 10, None, landing=True))
    return rules


def _dns_rules(settings: HostSettings, version: int, around: RoutingFacts, only: int | None) -> list[PolicyRule]:
    """The rules that carry queries for names, those to excluded networks too."""
    first = settings.priority
    rules = [
        PolicyRule(version, first + 4, None, mark=only, destination=network, port=DNS_PORT, goto=first + 7)
        for network in sorted(_elsewhere(settings, version, around), key=_order)
    ]
    rules.append(PolicyRule(version, first + 5, settings.dns_table, mark=only, port=DNS_PORT))
    rules.append(PolicyRule(version, first + 6, None, mark=only, port=DNS_PORT))
    return rules


def _elsewhere(settings: HostSettings, version: int, around: RoutingFacts) -> set[Network]:
    """The networks whose resolvers are reached like everything else there."""
    inside = around.inside
    found = {
        route.destination
        for route in around.routes
        if route.destination.version == version
        and route.way.kind == RTN_UNICAST
        and not is_default(route.destination)
        and not route.destination.is_link_local
        and route.way.devices
        and inside.issuperset(route.way.devices)
    }
    servers = {ip_network(server) for server in settings.dns.servers} if settings.dns is not None else set()
    own = _tunnel_networks(settings, version)
    return found | {
        server for server in servers if server.version == version and not any(_is_within(server, each) for each in own)
    }


def plan_dns_routes(settings: HostSettings, version: int, around: RoutingFacts) -> dict[Network, RouteTarget]:
    """The routes of the table for queries for names, for IP `version`."""
    if not settings.carry_dns:
        return {}
    into = _into(settings, version, around)
    return {network: into for network in EVERYTHING if network.version == version}


def plan_routes(settings: HostSettings, version: int, around: RoutingFacts) -> dict[Network, RouteTarget]:
    """The routes of our own table for IP `version`."""
    into = _into(settings, version, around)
    table: dict[Network, RouteTarget] = {}
    for network in settings.included:
        if network.version == version:
            table[network] = into
    for network in _kept_networks(settings, version, around):
        table[network] = THROW
    for network in settings.excluded:
        if network.version == version:
            table[network] = THROW
    for network in _tunnel_networks(settings, version):
        table[network] = into
    return table


def _into(settings: HostSettings, version: int, around: RoutingFacts) -> RouteTarget:
    if version == 6 and not settings.has_family(version):
        return UNREACHABLE
    return RouteTarget(RTN_UNICAST, (around.tunnel,))


def _tunnel_networks(settings: HostSettings, version: int) -> set[Network]:
    return {address.network for address in settings.addresses if address.version == version}


def _uplink_networks(around: RoutingFacts, version: int) -> set[Network]:
    """The private networks that are routed through an uplink, which P+8 would leave outside."""
    routed = {
        route.destination
        for route in around.routes
        if _is_specific(route)
        and route.destination.version == version
        and is_private(route.destination)
        and around.uplinks.intersection(route.way.devices)
    }
    return routed - attached_networks(around, around.gateways)


def _is_specific(route: Route) -> bool:
    """Return True if it is a route of the main table to some other place than everywhere or the link itself."""
    to = route.destination
    return route.table == TABLE_MAIN and not is_default(to) and not to.is_link_local


def _kept_networks(settings: HostSettings, version: int, around: RoutingFacts) -> Iterable[Network]:
    """What stays outside of the tunnel because it is somewhere else already."""
    uplinks, vpns = around.uplinks, _vpn_uplinks(around)
    for route in around.routes:
        if route.destination.version != version or route.table in (TABLE_LOCAL, TABLE_DEFAULT, *settings.tables):
            continue
        if is_default(route.destination) or route.way.kind != RTN_UNICAST or around.tunnel in route.way.devices:
            continue
        if route.table == TABLE_MAIN and is_private(route.destination):
            continue  # P+8 leaves it to the main table
        if not uplinks.intersection(route.way.devices) or _is_way_of_vpn(route, vpns):
            yield route.destination
    attached = attached_networks(around, around.gateways | (uplinks if settings.exclude_lan else frozenset()))
    yield from (network for network in attached if network.version == version)


def vpn_servers(around: RoutingFacts) -> set[Network]:
    """The addresses of other VPNs' servers, where those VPNs carry our own packets."""
    vpns = _vpn_uplinks(around)
    return {route.destination for route in around.routes if _is_way_of_vpn(route, vpns)}


def _vpn_uplinks(around: RoutingFacts) -> set[int]:
    """The interfaces of other VPNs that have taken the default route."""
    return {device for device in around.uplinks if device in around.links and around.links[device].kind in _VPN_KINDS}


def _is_way_of_vpn(route: Route, vpns: set[int]) -> bool:
    """Return True if it is another VPN's way to its own server, where that VPN has taken the default route.

    Its packets must not come to us, whose packets it carries. What a DHCP server hands out is never taken for that.
    """
    return (
        route.table == TABLE_MAIN
        and route.destination.prefixlen == route.destination.max_prefixlen
        and route.protocol != RTPROT_DHCP
        and bool(vpns)
        and not vpns.intersection(route.way.devices)
    )


def _is_within(network: Network, other: Network) -> bool:
    return (
        network.version == other.version
        and network.prefixlen >= other.prefixlen
        and (int(network.network_address) ^ int(other.network_address)) >> other.max_prefixlen - other.prefixlen == 0
    )


def _order(network: Network) -> tuple[int, int]:
    return int(network.network_address), network.prefixlen
