"""Kill switch, marks of control groups and of answers, queries for names: one nftables table, replaced as a whole.

Rules of the kill switch, for what leaves this host (`output`) and what it forwards (`forward`):
- the loopback, the tunnel device, and our own marked packets to `servers` pass;
- so do marked packets to the web and the resolvers of a network with a login page, while it is in the way (`portal`);
- so does what a network needs to work at all: DHCP and neighbour discovery (ARP is no IP and never meets this table);
- so does what stays inside: bridges of containers and virtual machines, other tunnels, whose own packets are looked
  at again, and the LAN of a gateway;
- the uplinks' networks pass with `exclude_lan`, but for resolvers there when the tunnel names others;
- what `included` does not cover passes because it is not ours;
- so does the ssh session that `up` was typed in, and no other connection from outside;
- everything else is refused at once, so that programs see an error and not a time-out.

Without the kill switch, too, queries for names (`carry_dns`) are refused on other interfaces than the tunnel and what
is inside: the routes carry them, but IPv4 takes no refusal from a routing rule for a socket that is bound to an
interface (ip_route_output_key_hash_rcu() of Linux assumes the destination on the link), and systemd-resolved binds its
own.

The table stands on its own: when this process dies it stays, and the next one replaces it in one transaction. Raw
packets from AF_PACKET sockets, which only root has, do not meet it. The hooks run at the usual filter priority; a
packet that passes here can still be dropped by other tables, and one that is refused here passes nowhere.

Read first: nft(8), Linux Documentation/networking/nf_conntrack-sysctl.rst; RFC 4890 §4.4 for ICMPv6.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from tunflow.addresses import ip_address, ip_network
from tunflow.errors import LocalError
from tunflow.host.network import reply_routes
from tunflow.host.network.policy_routes import PRIVATE
from tunflow.host.network.prefixes import Interval, covered
from tunflow.host.network.reply_routes import HostSession
from tunflow.host.network.settings import AppScope, HostSettings, Network
from tunflow.host.owner.control_group import ControlGroup

TABLE = "tunflow"
_NFT = "nft"
_SECONDS = 30
_LOCAL: tuple[Network, ...] = (
    *PRIVATE,
    ip_network("224.0.0.0/4"),  # RFC 5771
    ip_network("255.255.255.255/32"),  # RFC 919 §7
    ip_network("ff00::/8"),  # RFC 4291 §2.7
)
"""Where packets for the neighbours on a LAN go."""
_ALL = {4: [(0, 2**32 - 1)], 6: [(0, 2**128 - 1)]}
_WORD = {4: "ip", 6: "ip6"}
Ours = Mapping[int, list[Interval]]
"""By IP version, the destinations that are the tunnel's business."""

_NECESSITIES = (
    "udp sport 68 udp dport 67 accept",
    "meta nfproto ipv6 udp sport 546 udp dport 547 accept",
    # MLD reports too: without them a switch that snoops stops delivering neighbour solicitations (RFC 4541 §3).
    "icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-report,"
    " mld-listener-done, mld2-listener-report } accept",
)
_GATEWAY_SERVICES = ("udp sport 67 udp dport 68 accept", "icmpv6 type { nd-router-advert, nd-redirect } accept")
_REFUSE = "counter reject with icmpx admin-prohibited"


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """What the table says of this host beside the settings.

    `inside` are the interfaces that lead to something in this machine, `lan` the networks that the uplinks are
    attached to, `behind` those that we are the gateway of, `vpn_servers` the addresses that another VPN sends our
    packets to, `uplinks` the interfaces that lead out, `sessions` those that were opened to this host before, and
    `own_session` that of them in which `up` was typed.
    """

    inside: tuple[str, ...] = ()
    lan: tuple[Network, ...] = ()
    behind: tuple[Network, ...] = ()
    vpn_servers: tuple[Network, ...] = ()
    uplinks: tuple[str, ...] = ()
    sessions: tuple[HostSession, ...] = ()
    own_session: HostSession | None = None


def is_needed(settings: HostSettings) -> bool:
    """Return True if `settings` need a table at all."""
    return is_required(settings) or (settings.scope is AppScope.BYPASS and shutil.which(_NFT) is not None)


def is_required(settings: HostSettings) -> bool:
    """Return True if a host without a table would not be what `settings` say."""
    return settings.kill_switch or bool(settings.cgroups)


def _guards_names(settings: HostSettings) -> bool:
    return settings.carry_dns and settings.scope is AppScope.BYPASS


def ruleset(settings: HostSettings, near: Neighbourhood, groups: Sequence[ControlGroup] = ()) -> str:
    """The text that makes our table what `settings` want, in one transaction, whatever it was before.

    `groups` are the settings' `cgroups`, found in the file system.
    """
    lines = [f"add table inet {TABLE}", f"delete table inet {TABLE}", f"table inet {TABLE} {{"]
    if groups:
        lines += _marks(settings, groups)
    if _guards_names(settings):
        hook = "type filter hook output priority filter; policy accept;"
        lines += _chain("names", _names_carried(settings, near), hook)
    if settings.scope is AppScope.BYPASS and not settings.kill_switch:
        lines += reply_routes.chains(settings.answer_mark, near.uplinks, near.sessions)
    if settings.kill_switch:
        ours = {version: covered(settings.included, settings.excluded, version) for version in (4, 6)}
        lines += _sets(ours)
        if settings.scope is AppScope.ONLY:
            lines += _chain("postrouting", _only(settings, near, ours))
        else:
            if near.own_session is not None:
                lines += reply_routes.chains_of_one(settings.answer_mark, near.own_session)
            lines += _chain("output", _output(settings, near, ours))
            lines += _chain("forward", _forward(settings, near, ours))
    return "\n".join([*lines, "}", ""])


@dataclass(frozen=True, slots=True)
class Table:
    """Our table as it was put in place: the text that made it, and how nft(8) lists it, sets and counters apart."""

    text: str
    listed: str


def apply(settings: HostSettings, near: Neighbourhood, there: Table | None = None) -> Table:
    """Put our table in place, unless `there` is the same and nobody has touched it since. Raises LocalError."""
    groups = [ControlGroup(path) for path in settings.cgroups]
    for group in groups:
        group.check()
    text = ruleset(settings, near, groups)
    if there is None or there.text != text or _list() != there.listed:
        load(text)
        there = Table(text, _list())
    return there


def _list() -> str:
    """Our table as nft(8) lists it; "" where there is none."""
    command = [_NFT, "--stateless", "--terse", "list", "table", "inet", TABLE]
    return subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False).stdout


def remove() -> None:
    """Remove our table if it is there. Raises LocalError."""
    if shutil.which(_NFT) is None:
        return  # where there is no nft there never was a table
    load(f"add table inet {TABLE}\ndelete table inet {TABLE}\n")


def check_available() -> None:
    """Raise LocalError where the kill switch cannot work."""
    if shutil.which(_NFT) is None:
        raise LocalError("the kill switch and per-program rules need nft(8): install nftables")


def load(text: str) -> None:
    """Have nft do what `text` says, all of it or nothing. Raises LocalError."""
    check_available()
    command = [_NFT, "-f", "-"]
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise LocalError(f"nft has not answered for {_SECONDS} s") from None
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if line.strip()), f"status {done.returncode}")
        raise LocalError(f"nft refuses the table inet {TABLE}: {reason.strip()}")


def _marks(settings: HostSettings, groups: Sequence[ControlGroup]) -> list[str]:
    mark = settings.only_mark if settings.scope is AppScope.ONLY else settings.bypass_mark
    rules = [
        f'meta mark 0 socket cgroupv2 level {group.level} "{group.name}" meta mark set {mark:#x}' for group in groups
    ]
    chain = _chain("programs", rules, "type route hook output priority mangle; policy accept;")
    if settings.scope is AppScope.ONLY:
        return chain
    return chain + _chain("sources", _sources(settings), "type nat hook postrouting priority srcnat; policy accept;")


def _sources(settings: HostSettings) -> list[str]:
    """A socket takes its address where its packets would go at first: the tunnel's. Those that go around get another,
    or no answer would come."""
    return [
        f'meta mark {settings.bypass_mark:#x} oifname != "{settings.device}" '
        f"ip{'' if address.version == 4 else '6'} saddr {address.ip} masquerade"
        for address in settings.addresses
    ]


def _sets(ours: Ours) -> list[str]:
    """The sets of destinations that are the tunnel's business, where that is not simply all."""
    lines: list[str] = []
    for version, intervals in ours.items():
        if intervals and intervals != _ALL[version]:
            elements = ", ".join(f"{_text(low, version)}-{_text(high, version)}" for low, high in intervals)
            lines += [f"  set ours{version} {{", f"    type ipv{version}_addr; flags interval; auto-merge;"]
            lines += [f"    elements = {{ {elements} }}", "  }"]
    return lines


def _output(settings: HostSettings, near: Neighbourhood, ours: Ours) -> list[str]:
    rules = [f'oifname {{ "lo", "{settings.device}" }} accept', f"meta mark {settings.bypass_mark:#x} accept"]
    rules += _servers(settings)
    rules += _portal(settings, near)
    rules += reply_routes.passes_one(near.own_session)
    rules += _NECESSITIES
    rules += _destinations(near.vpn_servers)
    rules += _gateway_services(settings)
    return [*rules, *_common(settings, near, ours), _REFUSE]


def _forward(settings: HostSettings, near: Neighbourhood, ours: Ours) -> list[str]:
    # What the tunnel delivers goes to a client; replies of its clients go back into it.
    through = [f'iifname "{settings.device}" accept', f'oifname "{settings.device}" accept']
    return [*through, *_common(settings, near, ours), _REFUSE]


def _only(settings: HostSettings, near: Neighbourhood, ours: Ours) -> list[str]:
    """For the marked programs alone. Behind the routing, which the mark has changed: `output` still has the old way."""
    rules = [f"meta mark != {settings.only_mark:#x} accept", f'oifname {{ "lo", "{settings.device}" }} accept']
    return [*rules, *_common(settings, near, ours), "counter drop"]  # no "reject" here: nft(8), reject statement


def _common(settings: HostSettings, near: Neighbourhood, ours: Ours) -> list[str]:
    rules = []
    if near.inside:
        rules.append(f"oifname {_names(near.inside)} accept")
    if settings.gateways:
        rules += [f"oifname {_names(settings.gateways)} {rule}" for rule in _destinations((*_LOCAL, *near.behind))]
    if settings.exclude_lan:
        rules += _other_resolvers(settings)
        rules += _destinations((*_LOCAL, *near.lan))
    return rules + _not_ours(ours)


def _servers(settings: HostSettings) -> list[str]:
    mark = f"meta mark {settings.mark:#x}"
    if settings.servers is None:
        return [f"{mark} accept"]
    rules = []
    for version in (4, 6):
        addresses = sorted({str(address) for address in settings.servers if address.version == version})
        if addresses:
            rules.append(f"{mark} {_WORD[version]} daddr {{ {', '.join(addresses)} }} accept")
    return rules


def _portal(settings: HostSettings, near: Neighbourhood) -> list[str]:
    """The way to a network's login page, for whoever may mark packets: us."""
    if settings.portal is None or not near.uplinks:
        return []
    mark = f"oifname {_names(near.uplinks)} meta mark {settings.mark:#x}"
    ports = ", ".join(map(str, sorted(settings.portal_ports)))
    rules = [f"{mark} tcp dport {{ {ports} }} accept"] if ports else []
    for version in (4, 6):
        resolvers = sorted({str(address) for address in settings.portal if address.version == version})
        if resolvers:
            asked = f"{_WORD[version]} daddr {{ {', '.join(resolvers)} }} meta l4proto {{ tcp, udp }} th dport 53"
            rules.append(f"{mark} {asked} accept")
    return rules


def _other_resolvers(settings: HostSettings) -> list[str]:
    """With resolvers of the tunnel's, those on the LAN would only learn, and tell on, what names are asked for."""
    if settings.dns is None:
        return []
    rules = []
    for version in (4, 6):
        own = sorted(str(server) for server in settings.dns.servers if server.version == version)
        beside = f"{_WORD[version]} daddr != {{ {', '.join(own)} }}" if own else f"meta nfproto ipv{version}"
        rules.append(f"{beside} meta l4proto {{ tcp, udp }} th dport {{ 53, 853 }} {_REFUSE}")
    return rules


def _names_carried(settings: HostSettings, near: Neighbourhood) -> list[str]:
    """Queries leave by the tunnel alone, but for our own and for those of programs that go around it."""
    beside = ("lo", settings.device, *near.inside)
    rules = [
        f"oifname {_names(beside)} accept",
        f"meta mark {{ {settings.mark:#x}, {settings.bypass_mark:#x} }} accept",
    ]
    if settings.dns is not None:
        rules += _destinations(ip_network(server) for server in settings.dns.servers)
    return [*rules, f"meta l4proto {{ tcp, udp }} th dport 53 {_REFUSE}"]


def _gateway_services(settings: HostSettings) -> list[str]:
    return [f"oifname {_names(settings.gateways)} {rule}" for rule in _GATEWAY_SERVICES] if settings.gateways else []


def _not_ours(ours: Ours) -> list[str]:
    rules = []
    for version, intervals in ours.items():
        if not intervals:
            rules.append(f"meta nfproto ipv{version} accept")
        elif intervals != _ALL[version]:
            rules.append(f"{_WORD[version]} daddr != @ours{version} accept")
    return rules


def _destinations(networks: Iterable[Network]) -> list[str]:
    """One rule per IP version that accepts packets to `networks`."""
    chosen4 = collapse_addresses(network for network in networks if isinstance(network, IPv4Network))
    chosen6 = collapse_addresses(network for network in networks if isinstance(network, IPv6Network))
    return [
        f"{_WORD[version]} daddr {{ {', '.join(map(str, chosen))} }} accept"
        for version, chosen in ((4, list(chosen4)), (6, list(chosen6)))
        if chosen
    ]


def _names(names: Iterable[str]) -> str:
    return "{ " + ", ".join(f'"{name}"' for name in names) + " }"


def _chain(name: str, rules: Iterable[str], kind: str | None = None) -> list[str]:
    head = kind or f"type filter hook {name} priority filter; policy accept;"
    return [f"  chain {name} {{", f"    {head}", *(f"    {rule}" for rule in rules), "  }"]


def _text(number: int, version: int) -> str:
    return str(ip_address(number) if version == 4 else ip_address(number.to_bytes(16, "big")))
