"""Applies a tunnel's settings to this host, and undoes them.

    network = HostNetwork()
    network.apply(settings)      # also again, with other settings or after the network has changed
    driver = Driver(network.device, ...)
    ...
    network.undo()

Rules:
- what is about to change is recorded first (`state_file`), so that `undo_recorded` can undo it from another
  process after this one was killed;
- `apply` compares what is there with what is wanted and changes the difference only; applying twice changes nothing;
- the kill switch comes first and goes last, new routes come before old ones go;
- an `apply` that fails leaves what was before it: nothing, the settings that were in force, or, after a crash, the
  kill switch of the process that crashed;
- undoing goes on past what fails, and can be repeated;
- connections with an address of the tunnel's end before its routes do: nothing that was given to it leaves another way.

Order of `apply`: record, firewall, device, sysctls, routes, rules, resolver. `undo` runs it backwards. All of it needs
CAP_NET_ADMIN; sysctls, the record and /etc/resolv.conf belong to root, so a process that drops its privileges undoes
through one that has them (`undo_recorded`).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tunflow.addresses import ip_address
from tunflow.errors import LocalError
from tunflow.host.netlink.links import configure_tunnel, inside_links, list_links, remove_addresses
from tunflow.host.netlink.messages import RT_TABLE_MAIN
from tunflow.host.netlink.policy_rules import list_rules, set_rules
from tunflow.host.netlink.routes import has_foreign_routes, list_routes, set_table
from tunflow.host.netlink.socket import RouteSocket
from tunflow.host.netlink.socket_abort import abort_sockets
from tunflow.host.network import firewall, sysctls
from tunflow.host.network.policy_routes import (
    RoutingFacts,
    attached_networks,
    plan_dns_routes,
    plan_routes,
    plan_rules,
    vpn_servers,
)
from tunflow.host.network.reply_routes import HostSession, sessions
from tunflow.host.network.settings import HostSettings, tables
from tunflow.host.network.ssh_session import ssh_session
from tunflow.host.network.state_file import STATE_FILE, StateRecord, load, new_record, remove, save
from tunflow.host.program.private_network import OFFLOAD_MTU, PLAIN_MTU
from tunflow.host.resolvers import resolver_file, resolvers
from tunflow.host.rights.privileges import require_net_admin
from tunflow.host.runtime import VARIABLE
from tunflow.host.tun import Offload, TunDevice

_VERSIONS = (4, 6)


class HostNetwork:
    """The changes that one tunnel makes to this host. One at a time per network namespace."""

    def __init__(self, state: Path = STATE_FILE) -> None:
        """`state` is the file to record changes in; its folder is made when needed."""
        self._state = state
        self._record: StateRecord | None = None
        self._settings: HostSettings | None = None
        self._inherited_kill_switch = False
        self._table: firewall.Table | None = None
        self._sessions: tuple[HostSession, ...] | None = None
        """Those that were opened to this host before the first `apply`."""
        self._own_session: HostSession | None = None
        """That of them in which this process was started."""
        self.device: TunDevice | None = None
        """The TUN device, from the first `apply` to `undo`, which closes it. The driver uses it; who closes it takes
        it from the host."""

    @property
    def settings(self) -> HostSettings | None:
        """What is in force."""
        return self._settings

    def apply(self, settings: HostSettings) -> None:
        """Make the host what `settings` say. Raises LocalError, and then what was before is in force.

        Call it again with the same settings when interfaces, addresses or routes have changed: the exceptions for
        LANs, bridges and other VPNs follow what is there.
        """
        require_net_admin()
        if self._record is None:
            self._record = self._take_over(settings)
        try:
            with _explained():
                self._apply(_for_this_host(settings), self._record)
        except BaseException:
            self._fall_back(self._record)
            raise
        self._settings = settings

    def close_host(self, settings: HostSettings) -> None:
        """Put the kill switch of `settings` in place and nothing else, as at boot, for the tunnel that takes over from
        there. Raises LocalError."""
        require_net_admin()
        record = self._take_over(settings)
        with _explained(), RouteSocket() as route:
            settings = _for_this_host(settings)
            self._set_firewall(settings, record, _look_around(route, settings), tighten=True)

    def undo(self, *, keep_kill_switch: bool = False) -> None:
        """Leave the host as it was found. Harmless where nothing was applied. Raises LocalError at the end for what
        could not be undone; the record of it stays, and the call can be repeated.

        With `keep_kill_switch` one that a killed process had left stays: who could not replace that process does not
        open what it had closed.
        """
        if self._record is None:
            return
        keep = keep_kill_switch and self._inherited_kill_switch
        _undo(self._record, self._state, self._close_device, keep_kill_switch=keep)
        self._record = self._settings = None

    def _take_over(self, settings: HostSettings) -> StateRecord:
        """The record to go on with: of a process that died, or a new one. Raises LocalError."""
        record = load(self._state)
        if record is None:
            with _explained(), RouteSocket() as route:
                _refuse_beside_another(route)
            return new_record(settings.device, settings.table)
        if record.is_running:
            raise LocalError(
                f"a tunnel is up already (process {record.pid}, device {record.device}): take it down first"
            )
        mine = new_record(settings.device, settings.table)
        record.pid, record.started = mine.pid, mine.started
        self._inherited_kill_switch = record.kill_switch
        return record

    def _apply(self, settings: HostSettings, record: StateRecord) -> None:
        with RouteSocket() as route:
            around = _look_around(route, settings)
            _check_table(route, settings, record)
            _check_gateways(settings, around)
            self._set_firewall(settings, record, around, tighten=True)
            self._set_device(route, settings, record)
            if not around.tunnel:
                around = _look_around(route, settings)
            self._set_sysctls(settings, record)
            self._set_routes(route, settings, record, around)
            self._set_resolvers(settings, record)
            self._set_firewall(settings, record, around, tighten=False)

    def _set_firewall(
        self, settings: HostSettings, record: StateRecord, around: RoutingFacts, *, tighten: bool
    ) -> None:
        """Put the table in place before everything else where there will be one, else remove it after everything."""
        if firewall.is_needed(settings) != tighten:
            return
        if tighten:
            firewall.check_available()
            record.has_firewall, record.kill_switch = True, settings.kill_switch or record.kill_switch
            save(record, self._state)
            if self._sessions is None:
                self._sessions = sessions()
                own = ssh_session()
                self._own_session = own if own in self._sessions else None
            try:
                self._table = firewall.apply(settings, self._neighbourhood(around), self._table)
            except LocalError:
                if firewall.is_required(settings):
                    raise
                record.has_firewall = False  # a kernel without nftables: the routes carry names all the same
        elif record.has_firewall:
            firewall.remove()
            record.has_firewall = False
        record.kill_switch = settings.kill_switch
        save(record, self._state)

    def _neighbourhood(self, around: RoutingFacts) -> firewall.Neighbourhood:
        uplinks = around.uplinks
        return firewall.Neighbourhood(
            inside=inside_links(around.links, uplinks | {around.tunnel}),
            lan=tuple(attached_networks(around, uplinks)),
            behind=tuple(attached_networks(around, around.gateways)),
            vpn_servers=tuple(vpn_servers(around)),
            uplinks=tuple(around.links[index].name for index in sorted(uplinks) if index in around.links),
            sessions=self._sessions or (),
            own_session=self._own_session,
        )

    def _set_device(self, route: RouteSocket, settings: HostSettings, record: StateRecord) -> None:
        record.device = settings.device
        record.addresses = sorted({*record.addresses, *(str(address.ip) for address in settings.addresses)})
        save(record, self._state)
        if self.device is not None and self.device.name != settings.device:
            raise LocalError(f"the device is {self.device.name}: another name needs the tunnel to go down and up again")
        if self.device is None:
            self.device = TunDevice.open(settings.device)
        mtu = settings.mtu or (OFFLOAD_MTU if Offload.TSO4 in self.device.offload else PLAIN_MTU)
        configure_tunnel(route, settings.device, settings.addresses, mtu)

    def _set_sysctls(self, settings: HostSettings, record: StateRecord) -> None:
        in_force = None if self._settings is None else self._settings.gateways
        if in_force != settings.gateways:  # of another time, or of a process that is gone
            stale = {name: change for name, change in record.sysctls.items() if not sysctls.is_for_all(name)}
            sysctls.restore(stale)
            for name in stale:
                del record.sysctls[name]
        wanted = sysctls.plan(settings.device, settings.gateways)
        for name, value in wanted:
            old, _ = record.sysctls.get(name, (sysctls.read(name) or "", ""))
            record.sysctls[name] = (old, value)
        if wanted:
            save(record, self._state)
        for name, value in wanted:
            sysctls.write(name, value)

    def _set_routes(
        self, route: RouteSocket, settings: HostSettings, record: StateRecord, around: RoutingFacts
    ) -> None:
        before, record.table, record.has_routes = record.table, settings.table, True
        save(record, self._state)
        for version in _versions():
            set_table(route, version, settings.table, plan_routes(settings, version, around))
            set_table(route, version, settings.dns_table, plan_dns_routes(settings, version, around))
        for version in _versions():
            set_rules(route, version, plan_rules(settings, version, around))
            for table in tables(before):
                if table not in settings.tables:
                    set_table(route, version, table, {})

    def _set_resolvers(self, settings: HostSettings, record: StateRecord) -> None:
        if settings.dns is not None:
            resolvers.apply(
                settings.dns, settings.device, record.resolver, lambda: save(record, self._state), self._state
            )
        elif record.resolver:
            resolvers.undo(record.resolver)
            save(record, self._state)

    def _fall_back(self, record: StateRecord) -> None:
        """After a failed `apply`: to the settings in force, or else to nothing but a kill switch that was there."""
        if self._settings is not None:
            with _explained():
                self._apply(_for_this_host(self._settings), record)
            return
        self._record = None
        _undo(record, self._state, self._close_device, keep_kill_switch=self._inherited_kill_switch)

    def _close_device(self) -> None:
        if self.device is not None:
            self.device.close()
            self.device = None


def undo_recorded(state: Path = STATE_FILE) -> bool:
    """Undo what a process that is gone had recorded in `state`. Return True if there was anything. Raises LocalError.

    A process that is still there is asked to do it itself: then this refuses, and changes nothing.
    """
    require_net_admin()
    record = load(state)
    if record is None:
        return resolver_file.restore_unrecorded(state)
    if record.is_running:
        raise LocalError(f"the tunnel is still up (process {record.pid}): ask that process to take it down")
    _undo(record, state, lambda: None)
    return True


def _for_this_host(settings: HostSettings) -> HostSettings:
    """Without IPv6 addresses where the host has IPv6 switched off: then it stays off, and unreachable."""
    if sysctls.read("ipv6/conf/default/disable_ipv6") == "0":
        return settings
    kept = tuple(address for address in settings.addresses if address.version == 4)
    if not kept:
        raise LocalError("IPv6 is switched off on this host: expected an IPv4 address for the tunnel")
    return replace(settings, addresses=kept)


def _versions() -> tuple[int, ...]:
    """The IP versions that this kernel has at all."""
    return _VERSIONS if sysctls.read("ipv6/conf/all/disable_ipv6") is not None else (4,)


def _look_around(route: RouteSocket, settings: HostSettings) -> RoutingFacts:
    links = list_links(route)
    tunnel = next((link.index for link in links.values() if link.name == settings.device), 0)
    routes = [each for version in _versions() for each in list_routes(route, version, but=settings.tables)]
    gateways = frozenset(link.index for link in links.values() if link.name in settings.gateways)
    return RoutingFacts(links, routes, tunnel, gateways)


def _check_table(route: RouteSocket, settings: HostSettings, record: StateRecord) -> None:
    """Refuse a table that others have routes in: ours would mix with them. Raises LocalError."""
    if record.has_routes and record.table == settings.table:
        return
    for table in settings.tables:
        if any(has_foreign_routes(route, version, table) for version in _versions()):
            raise LocalError(f"routing table {table} has routes of something else: choose another table")


def _refuse_beside_another(route: RouteSocket) -> None:
    """Refuse where a tunnel is up that has its record elsewhere: it would be left half taken apart. Raises LocalError.

    The rules of one that was killed stay, and its routes went with its device: those are replaced.
    """
    names = {link.index: link.name for link in list_links(route).values() if link.kind == "tun"}
    for version in _versions():
        found = {rule.table for rule in list_rules(route, version) if rule.table is not None} - {RT_TABLE_MAIN}
        for table in found - {each + 1 for each in found}:  # the second one is for queries
            devices = [device for each in list_routes(route, version, table) for device in each.way.devices]
            name = next((names[device] for device in devices if device in names), None)
            if name is not None:
                raise LocalError(
                    f"a tunnel of another runtime directory is up already (device {name}): take it down first, with "
                    f"its own {VARIABLE}"
                )


def _check_gateways(settings: HostSettings, around: RoutingFacts) -> None:
    names = {link.name for link in around.links.values()} - {"lo"}
    for name in settings.gateways:
        if name not in names:
            raise LocalError(f"gateway {name!r}: no such interface; there are {', '.join(sorted(names))}")


def _undo(
    record: StateRecord, state: Path, close_device: Callable[[], None], *, keep_kill_switch: bool = False
) -> None:
    """Undo all that `record` names, last first. Raises LocalError with all that failed, in one line."""
    failures: list[str] = []

    def attempt(step: Callable[[], None]) -> None:
        try:
            with _explained():
                step()
        except LocalError as error:
            failures.append(str(error))

    attempt(lambda: resolvers.undo(record.resolver))
    attempt(lambda: _end_connections(record))
    if record.has_routes:
        attempt(lambda: _remove_routes(record.table))
    attempt(lambda: sysctls.restore(record.sysctls))
    close_device()
    if record.has_firewall and not (keep_kill_switch and record.kill_switch):
        attempt(firewall.remove)
    if failures:
        raise LocalError("not all could be undone: " + "; ".join(failures))
    if keep_kill_switch and record.kill_switch:
        record.has_routes, record.sysctls = False, {}  # the resolvers took themselves out
        save(record, state)
    else:
        remove(state)


def _end_connections(record: StateRecord) -> None:
    """End what has an address of the tunnel's, while its packets still go nowhere else, and let nothing get one."""
    with RouteSocket() as route:
        remove_addresses(route, record.device)
    abort_sockets(map(ip_address, record.addresses))


def _remove_routes(table: int) -> None:
    with RouteSocket() as route:
        for version in _versions():
            set_rules(route, version, [])
        for version in _versions():
            for each in tables(table):
                set_table(route, version, each, {})


@contextmanager
def _explained() -> Iterator[None]:
    """Turn the kernel's refusals into one line for the user."""
    try:
        yield
    except OSError as error:
        tried = error.filename or "change the network"
        if error.errno in (errno.EPERM, errno.EACCES):
            raise LocalError(f"cannot {tried}: it needs root (CAP_NET_ADMIN)") from None
        raise LocalError(f"cannot {tried}: {error.strerror}") from None
