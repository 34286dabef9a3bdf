"""`tunflow listen [ADDRESS:PORT]`: a local SOCKS and HTTP proxy whose way out is the servers."""

from __future__ import annotations

import argparse
import os
import re

from tunflow.addresses import ip_address
from tunflow.cli.flows import dialer_of
from tunflow.cli.serve import log_line, serving_reactor, stop_on_signals
from tunflow.errors import LocalError
from tunflow.inbound.budget import raise_limit
from tunflow.inbound.listen import ListenServer
from tunflow.inbound.listening_sockets import address_to_type

DEFAULT = "127.0.0.1:1080"
USER_VARIABLE = "TUNFLOW_LISTEN_USER"


def listen(options: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; the exit status. Raises LocalError."""
    host, port = _where(options.where or DEFAULT)
    credentials = _credentials(options.user or os.environ.get(USER_VARIABLE))
    dialer = dialer_of(options)
    reactor = serving_reactor()
    server = ListenServer(reactor, host, port, dialer, log=log_line, credentials=credentials, descriptors=raise_limit())
    stop_on_signals(reactor)
    for address in server.addresses:
        where = address_to_type(address)
        log_line(f"SOCKS and HTTP on {address} through {dialer.label}; PAC: http://{where}/proxy.pac")
    if credentials is None and not all(_is_loopback(address.host) for address in server.addresses):
        log_line("anybody who reaches this address may use it: --user asks for a name and a password")
    reactor.run()
    server.close()
    return 0


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
