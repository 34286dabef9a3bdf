"""Changes the private network of a program that runs already: its TUN's addresses, routes and MTU, and its resolver.

`tunflow run` learns of these only when a provider's `start_tunnel` says them, and may learn of others later. Entering
the program's namespaces needs a process of its own, because only one without threads can enter a user namespace; it is
this module, run as `python -m`, with `Wanted` as JSON on its standard input.

Read first: setns(2), user_namespaces(7).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from tunflow.addresses import ip_interface, ip_network
from tunflow.errors import LocalError
from tunflow.host.netlink.links import configure_tunnel
from tunflow.host.netlink.messages import FAMILIES, ROUTE, RT_TABLE_MAIN, RTA_DST, RTM_DELROUTE, RTPROT_BOOT, attribute
from tunflow.host.netlink.routes import UNREACHABLE, RouteTarget, list_routes, set_table
from tunflow.host.netlink.socket import NetlinkRequest, RouteSocket
from tunflow.host.program.mounts import RESOLV_CONF
from tunflow.host.syscalls import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUSER, setns

TIMEOUT = 20.0
"""Seconds after which the system is taken to hang."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a program's network shall be; addresses and networks as text, `resolv_conf` None to leave it alone."""

    device: str
    mtu: int
    addresses: tuple[str, ...]
    included: tuple[str, ...]
    excluded: tuple[str, ...]
    """There is no way around the tunnel in a private network: these are unreachable."""
    resolv_conf: str | None


def change_network(pid: int, wanted: Wanted) -> None:
    """Make the network of the process `pid` as `wanted` says. Blocks for a moment. Raises LocalError."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tunflow.host.program.change_network", str(pid)],
            input=json.dumps(asdict(wanted)),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LocalError(f"the program's network cannot be changed: no answer in {TIMEOUT:g} s") from None
    if done.returncode:
        why = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise LocalError(f"the program's network cannot be changed: {why}")


def _main(pid: int, wanted: Wanted) -> None:
    _enter(pid)
    addresses = [ip_interface(text) for text in wanted.addresses]
    networks = [address.network for address in addresses if address.network.num_addresses > 1]
    with RouteSocket() as route:
        configure_tunnel(route, wanted.device, addresses, wanted.mtu)
        tun = RouteTarget(1, (socket.if_nametoindex(wanted.device),))
        for version in (4, 6):
            ways = {network: tun for network in networks if network.version == version}
            ways |= {net: tun for net in map(ip_network, wanted.included) if net.version == version}
            ways |= {net: UNREACHABLE for net in map(ip_network, wanted.excluded) if net.version == version}
            _remove_first_routes(route, version)
            set_table(route, version, RT_TABLE_MAIN, ways)
    if wanted.resolv_conf is not None:
        Path(RESOLV_CONF).write_text(wanted.resolv_conf, encoding="utf-8", errors="surrogateescape")


def _enter(pid: int) -> None:
    """Enter the user (if it is another), network and mount namespaces of a process. Raises OSError."""
    files = {}
    for kind in ("user", "net", "mnt"):
        path = f"/proc/{pid}/ns/{kind}"
        if kind != "user" or Path(path).readlink() != Path("/proc/self/ns/user").readlink():
            files[kind] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    flags = {"user": CLONE_NEWUSER, "net": CLONE_NEWNET, "mnt": CLONE_NEWNS}
    for kind, fd in files.items():
        setns(fd, flags[kind])
        os.close(fd)


def _remove_first_routes(route: RouteSocket, version: int) -> None:
    """The default route that the private network was made with."""
    for each in list_routes(route, version, RT_TABLE_MAIN):
        if each.protocol == RTPROT_BOOT and each.way.devices:
            destination = each.destination
            body = ROUTE.pack(FAMILIES[version], destination.prefixlen, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 255, 0, 0)
            body += attribute(RTA_DST, destination.network_address.packed)
            route.send([NetlinkRequest(RTM_DELROUTE, 0, body, f"remove the route to {destination}")])


if __name__ == "__main__":
    try:
        _main(int(sys.argv[1]), Wanted(**json.load(sys.stdin)))
    except OSError as error:
        sys.exit(f"{error.filename or 'settings'}: {error.strerror}")
