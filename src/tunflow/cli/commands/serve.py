"""`tunflow serve`."""

from __future__ import annotations

import argparse
import os

from tunflow.cli.commands import Help
from tunflow.errors import LocalError

HELP = Help(
    "be the server of a protocol that has one",
    "Serve Shadowsocks (TCP and UDP), ShadowVPN or OpenVPN until interrupted; for tests and small use.",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    parser.add_argument(
        "url",
        metavar="URL",
        nargs="?",
        help="ss://METHOD:PASSWORD@HOST:PORT or shadowvpn://PASSWORD@HOST:PORT?net=10.7.0.1/24 to listen on, or "
        "the file of a server of OpenVPN (server.ovpn, server.conf) or WireGuard (wg0.conf); "
        "default: the environment variable TUNFLOW_SERVER",
    )
    parser.add_argument(
        "--masquerade",
        action="store_true",
        help="ShadowVPN, OpenVPN and WireGuard: let the clients out to the network under this host's address",
    )


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    url = options.url or os.environ.get("TUNFLOW_SERVER")
    if url is None:
        raise LocalError("no link given: tunflow serve ss://METHOD:PASSWORD@HOST:PORT, or set TUNFLOW_SERVER")
    if url.lower().startswith("shadowvpn:"):
        from tunflow.cli.serve_shadowvpn import serve_shadowvpn  # noqa: PLC0415

        return serve_shadowvpn(url, options.masquerade)
    if url.endswith(".conf"):
        from tunflow.cli.serve_wireguard import is_wireguard_file, serve_wireguard  # noqa: PLC0415

        if is_wireguard_file(url):
            return serve_wireguard(url, options.masquerade)
    if url.endswith((".ovpn", ".conf")):
        from tunflow.cli.serve_openvpn import serve_openvpn  # noqa: PLC0415

        return serve_openvpn(url, options.masquerade)
    if options.masquerade:
        raise LocalError("--masquerade goes with a shadowvpn:// link or the file of an OpenVPN or WireGuard server")
    from tunflow.cli.serve import serve  # noqa: PLC0415

    return serve(url)
