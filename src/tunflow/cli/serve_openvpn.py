"""`tunflow serve server.ovpn`: the server's end of OpenVPN, over UDP, until SIGINT or SIGTERM."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from ipaddress import IPv4Network

from tunflow.cli.serving import log_line, serving_reactor, stop_on_signals
from tunflow.errors import LocalError
from tunflow.host.netlink.setup import QUEUE, add_address, set_mtu, set_queue, set_up
from tunflow.host.netlink.socket import RouteSocket
from tunflow.host.network.masquerade import Masquerade
from tunflow.host.tun import TunDevice
from tunflow.inbound.openvpn_server import OpenVPNService
from tunflow.loop.cause_log import CauseLog
from tunflow.paths import parse_path
from tunflow.profiles.imports.own_file import read_file
from tunflow.protocols.openvpn.data_key import LARGEST_OVERHEAD
from tunflow.protocols.openvpn.settings import OpenVPNSettings, Remote
from tunflow.protocols.openvpn.settings_reader import settings_from_file

ETHERNET = 1500


def serve_openvpn(file: str, masquerade: bool) -> int:
    """Serve as the configuration in `file` says; the exit status. Raises LocalError."""
    path = parse_path(file)
    settings = settings_from_file(read_file(path), file, lambda name: read_file(path.parent / parse_path(name)))
    part = settings.server
    if part is None:
        raise LocalError(f"{file}: there is no `server NETWORK MASK`: this is a client's configuration")
    if settings.asks_user or settings.remotes[0].transport != "udp":
        raise LocalError(
            f"{file}: tunflow's server knows clients by certificates, and serves UDP: no tcp, no passwords"
        )
    network = IPv4Network(part.network)
    mtu = min(settings.tunnel.mtu or ETHERNET, ETHERNET - LARGEST_OVERHEAD)
    with ExitStack() as stack:
        sock = stack.enter_context(_bind(settings.remotes[0], file))
        device = TunDevice.open("openvpn%d")
        stack.callback(device.close)
        device.forgo_offload()
        _configure(device.name, network, mtu)
        if masquerade:
            stack.enter_context(Masquerade(device.name, network))
        reactor = serving_reactor()
        service = OpenVPNService(reactor, device, sock, settings, CauseLog(log_line, lambda: reactor.now))
        stop_on_signals(reactor)
        _say(settings, device.name, network)
        reactor.run()
        service.close()
    return 0


def _say(settings: OpenVPNSettings, device: str, network: IPv4Network) -> None:
    for line in settings.told:
        log_line(line)
    log_line(f"serving openvpn on {settings.remotes[0]}, {device} has {network[1]}/{network.prefixlen}")


def _bind(where: Remote, file: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.bind((where.host, where.port))
    except OSError as error:
        sock.close()
        raise LocalError(f"{file}: cannot listen on {where.host} port {where.port}: {error.strerror}") from None
    return sock


def _configure(name: str, network: IPv4Network, mtu: int) -> None:
    index = socket.if_nametoindex(name)
    try:
        with RouteSocket() as route:
            set_mtu(route, index, mtu)
            set_queue(route, index, QUEUE)
            set_up(route, index)
            add_address(route, index, str(network[1]), network.prefixlen)
    except OSError as error:
        raise LocalError(f"{name} cannot be set up with {network}: {error.strerror}") from None
