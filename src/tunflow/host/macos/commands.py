"""Which commands set a tunnel up on macOS, and which undo them. Pure. Not run on a Mac yet.

macOS has no rules and tables: routes are told apart by their prefix alone. `included` 0.0.0.0/0 becomes two halves, so
that the default route stays as it is; `excluded` and `servers` go by the gateway that the default route had. Networks
that interfaces are attached to have longer prefixes and stay outside. Our own sockets are bound to the uplink
(IP_BOUND_IF), so they never come back in.

Resolvers are a service of their own in the dynamic store of configd, gone with a reboot: nothing is overwritten, so
nothing has to be saved.

Read first: route(8), ifconfig(8), scutil(8); SystemConfiguration's SCSchemaDefinitions.h.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface

from tunflow.addresses import ip_network
from tunflow.errors import LocalError
from tunflow.host.network.settings import HostDNS, HostSettings, Interface, Network

SERVICE = "State:/Network/Service/tunflow/DNS"


@dataclass(frozen=True, slots=True)
class UndoableCommand:
    """A program's arguments and what it reads, with the command that undoes it (None where nothing has to)."""

    argv: tuple[str, ...]
    text: str = ""
    undo: UndoableCommand | None = None


@dataclass(frozen=True, slots=True)
class Gateways:
    """Where the default routes lead without a tunnel; None for none."""

    ipv4: str | None
    ipv6: str | None

    def of(self, version: int) -> str | None:
        """The gateway of IP `version`."""
        return self.ipv4 if version == 4 else self.ipv6


def check(settings: HostSettings) -> None:
    """Raise LocalError for what cannot be had on macOS."""
    for wanted, name in (
        (settings.kill_switch, "the kill switch"),
        (settings.gateways, "being a gateway"),
        (settings.cgroups, "per-program rules"),
    ):
        if wanted:
            raise LocalError(f"{name} needs Linux: leave it out on macOS")


def plan(settings: HostSettings, device: str, mtu: int, gateways: Gateways) -> list[UndoableCommand]:
    """The commands in their order. What is to leave by a gateway that is not there is left out."""
    commands = [_address(device, address) for address in settings.addresses]
    commands.append(UndoableCommand(("ifconfig", device, "mtu", str(mtu), "up")))
    outside: list[Network] = [*settings.excluded, *(ip_network(server) for server in settings.servers or ())]
    for network in outside:
        gateway = gateways.of(network.version)
        if gateway is not None:
            commands.append(_route(network, ("-gateway", gateway)))
    for network in _halved(settings.included):
        if network in settings.excluded:
            continue
        into = ("-interface", device) if settings.has_family(network.version) else _NOWHERE[network.version]
        commands.append(_route(network, into))
    if settings.dns is not None:
        commands.append(_resolvers(settings.dns))
    return commands


_NOWHERE = {4: ("127.0.0.1", "-reject"), 6: ("::1", "-reject")}


def _address(device: str, address: Interface) -> UndoableCommand:
    if isinstance(address, IPv4Interface):  # a point-to-point link: its other end may have the same address
        argv = ("ifconfig", device, "inet", str(address.ip), str(address.ip), "netmask", str(address.netmask), "alias")
        return UndoableCommand(argv)
    return UndoableCommand(
        ("ifconfig", device, "inet6", str(address.ip), "prefixlen", str(address.network.prefixlen), "alias")
    )


def _route(network: Network, to: Sequence[str]) -> UndoableCommand:
    family = "-inet" if network.version == 4 else "-inet6"
    undo = UndoableCommand(("route", "-q", "-n", "delete", family, str(network), *to))
    return UndoableCommand(("route", "-q", "-n", "add", family, str(network), *to), undo=undo)


def _halved(networks: Iterable[Network]) -> Iterable[Network]:
    for network in networks:
        if network.prefixlen == 0:
            yield from network.subnets()
        else:
            yield network


def _resolvers(dns: HostDNS) -> UndoableCommand:
    """An empty match domain stands for all names; see NEDNSSettings.matchDomains."""
    lines = ["d.init", f"d.add ServerAddresses * {' '.join(map(str, dns.servers))}"]
    if dns.search:
        lines.append(f"d.add SearchDomains * {' '.join(dns.search)}")
    matches = " ".join(dns.match) if dns.match else '""'
    lines += [f"d.add SupplementalMatchDomains * {matches}", f"set {SERVICE}", "quit", ""]
    return UndoableCommand(
        ("scutil",), "\n".join(lines), undo=UndoableCommand(("scutil",), f"remove {SERVICE}\nquit\n")
    )
