"""`tunflow serve`."""

from __future__ import annotations

import argparse
import os

from tunflow.cli.commands import Help
from tunflow.errors import LocalError

HELP = Help(
    "be the server of a protocol that has one",
    "Serve Shadowsocks, Trojan, VLESS, VMess, ShadowVPN, OpenVPN or WireGuard until interrupted; "
    "for tests and small use.",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    parser.add_argument(
        "url",
        metavar="URL",
        nargs="?",
        help="ss://METHOD:PASSWORD@HOST:PORT, trojan://PASSWORD@HOST:PORT, vless:// or vmess://UUID@HOST:PORT "
        "(these with type=tcp or ws) or shadowvpn://PASSWORD@HOST:PORT?net=10.7.0.1/24 to listen on, or "
        "the file of a server of OpenVPN (server.ovpn, server.conf) or WireGuard (wg0.conf); "
        "default: the environment variable TUNFLOW_SERVER",
    )
    parser.add_argument(
        "--masquerade",
        action="store_true",
        help="ShadowVPN, OpenVPN and WireGuard: let the clients out to the network under this host's address",
    )
    parser.add_argument(
        "--allow-local",
        action="store_true",
        help="Shadowsocks, Trojan, VLESS, VMess: let clients reach this host's own addresses (127.0.0.1) and "
        "link-local ones",
    )
    parser.add_argument(
        "--certificate", metavar="FILE", help="Trojan, VLESS, VMess: the certificate (chain) that TLS shows, in PEM"
    )
    parser.add_argument("--key", metavar="FILE", help="its key in PEM; default: in the same file")
    parser.add_argument(
        "--users",
        metavar="FILE",
        help="Trojan, VLESS, VMess and Shadowsocks 2022 (AES): more users, a line each, SECRET or NAME SECRET",
    )


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    url = options.url or os.environ.get("TUNFLOW_SERVER")
    if url is None:
        raise LocalError("no link given: tunflow serve ss://METHOD:PASSWORD@HOST:PORT, or set TUNFLOW_SERVER")
    is_file = url.endswith((".ovpn", ".conf"))
    if options.allow_local and (is_file or url.lower().startswith("shadowvpn:")):
        raise LocalError(
            "--allow-local goes with an ss:// link: clients of a packet VPN have this host for a neighbour"
        )
    if is_file or url.lower().startswith("shadowvpn:"):
        for name in ("certificate", "key", "users"):
            if vars(options)[name] is not None:
                raise LocalError(f"--{name} goes with a trojan://, vless://, vmess:// or ss:// link")
    if url.lower().startswith("shadowvpn:"):
        from tunflow.cli.serve_shadowvpn import serve_shadowvpn  # noqa: PLC0415

        return serve_shadowvpn(url, options.masquerade)
    if url.endswith(".conf"):
        from tunflow.cli.serve_wireguard import is_wireguard_file, serve_wireguard  # noqa: PLC0415

        if is_wireguard_file(url):
            return serve_wireguard(url, options.masquerade)
    if is_file:
        from tunflow.cli.serve_openvpn import serve_openvpn  # noqa: PLC0415

        return serve_openvpn(url, options.masquerade)
    if options.masquerade:
        raise LocalError("--masquerade goes with a shadowvpn:// link or the file of an OpenVPN or WireGuard server")
    from tunflow.cli.serve import serve  # noqa: PLC0415

    return serve(
        url,
        allow_local=options.allow_local,
        certificate=options.certificate,
        key=options.key,
        users=options.users,
    )
