"""What `up` wants of the host: a frozen, checked value that `host.network.network` applies and undoes.

Rules: every field is valid once the value exists, so nothing behind it checks again; every problem is one LocalError
line that names the field and what is accepted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from tunflow.addresses import ip_network
from tunflow.errors import LocalError

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network

DEVICE = "tunflow0"
MARK = 0x2740
"""The mark of tunflow's own sockets (SO_MARK). No bit of Kubernetes' (0x4000, 0x8000) or Tailscale's (0xff0000)."""
TABLE = 10048
PRIORITY = 7400
"""Where our rules start: behind Tailscale's (5210 to 5270), before sing-box's (9000) and wg-quick's (32764)."""
RULES = 11
"""How many priorities from the first on are ours."""
EVERYTHING: tuple[Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))

_NAME = re.compile(r"[^\s/:\x00-\x1f]{1,15}")
_DOMAIN = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_MINIMUM_MTU = 576
_MINIMUM_MTU6 = 1280
"""RFC 8200 §5: what every link that carries IPv6 must carry in one piece."""
_MAXIMUM_MTU = 65535
_MAIN_PRIORITY = 32766


@dataclass(frozen=True, slots=True)
class HostDNS:
    """Which resolvers the host asks.

    `servers` are reached like any other address, so normally through the tunnel. `match` is None when they answer for
    all names, or the domains they answer for (split DNS). Only systemd-resolved can split: where it does not run every
    name is asked of `servers`, which then have to forward what they do not answer for.
    """

    servers: tuple[Address, ...]
    search: tuple[str, ...] = ()
    match: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not self.servers:
            raise LocalError("dns servers: expected at least one IP address")
        for domain in (*self.search, *(self.match or ())):
            if not _DOMAIN.fullmatch(domain) or len(domain) > 253:
                raise LocalError(f"dns domain {domain!r}: expected a domain name such as example.com")
        if self.match == ():
            raise LocalError("dns match domains: expected at least one domain, or none of this setting for all names")


class AppScope(Enum):
    """Whom the tunnel is for when control groups are named."""

    ONLY = "only"
    """Only processes of the named groups use the tunnel."""
    BYPASS = "bypass"
    """Everybody but the processes of the named groups uses the tunnel."""


@dataclass(frozen=True, slots=True)
class HostSettings:
    """Everything that is changed on the host while a tunnel is up.

    - `device`: name of the TUN device. `mtu` in bytes, None for the largest that its offload allows.
    - `addresses`: of the device. A family without one is refused where `included` has it (IPv6: unreachable at once;
      IPv4: into the device), never left to leak.
    - `included`, `excluded`: what goes into the tunnel and what does not; the longest prefix decides, and a prefix in
      both is excluded. Destinations in neither are left alone.
    - `exclude_lan`: whether the networks that the uplinks are attached to stay reachable directly.
    - `mark`: SO_MARK of tunflow's own sockets, which are routed by the main table. `mark + 1` and `mark + 2` are used
      for the processes of `cgroups`, `mark + 3` for answers to connections from outside.
    - `table`: routing table of our own, and so is the next one. `priority`: first of eleven rule priorities of our own.
    - `carry_dns`: whether queries for names (port 53) go into the tunnel wherever they are for, excluded networks and
      the LAN included; not those to `dns` and to what is inside of this machine, which go where all goes there.
    - `kill_switch`: block with nftables what would leave beside the tunnel; stays when this process dies.
    - `servers`: where marked packets may go while the kill switch is on (proxy servers, resolvers that are asked to
      find them). None: anywhere, which rules that send flows `DIRECT` need.
    - `portal`: while a network's login page is looked for or shown, the resolvers that may be asked for its names; then
      marked packets may also go by an uplink to TCP's `portal_ports`. None: they may not.
    - `gateways`: interfaces whose hosts' traffic is forwarded into the tunnel.
    - `cgroups` with `scope`: control groups (paths in the unified hierarchy, `/tunflow/apps`) and what they mean.
    """

    addresses: tuple[Interface, ...]
    device: str = DEVICE
    mtu: int | None = None
    included: tuple[Network, ...] = EVERYTHING
    excluded: tuple[Network, ...] = ()
    exclude_lan: bool = False
    mark: int = MARK
    table: int = TABLE
    priority: int = PRIORITY
    dns: HostDNS | None = None
    carry_dns: bool = False
    kill_switch: bool = False
    servers: tuple[Address, ...] | None = None
    portal: tuple[Address, ...] | None = None
    portal_ports: tuple[int, ...] = ()
    gateways: tuple[str, ...] = ()
    cgroups: tuple[str, ...] = ()
    scope: AppScope = AppScope.BYPASS

    def __post_init__(self) -> None:
        if not self.addresses:
            raise LocalError("tunnel addresses: expected at least one, such as 198.18.0.1/30")
        for name in (self.device, *self.gateways):
            check_device_name(name)
        if self.device in self.gateways:
            raise LocalError(f"gateway {self.device!r}: expected another interface than the tunnel's own")
        self._check_mtu()
        _check_range("mark", self.mark, 1, 0xFFFFFFFC)
        _check_range("table", self.table, 256, 0xFFFFFFFE)
        _check_range("rule priority", self.priority, 1, _MAIN_PRIORITY - RULES)
        for port in self.portal_ports:
            _check_range("port of a login page", port, 1, 65535)
        for group in self.cgroups:
            if not group.startswith("/") or group == "/" or ".." in group.split("/") or set(group) & set('"\\\n'):
                raise LocalError(f"control group {group!r}: expected a path such as /tunflow/apps, and not the root")
        if self.scope is AppScope.ONLY and not self.cgroups:
            raise LocalError("a tunnel for some programs only: expected at least one control group")

    def _check_mtu(self) -> None:
        if self.mtu is None:
            return
        minimum = _MINIMUM_MTU6 if self.has_family(6) else _MINIMUM_MTU
        _check_range("tunnel mtu", self.mtu, minimum, _MAXIMUM_MTU)

    @property
    def dns_table(self) -> int:
        """The routing table for queries for names."""
        return self.table + 1

    @property
    def tables(self) -> tuple[int, int]:
        """The routing tables of our own."""
        return tables(self.table)

    @property
    def bypass_mark(self) -> int:
        """The mark of packets of programs that go around the tunnel."""
        return self.mark + 1

    @property
    def only_mark(self) -> int:
        """The mark of packets of the programs that the tunnel is for."""
        return self.mark + 2

    @property
    def answer_mark(self) -> int:
        """The mark of answers to those who connect to this host from outside."""
        return self.mark + 3

    def has_family(self, version: int) -> bool:
        """Return True if the tunnel has an address of IP `version` (4 or 6)."""
        return any(address.version == version for address in self.addresses)


def tables(first: int) -> tuple[int, int]:
    """The routing tables of a tunnel whose `table` is `first`."""
    return first, first + 1


def check_device_name(name: str) -> None:
    """Raise LocalError unless `name` can name a network interface (Linux dev_valid_name)."""
    if not _NAME.fullmatch(name) or name in (".", "..") or set(name) & set('"\\%'):
        raise LocalError(f"interface name {name!r}: expected 1 to 15 characters without spaces, '/' and ':'")


def _check_range(what: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise LocalError(f"{what} {value}: expected {low} to {high}")
