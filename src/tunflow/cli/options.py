"""Options that several commands have."""

from __future__ import annotations

import argparse
import sys
from math import inf

from tunflow.errors import LocalError
from tunflow.numbers import NotANumber, whole_number

DNS_HELP = (
    "how names are looked up: tcp or udp through the server, each also with a resolver as "
    "tcp://ADDRESS[:PORT] or udp://ADDRESS[:PORT] (default 1.1.1.1), an ADDRESS alone for tcp; tls://[NAME@]ADDRESS, "
    "https://[NAME@]ADDRESS/dns-query, quic://[NAME@]ADDRESS or cache,RESOLVER: the same with a cache, and for queries "
    "to any address "
    "(what run does by default, with tcp://1.1.1.1); "
    "fake[,RESOLVER]: names get fake addresses, so that the server resolves them; tor (the default in front "
    "of tor://): Tor is asked; or off to leave /etc/resolv.conf as it is"
)


PROVIDER_HELP = (
    "a provider of your own that takes the program's flows or packets: module:Class, file.py:Class, or the name of an "
    "installed one (docs/extension-points.md); what it leaves goes through --server, or straight out"
)


class _LinkShapes:
    """How the links of all protocols read; asked for only when help is printed, for that takes a while."""

    def __str__(self) -> str:
        from tunflow.protocols.registry import link_shapes  # noqa: PLC0415

        return link_shapes()


def add_server_option(parser: argparse.ArgumentParser) -> None:
    """`--server`."""
    action = parser.add_argument(
        "--server",
        metavar="URL",
        action="append",
        default=[],
        help="where flows go: %(links)s (docs/proxies.md); given several times it is a chain, first hop first. "
        "Default: the environment variable TUNFLOW_SERVER (links separated by spaces), which keeps the password out "
        "of the process list",
    )
    action.links = _LinkShapes()  # type: ignore[attr-defined]  # help texts are filled in with their action's attributes


def add_profile_option(parser: argparse.ArgumentParser) -> None:
    """`--profile`, of commands that `--server` would do for, too."""
    parser.add_argument(
        "--profile",
        metavar="PROFILE",
        help="instead of --server: a saved profile's name or a file (also of Clash, Surge, sing-box, Xray …), whose "
        "rules decide where each flow goes",
    )


def add_flow_options(parser: argparse.ArgumentParser) -> None:
    """Those of commands that carry the flows of a device in this process."""
    add_server_option(parser)
    add_device_options(parser)
    parser.add_argument("--stats", action="store_true", help="print a summary on stderr at the end")
    add_api_option(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="log every flow to stderr")


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """Those of commands that serve a device, in this process or another."""
    parser.add_argument("--pcap", metavar="FILE", help="record every packet of the device (pcapng, for Wireshark)")
    parser.add_argument(
        "--memory-limit",
        metavar="SIZE",
        type=size,
        default=inf,
        help="bytes that all flows together may buffer, with K, M or G behind the number; near it windows shrink and "
        "new flows wait. Default: no limit but half a megabyte for each flow",
    )


def add_profile_options(parser: argparse.ArgumentParser) -> None:
    """Those of commands that give the whole machine a profile."""
    parser.add_argument("profile", metavar="PROFILE", nargs="?", help="a saved profile's name, or a file (./home.toml)")
    add_server_option(parser)
    parser.add_argument("--dns", metavar="MODE", help=DNS_HELP)
    parser.add_argument(
        "--kill-switch",
        action=argparse.BooleanOptionalAction,
        help="let nothing leave around the tunnel, also when its process is killed; tunflow down ends that",
    )
    parser.add_argument(
        "--exclude-lan",
        action=argparse.BooleanOptionalAction,
        help="leave the networks alone that this machine is in",
    )
    parser.add_argument(
        "--per-app",
        action=argparse.BooleanOptionalAction,
        help="let only programs use the tunnel that tunflow exec starts",
    )
    parser.add_argument(
        "--gateway", metavar="IFACE", action="append", help="carry the traffic of the hosts behind this interface too"
    )
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")


def add_api_option(parser: argparse.ArgumentParser) -> None:
    """`--api`."""
    parser.add_argument(
        "--api",
        metavar="ADDRESS:PORT",
        help="serve Clash's API and a page for browsers there (docs/dashboards.md); the environment variable "
        "TUNFLOW_API_SECRET is what they must show, and needed for more than 127.0.0.1",
    )


def size(text: str) -> int:
    """The bytes that `--memory-limit` names. Raises LocalError."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    number, unit = (text[:-1], units[text[-1].upper()]) if text[-1:].upper() in units else (text, 1)
    try:
        size = whole_number(number, sys.maxsize) * unit
    except NotANumber:
        size = 0
    if size < 1 << 20:
        raise LocalError(f"--memory-limit {text}: expected at least 1M, in bytes or with K, M or G behind the number")
    return size
