"""`tunflow serve wg0.conf`: the end of WireGuard that peers call, until SIGINT or SIGTERM."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from ipaddress import IPv4Interface, IPv4Network, IPv6Network
from pathlib import Path

from tunflow.cli.serving import log_line, serving_reactor, stop_on_signals
from tunflow.errors import LocalError
from tunflow.host.netlink.setup import QUEUE, add_address, set_mtu, set_queue, set_up
from tunflow.host.netlink.socket import RouteSocket
from tunflow.host.network.masquerade import Masquerade
from tunflow.host.tun import TunDevice
from tunflow.inbound.wireguard_server import WireGuardListener
from tunflow.loop.cause_log import CauseLog
from tunflow.paths import parse_path
from tunflow.protocols.wireguard.config_file import is_config_file, parse_config
from tunflow.protocols.wireguard.keys import format_key
from tunflow.protocols.wireguard.settings import DEFAULT_PORT, Network, WireGuardSettings


def serve_wireguard(file: str, masquerade: bool) -> int:
    """Serve as a wg-quick file says; the exit status. Raises LocalError."""
    settings = _settings(file)
    inside = [each for each in settings.addresses if isinstance(each, IPv4Interface)]
    if masquerade and not inside:
        raise LocalError(f"{file}: --masquerade is for IPv4, and Address has no IPv4 address")
    with ExitStack() as stack:
        sock = stack.enter_context(_bind(settings.listen_port or DEFAULT_PORT))
        device = TunDevice.open("wireguard%d")
        stack.callback(device.close)
        device.forgo_offload()
        _configure(device.name, settings)
        if masquerade:
            stack.enter_context(Masquerade(device.name, inside[0].network))
        reactor = serving_reactor()
        server = WireGuardListener(reactor, device, sock, settings, CauseLog(log_line, lambda: reactor.now))
        stop_on_signals(reactor)
        public = format_key(server.interface.identity.public)
        addresses = ", ".join(map(str, settings.addresses))
        port = sock.getsockname()[1]
        log_line(f"serving wireguard on port {port}, {device.name} ({addresses}), public key {public}")
        reactor.run()
        server.close()
    return 0


def _settings(file: str) -> WireGuardSettings:
    try:
        text = parse_path(file).read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise LocalError(f"cannot read {file}: {error.strerror}") from None
    settings = parse_config(text, file)
    for line in settings.told:
        log_line(line)
    for peer in settings.peers:
        if peer.endpoint is not None and isinstance(peer.endpoint.host, str):
            raise LocalError(f"{file}: Endpoint {peer.endpoint}: a server's peers have addresses, or none: they call")
        for network in peer.allowed_ips:
            if not any(_holds(each.network, network) for each in settings.addresses):
                log_line(f"AllowedIPs {network} is outside of Address: it needs a route to the device by hand")
    return settings


def _holds(whole: Network, part: Network) -> bool:
    if isinstance(whole, IPv4Network):
        return isinstance(part, IPv4Network) and part.subnet_of(whole)
    return isinstance(part, IPv6Network) and part.subnet_of(whole)


def is_wireguard_file(file: str) -> bool:
    """Return True if there is a wg-quick file of that name."""
    try:
        return is_config_file(Path(file).read_bytes())
    except OSError:
        return False


def _bind(port: int) -> socket.socket:
    """A socket for both IP versions, or for IPv4 where there is no other. Raises LocalError."""
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("", port))
    except OSError as error:
        sock.close()
        raise LocalError(f"cannot listen on UDP port {port}: {error.strerror}") from None
    return sock


def _configure(name: str, settings: WireGuardSettings) -> None:
    index = socket.if_nametoindex(name)
    try:
        with RouteSocket() as route:
            set_mtu(route, index, settings.mtu)
            set_queue(route, index, QUEUE)
            set_up(route, index)
            for each in settings.addresses:
                add_address(route, index, str(each.ip), each.network.prefixlen)
    except OSError as error:
        raise LocalError(f"{name} cannot be set up: {error.strerror}") from None
