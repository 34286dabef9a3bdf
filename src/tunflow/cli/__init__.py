"""The command line: reads arguments, imports the one command that is asked for, and turns errors into one line.

argparse rather than typer: see docs/adr/0003. Exit status 2 is the user's mistake, 1 a failure of the command itself;
`tunflow run` otherwise leaves as the program it ran.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from math import inf
from typing import Any, NoReturn

from tunflow.errors import LocalError, RemoteError
from tunflow.numbers import NotANumber, whole_number
from tunflow.protocols.registry import link_shapes

DESCRIPTION = "Carry a program's whole traffic through a tunnel of your choice."

SERVER_HELP = (
    f"where flows go: {link_shapes()} (docs/proxies.md); given several times it is a chain, first hop first. Default: "
    "the environment variable TUNFLOW_SERVER (links separated by spaces), which keeps the password out of the "
    "process list"
)
DNS_HELP = (
    "how names are looked up: tcp or udp through the server, each also with a resolver as "
    "tcp://ADDRESS[:PORT] or udp://ADDRESS[:PORT] (default 1.1.1.1), an ADDRESS alone for tcp; tls://[NAME@]ADDRESS, "
    "https://[NAME@]ADDRESS/dns-query or cache,RESOLVER: the same with a cache, and for queries to any address "
    "(what run does by default, with tcp://1.1.1.1); "
    "fake[,RESOLVER]: names get fake addresses, so that the server resolves them; tor (the default in front "
    "of tor://): Tor is asked; or off to leave /etc/resolv.conf as it is"
)


PROVIDER_HELP = (
    "a provider of your own that takes the program's flows or packets: module:Class, file.py:Class, or the name of an "
    "installed one (docs/extension-points.md); what it leaves goes through --server, or straight out"
)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and leaves the exit to `main`."""

    def error(self, message: str) -> NoReturn:
        raise LocalError(f"{message} (see {self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    before, command = _split(given)
    try:
        options = _parser().parse_args(before)
        if options.name in {"run", "exec"}:
            options.command = [*options.command, *command]
        elif command:
            raise LocalError(f"tunflow {options.name} takes nothing behind --")
        return _perform(options)
    except LocalError as error:
        _say(error)
        return error.exit_status
    except RemoteError as error:
        _say(error)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has left: nothing to say, and nothing to flush at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _say(error: Exception) -> None:
    print(f"tunflow: {error}", file=sys.stderr)  # noqa: T201


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What stands before and behind the first `--`."""
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _perform(options: argparse.Namespace) -> int:
    """Run the command that was named; the imports of the others are nobody's to wait for."""
    # ruff: noqa: PLC0415
    if options.name == "run" and options.provider is not None:
        from tunflow.cli.run_provider import run_provider

        return run_provider(options)
    if options.name == "run":
        from tunflow.cli.run import run

        return run(options)
    if options.name == "attach":
        from tunflow.cli.attach import attach

        return attach(options)
    if options.name == "serve":
        from tunflow.cli.serve import serve

        url = options.url or os.environ.get("TUNFLOW_SERVER")
        if url is None:
            raise LocalError("no link given: tunflow serve ss://METHOD:PASSWORD@HOST:PORT, or set TUNFLOW_SERVER")
        if url.lower().startswith("shadowvpn:"):
            from tunflow.cli.serve_shadowvpn import serve_shadowvpn

            return serve_shadowvpn(url, options.masquerade)
        if options.masquerade:
            raise LocalError("--masquerade goes with a shadowvpn:// link")
        return serve(url)
    if options.name == "filter":
        from tunflow.cli.filter import filter_command

        return filter_command(options)
    if options.name == "listen":
        from tunflow.cli.listen import listen

        return listen(options)
    if options.name == "profile":
        from tunflow.cli.profile import profile

        return profile(options)
    if options.name == "service":
        from tunflow.cli.service import service

        return service(options)
    if options.name == "exec":
        from tunflow.cli.exec import run_in_group

        run_in_group(options)
    if options.name in {"up", "down", "status", "reload", "logs"}:
        from tunflow.cli import up

        return int(getattr(up, options.name)(options))
    if options.name == "rules":
        from tunflow.cli.rules import rules

        return rules(options)
    if options.name == "groups":
        from tunflow.cli.groups import groups

        return groups(options)
    if options.name == "explain":
        from tunflow.cli.explain import explain

        return explain(options)
    from tunflow.cli.demo import demo

    return demo(as_json=options.json)


def _parser() -> argparse.ArgumentParser:
    from tunflow import __version__

    parser = _Parser(prog="tunflow", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"tunflow {__version__}")
    commands = parser.add_subparsers(dest="name", metavar="COMMAND", required=True, parser_class=_Parser)

    run = commands.add_parser(
        "run",
        help="run a program with all its traffic through the servers",
        description="Run CMD with all its traffic (TCP, UDP, DNS, ICMP, IPv4 and IPv6) through the servers and nothing "
        "around them. Needs no root. Exit status, signals, terminal, stdin and stdout are CMD's.",
        usage="tunflow run [--server URL]... [--profile PROFILE] [--provider CLASS [--config KEY=VALUE]...] "
        "[--dns MODE] [--pcap FILE] [--memory-limit SIZE] [--stats] [-v] -- CMD [ARGS...]",
    )
    _add_flow_options(run)
    run.add_argument(
        "--profile",
        metavar="PROFILE",
        help="instead of --server: a saved profile's name or a file, whose rules decide where each flow goes",
    )
    run.add_argument("--dns", metavar="MODE", help=DNS_HELP)
    run.add_argument("--provider", metavar="CLASS", help=PROVIDER_HELP)
    run.add_argument(
        "--config", metavar="KEY=VALUE", action="append", default=[], help="a setting for the provider; may be repeated"
    )
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="CMD", help="the program and its arguments")

    attach = commands.add_parser(
        "attach",
        help="serve a TUN device that somebody else made",
        description="Run the stack on a TUN device that exists already: its routes and addresses are its maker's, and "
        "so is keeping our own sockets out of it.",
    )
    device = attach.add_mutually_exclusive_group(required=True)
    device.add_argument("--fd", metavar="N", type=int, help="an inherited file descriptor of a TUN device")
    device.add_argument("--device", metavar="NAME", help="the name of a persistent TUN device")
    _add_flow_options(attach)

    serve = commands.add_parser(
        "serve",
        help="be a Shadowsocks or ShadowVPN server",
        description="Serve Shadowsocks (TCP and UDP) or ShadowVPN until interrupted; for tests and small use.",
    )
    serve.add_argument(
        "url",
        metavar="URL",
        nargs="?",
        help="ss://METHOD:PASSWORD@HOST:PORT or shadowvpn://PASSWORD@HOST:PORT?net=10.7.0.1/24 to listen on; default: "
        "the environment variable TUNFLOW_SERVER",
    )
    serve.add_argument(
        "--masquerade",
        action="store_true",
        help="shadowvpn:// only: let the clients out to the network under this host's address",
    )

    listen = commands.add_parser(
        "listen",
        help="be a local SOCKS and HTTP proxy in front of the servers",
        description="Listen for clients that know proxies only, SOCKS5 (TCP and UDP), SOCKS4, SOCKS4a and HTTP on one "
        "port, and carry what they want through the servers, until interrupted. http://ADDRESS:PORT/proxy.pac is the "
        "configuration file that browsers ask for.",
    )
    listen.add_argument("where", metavar="ADDRESS:PORT", nargs="?", help="default: 127.0.0.1:1080")
    listen.add_argument("--server", metavar="URL", action="append", default=[], help=SERVER_HELP)
    listen.add_argument(
        "--user",
        metavar="USER:PASSWORD",
        help="what clients must show; or the environment variable TUNFLOW_LISTEN_USER, which no process list shows",
    )

    _add_system_commands(commands)

    demo = commands.add_parser(
        "demo",
        help="show all of it on this machine, with nothing else needed",
        description="Start an embedded Shadowsocks server and a small site, run a real client through the tunnel, and "
        "tell what happened and how fast.",
    )
    demo.add_argument("--json", action="store_true", help="print the report as JSON")
    _add_profile(
        commands.add_parser(
            "profile",
            help="list, add, show, remove and import saved profiles",
            description="Saved profiles: TOML files with all that makes a tunnel (docs/profiles.md).",
        )
    )
    _add_rules(commands)
    return parser


def _add_rules(commands: Any) -> None:
    from tunflow.cli.filter_arguments import add_command
    from tunflow.cli.rule_arguments import add_commands

    add_commands(commands)
    add_command(commands)


def _add_profile(parser: argparse.ArgumentParser) -> None:
    from tunflow.cli.profile_arguments import add_arguments

    add_arguments(parser)


def _add_system_commands(commands: Any) -> None:
    from tunflow.cli.system_arguments import add_commands

    add_commands(commands, SERVER_HELP, DNS_HELP)


def _size(text: str) -> int:
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


def _add_flow_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--server", metavar="URL", action="append", default=[], help=SERVER_HELP)
    parser.add_argument("--pcap", metavar="FILE", help="record every packet of the device (pcapng, for Wireshark)")
    parser.add_argument(
        "--memory-limit",
        metavar="SIZE",
        type=_size,
        default=inf,
        help="bytes that all flows together may buffer, with K, M or G behind the number; near it windows shrink and "
        "new flows wait. Default: no limit but half a megabyte for each flow",
    )
    parser.add_argument("--stats", action="store_true", help="print a summary on stderr at the end")
    parser.add_argument("-v", "--verbose", action="store_true", help="log every flow to stderr")
