"""What the demo's two children do: the site, and the Shadowsocks server in front of it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any

from tunflow.demo.names import NAME, RESOLVER, SITE4, SITE6
from tunflow.demo.site import Ports, open_site
from tunflow.endpoint import Endpoint, endpoint
from tunflow.inbound.budget import raise_limit
from tunflow.inbound.server import InboundServer
from tunflow.loop.reactor import READ, Reactor
from tunflow.protocols.shadowsocks.settings import ShadowsocksServer

HTTP_PORT = 80
ECHO_PORT = 7
DNS_PORT = 53

Say = Callable[[Mapping[str, Any]], None]


def be_site(control: socket.socket, say: Say) -> None:
    """Serve the site until `control` ends; says its ports."""
    say(open_site().as_dict())
    control.recv(1)
    say({})


def be_server(spec: ShadowsocksServer, ports: Ports, control: socket.socket, say: Say) -> None:
    """Serve Shadowsocks until `control` ends; says its port, then what it counted and logged."""
    reactor = Reactor()
    log: list[str] = []
    server = InboundServer(reactor, spec, log=log.append, descriptors=raise_limit(), rewrite=ways_to_site(ports))
    reactor.add(control.fileno(), READ, lambda _events: reactor.stop())
    say({"port": server.addresses[0].port})
    reactor.run()
    counters = server.counters
    say({"streams": counters.streams, "associations": counters.associations, "log": log})


def ways_to_site(ports: Ports) -> dict[Endpoint, Endpoint]:
    """What the server makes of the demo's documentation addresses."""
    http, echo, dns = (endpoint("127.0.0.1", port) for port in (ports.http4, ports.echo4, ports.dns))
    ways = {
        endpoint(SITE4, HTTP_PORT): http,
        endpoint(NAME, HTTP_PORT): http,
        endpoint(SITE4, ECHO_PORT): echo,
        endpoint(RESOLVER, DNS_PORT): dns,
    }
    if ports.http6:
        ways[endpoint(SITE6, HTTP_PORT)] = endpoint("::1", ports.http6)
        ways[endpoint(SITE6, ECHO_PORT)] = endpoint("::1", ports.echo6)
    return ways
