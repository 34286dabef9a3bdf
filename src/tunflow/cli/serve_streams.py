"""`tunflow serve trojan://…`, `vless://…` and `vmess://…`: a server of streams until SIGINT or SIGTERM."""

from __future__ import annotations

import ssl

from tunflow.cli.serving import log_line, serving_reactor, stop_on_signals
from tunflow.errors import LocalError
from tunflow.inbound.budget import raise_limit
from tunflow.inbound.stream_server import StreamServer, StreamServerSettings


def serve_streams(
    spec: StreamServerSettings, *, allow_local: bool, certificate: str | None, key: str | None, users: list[str]
) -> int:
    """Serve as the link says; the exit status. Raises LocalError for a bad address, certificate or user."""
    tls = None if certificate is None else server_context(certificate, key)
    reactor = serving_reactor()
    server = StreamServer(
        reactor, spec, log=log_line, users=users, tls=tls, descriptors=raise_limit(), allow_local=allow_local
    )
    stop_on_signals(reactor)
    where = " and ".join(str(address) for address in server.addresses)
    log_line(f"serving {spec.label.partition('://')[0]}:// on {where} (TCP and UDP in streams, {_how(spec)})")
    reactor.run()
    server.close()
    return 0


def server_context(certificate: str, key: str | None) -> ssl.SSLContext:
    """What TLS shows. Raises LocalError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
    except FileNotFoundError:
        raise LocalError(f"--certificate {certificate} or --key {key or certificate}: no such file") from None
    except (OSError, ssl.SSLError) as error:
        raise LocalError(
            f"--certificate {certificate}: no certificate and key in PEM that go together ({error})"
        ) from None
    return context


def _how(spec: StreamServerSettings) -> str:
    transport = spec.transport
    return f"{'TLS' if transport.tls else 'no TLS'}{', WebSocket' if transport.network == 'ws' else ''}"
