"""`tunflow listen [ADDRESS:PORT]`: a local SOCKS and HTTP proxy whose way out is the servers."""

from __future__ import annotations

import argparse
import os
import re
from typing import TYPE_CHECKING

from tunflow.addresses import ip_address
from tunflow.cli.api import api_for
from tunflow.cli.process import servers_given
from tunflow.cli.serving import log_line, serving_reactor, stop_on_signals
from tunflow.endpoint import Endpoint
from tunflow.errors import LocalError
from tunflow.inbound.budget import raise_limit
from tunflow.inbound.listen import ListenServer
from tunflow.inbound.listening_sockets import address_to_type
from tunflow.loop.rounds import serve_while
from tunflow.outbound.chain import make_outbound
from tunflow.outbound.sessions import KeptSessions

if TYPE_CHECKING:
    from tunflow.api.server import APIServer
    from tunflow.flow import ProcessInfo
    from tunflow.host.owner.process import ProcessTable
    from tunflow.loop.reactor import Reactor
    from tunflow.protocols.contract import Outbound

DEFAULT = "127.0.0.1:1080"
USER_VARIABLE = "TUNFLOW_LISTEN_USER"


def listen(options: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; the exit status. Raises LocalError."""
    host, port = _where(DEFAULT if options.where is None else options.where)
    credentials = _credentials(options.user or os.environ.get(USER_VARIABLE))
    sessions = KeptSessions()
    dialer = make_outbound(servers_given(options), sessions=sessions)
    reactor = serving_reactor()
    api = api_for(options.api, None, reactor)
    shown = None if api is None else _Shown(api, dialer.label)
    log = log_line if api is None else api.log.also(log_line)
    warn = log_line if api is None else api.log.also(log_line, "warning")
    server = ListenServer(
        reactor,
        host,
        port,
        dialer,
        log=warn,
        credentials=credentials,
        descriptors=raise_limit(),
        note=None if shown is None else shown.note,
        ask_anyway=options.ask_anyway,
    )
    sessions.start(reactor, warn)
    is_over: list[bool] = []
    stop_on_signals(reactor, lambda: is_over.append(True))
    for address in server.addresses:
        where = address_to_type(address)
        log(f"SOCKS and HTTP on {address} through {dialer.label}; PAC: http://{where}/proxy.pac")
    if credentials is None and not all(_is_loopback(address.host) for address in server.addresses):
        log("anybody who reaches this address may use it: --user asks for a name and a password")
    if shown is not None:
        shown.begin(server, reactor, dialer)
    serve_while(reactor, lambda: not is_over, sessions.close, coroutines=sessions.wants_coroutines)
    server.close()
    if shown is not None:
        shown.close()
    return 0


class _Shown:
    """The port's flows for the API, with the programs of clients on this machine."""

    def __init__(self, api: APIServer, label: str) -> None:
        self._api = api
        self._owners = _owners()
        self._addresses: list[Endpoint] = []
        self.note = api.note_flow(None if self._owners is None else self._find, label)

    def begin(self, server: ListenServer, reactor: Reactor, dialer: Outbound) -> None:
        self._addresses = server.addresses
        self._api.serve_port(server, reactor, dialer)
        log_line(f"API and page: {self._api.where}/ui/")

    def close(self) -> None:
        self._api.close()
        if self._owners is not None:
            self._owners.close()

    def _find(self, protocol: str, client: Endpoint, _target: Endpoint) -> ProcessInfo | None:
        """The program that holds a client's socket, whose peer is this port."""
        assert self._owners is not None
        assert isinstance(client.host, bytes)
        for address in self._addresses:
            if isinstance(address.host, bytes) and len(address.host) == len(client.host):
                # Who connects to an address of the machine that it is on has that address itself.
                peer = address if any(address.host) else Endpoint(client.host, address.port)
                return self._owners.find(protocol, client, peer)
        return None


def _owners() -> ProcessTable | None:
    from tunflow.host.netlink.socket_diag import SocketDiag  # noqa: PLC0415 - for who shows flows
    from tunflow.host.owner.process import ProcessTable  # noqa: PLC0415
    from tunflow.host.owner.socket_owners import open_owners  # noqa: PLC0415

    try:
        return ProcessTable(SocketDiag(), open_owners())
    except OSError:  # no /proc, or a system without netlink
        return None


def _where(text: str) -> tuple[str, int]:
    """`ADDRESS:PORT`, `[ADDRESS]:PORT`, `:PORT` or `PORT`, on loopback where no address is given. Raises LocalError."""
    found = re.fullmatch(r"(?:(?:\[(?P<six>[^\]]*)\]|(?P<host>[^:\[\]]*)):)?(?P<port>[0-9]{1,5})", text)
    if found is None or int(found["port"]) > 65535:
        raise LocalError(f"listen takes ADDRESS:PORT, [ADDRESS]:PORT or PORT, such as {DEFAULT}; not {text!r}")
    return found["six"] or found["host"] or "127.0.0.1", int(found["port"])


def _credentials(text: str | None) -> tuple[str, str] | None:
    """`USER:PASSWORD`. Raises LocalError, without the password."""
    if text is None:
        return None
    user, colon, password = text.partition(":")
    if not user or not colon or not password or len(user.encode()) > 255 or len(password.encode()) > 255:
        raise LocalError(f"--user and {USER_VARIABLE} take USER:PASSWORD, each of 1 to 255 bytes")
    return user, password


def _is_loopback(host: bytes | str) -> bool:
    return isinstance(host, bytes) and ip_address(host).is_loopback
