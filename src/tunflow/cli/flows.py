"""What `run` and `attach` share: servers and options in, a driver that serves a device."""

from __future__ import annotations

import argparse
import gc
import os
import resource
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tunflow.addresses import ip_address
from tunflow.cli.saying import say
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.driver import Driver
from tunflow.dataplane.forwarded_names import NameService
from tunflow.device import Device
from tunflow.endpoint import Endpoint
from tunflow.errors import LocalError
from tunflow.host.pcap_tee import PcapTee
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import UNMARKED, SocketOptions
from tunflow.numbers import NotANumber, whole_number
from tunflow.outbound.chain import outbound_of
from tunflow.protocols.contract import Outbound

SERVER_VARIABLE = "TUNFLOW_SERVER"

DEFAULT_RESOLVER = "1.1.1.1"
"""A public resolver: the host's own is mostly an address of its LAN, which the server cannot reach."""

EVERY_QUERY = "cache,tcp://1.1.1.1"
"""The same resolver behind the full name server: a program that asks one of its own choice is answered, too, whatever
the server makes of UDP."""

DNS_PORT = 53

RESERVED_DESCRIPTORS = 64
"""Descriptors that no flow gets: our own, inherited ones, names and pings."""


def dialer_of(options: argparse.Namespace) -> Outbound:
    """The dialer for `--server`, or for TUNFLOW_SERVER. Raises LocalError."""
    return outbound_of(server_links(options))


def server_links(options: argparse.Namespace) -> list[str]:
    """The links of `--server`, or of TUNFLOW_SERVER."""
    return options.server or os.environ.get(SERVER_VARIABLE, "").split()


def name_service(mode: str) -> NameService | None:
    """What `--dns` says; None leaves names alone. Raises LocalError."""
    if mode == "off":
        return None
    scheme, separator, rest = mode.partition("://")
    if not separator:
        scheme, rest = (mode, "") if mode in {"tcp", "udp"} else ("tcp", mode)
    host, port = _host_and_port(rest or DEFAULT_RESOLVER)
    try:
        address = ip_address(host)
    except ValueError:
        address = None
    if scheme not in {"tcp", "udp"} or address is None or not 0 < port < 65536:
        raise LocalError(
            f"--dns {mode!r} is not understood: "
            "use tcp, udp, tcp://ADDRESS[:PORT], udp://ADDRESS[:PORT], ADDRESS, fake[,RESOLVER], cache,RESOLVER, "
            "tls://[NAME@]ADDRESS, https://[NAME@]ADDRESS/dns-query or off"
        )
    return NameService(Endpoint(address.packed, port), scheme == "tcp")


def _host_and_port(text: str) -> tuple[str, int]:
    """`1.2.3.4`, `1.2.3.4:53`, `fd00::1`, `[fd00::1]:53`; port 0 when it is not a number."""
    text = text.rstrip("/")
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") > 1:
        host, port = text, ""
    else:
        host, _, port = text.partition(":")
    if not port:
        return host, DNS_PORT
    try:
        return host, whole_number(port, 65535)
    except NotANumber:
        return host, 0


def with_pcap(device: Device, file: str | None) -> Device:
    """The device, recorded to `file` if one is given. Raises LocalError."""
    if file is None:
        return device
    try:
        return PcapTee(device, Path(file).open("wb"))
    except OSError as error:
        raise LocalError(f"--pcap: cannot write {file}: {error.strerror}") from error


def make_context(
    reactor: Reactor,
    device: Device,
    options: argparse.Namespace,
    inside: frozenset[bytes] = frozenset(),
    sockets: SocketOptions = UNMARKED,
    tell: Callable[[str], None] = say,
) -> FlowContext:
    """What flows may touch: a log as `-v` says, and as many descriptors as this process may have.

    `inside` are the tunnel's own addresses, packed; `tell` takes lines for people.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # What there is now stays, and what comes holds no cycles: the collector need not look at it so often.
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    return FlowContext.on(
        reactor,
        device,
        CauseLog(tell, lambda: reactor.now),
        trace=tell if options.verbose else None,
        descriptors=hard - RESERVED_DESCRIPTORS,
        inside=inside,
        sockets=sockets,
        memory=options.memory_limit,
    )


def finish(driver: Driver, options: argparse.Namespace) -> None:
    """Print what `--stats` asks for."""
    if options.stats:
        for line in driver.final_statistics().lines():
            say(line)
