"""`tunflow serve shadowvpn://…`: the server's end of ShadowVPN until SIGINT or SIGTERM."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from tunflow.addresses import ip_address
from tunflow.cli.serving import log_line, serving_reactor, stop_on_signals
from tunflow.errors import LocalError
from tunflow.host.netlink.setup import QUEUE, add_address, set_mtu, set_queue, set_up
from tunflow.host.netlink.socket import RouteSocket
from tunflow.host.network.masquerade import Masquerade
from tunflow.host.tun import TunDevice
from tunflow.inbound.shadowvpn_server import ShadowVPNServer
from tunflow.loop.cause_log import CauseLog
from tunflow.protocols.shadowvpn.boxes import make_box
from tunflow.protocols.shadowvpn.seal import master_key
from tunflow.protocols.shadowvpn.settings import ShadowVPNConfig, parse_link


def serve_shadowvpn(url: str, masquerade: bool) -> int:
    """Serve as the link `url` says; the exit status. Raises LocalError."""
    config = parse_link(url, serving=True)
    with ExitStack() as stack:
        sock = stack.enter_context(_bind(config))
        device = TunDevice.open("shadowvpn%d")
        stack.callback(device.close)
        device.forgo_offload()
        _configure(device.name, config)
        if masquerade:
            stack.enter_context(Masquerade(device.name, config.net.network))
        reactor = serving_reactor()
        box = make_box(master_key(config.password.encode()), log_line)
        server = ShadowVPNServer(reactor, device, sock, config, box, CauseLog(log_line, lambda: reactor.now))
        stop_on_signals(reactor)
        users = f"{len(config.user_tokens)} users" if config.user_tokens else "one client"
        log_line(f"serving {config.label} on {device.name} ({config.net}, MTU {config.mtu}) for {users}")
        reactor.run()
        server.close()
    return 0


def _bind(config: ShadowVPNConfig) -> socket.socket:
    try:
        address = ip_address(config.server)
    except ValueError:
        raise LocalError(
            f"serve shadowvpn://: {config.server!r} is not an address to listen on, like 0.0.0.0"
        ) from None
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.bind((config.server, config.port))
    except OSError as error:
        sock.close()
        raise LocalError(f"cannot listen on {config.server} port {config.port}: {error.strerror}") from None
    return sock


def _configure(name: str, config: ShadowVPNConfig) -> None:
    index = socket.if_nametoindex(name)
    try:
        with RouteSocket() as route:
            set_mtu(route, index, config.mtu)
            set_queue(route, index, QUEUE)
            set_up(route, index)
            add_address(route, index, str(config.net.ip), config.net.network.prefixlen)
    except OSError as error:
        raise LocalError(f"{name} cannot be set up as {config.net}: {error.strerror}") from None
