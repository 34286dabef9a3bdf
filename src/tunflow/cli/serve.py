"""`tunflow serve URL`: a Shadowsocks server until SIGINT or SIGTERM."""

from __future__ import annotations

import os
import signal
import sys

from tunflow.errors import LocalError
from tunflow.inbound.budget import raise_limit
from tunflow.inbound.server import Server
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.containment import Containment
from tunflow.loop.reactor import READ, Reactor
from tunflow.protocols.registry import parse_server
from tunflow.protocols.shadowsocks.settings import ShadowsocksServer


def serve(url: str) -> int:
    """Serve as the link `url` says; the exit status. Raises LocalError for a bad link or address."""
    spec = parse_server(url, listening=True)
    if not isinstance(spec, ShadowsocksServer):
        raise LocalError(f"serve takes an ss:// link, not {spec.label}")
    reactor = serving_reactor()
    server = Server(reactor, spec, log=log_line, descriptors=raise_limit())
    stop_on_signals(reactor)
    where = " and ".join(str(address) for address in server.addresses)
    log_line(f"serving ss://{spec.method} on {where} (TCP + UDP)")
    reactor.run()
    server.close()
    return 0


def serving_reactor() -> Reactor:
    """A loop in which a bug ends the connection that it happened in, and is told on stderr."""
    reactor = Reactor()
    reactor.containment = Containment(CauseLog(log_line, lambda: reactor.now), lambda: reactor.now)
    return reactor


def log_line(line: str) -> None:
    """One line on stderr, for people."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201  (this is the command's output)


def stop_on_signals(reactor: Reactor) -> None:
    """Let SIGINT and SIGTERM end the reactor's run at the end of its round."""
    heard, told = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: None)  # the wake-up descriptor tells
    reactor.add(heard, READ, lambda _events: reactor.stop())
