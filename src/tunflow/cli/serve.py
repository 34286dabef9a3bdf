"""`tunflow serve URL`: a Shadowsocks server until SIGINT or SIGTERM."""

from __future__ import annotations

from pathlib import Path

from tunflow.cli.serving import log_line, serving_reactor, stop_on_signals
from tunflow.errors import LocalError
from tunflow.inbound.budget import raise_limit
from tunflow.inbound.server import InboundServer
from tunflow.protocols.registry import parse_server
from tunflow.protocols.shadowsocks.settings import ShadowsocksServer


def serve(
    url: str,
    *,
    allow_local: bool,
    certificate: str | None = None,
    key: str | None = None,
    users: str | None = None,
) -> int:
    """Serve as the link `url` says; the exit status. Raises LocalError for a bad link, address or file."""
    spec = parse_server(url, listening=True)
    more = users_of(users) if users is not None else []
    if not isinstance(spec, ShadowsocksServer):
        from tunflow.cli.serve_streams import serve_streams  # noqa: PLC0415  (ssl is not for who does not use it)
        from tunflow.inbound.stream_server import StreamServerSettings  # noqa: PLC0415

        if not isinstance(spec, StreamServerSettings):
            raise LocalError(f"serve takes an ss://, trojan://, vless:// or vmess:// link, not {spec.label}")
        return serve_streams(spec, allow_local=allow_local, certificate=certificate, key=key, users=more)
    if certificate is not None or key is not None:
        raise LocalError("--certificate and --key go with a trojan://, vless:// or vmess:// link")
    reactor = serving_reactor()
    server = InboundServer(reactor, spec, log=log_line, descriptors=raise_limit(), allow_local=allow_local, users=more)
    stop_on_signals(reactor)
    where = " and ".join(str(address) for address in server.addresses)
    log_line(f"serving ss://{spec.method} on {where} (TCP + UDP)")
    reactor.run()
    server.close()
    return 0


def users_of(file: str) -> list[str]:
    """The secrets of a users file: a line each, `SECRET` or `NAME SECRET`; one that begins with `#` is a remark.

    Raises LocalError.
    """
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "is no UTF-8 text"
        raise LocalError(f"--users {file}: {reason}") from None
    found = []
    for number, line in enumerate(lines, 1):
        words = [] if line.startswith("#") else line.split()
        if len(words) > 2:
            raise LocalError(f"{file}:{number}: a user is SECRET or NAME SECRET, with no blanks in them")
        if words:
            found.append(words[-1])
    if not found:
        raise LocalError(f"--users {file}: names nobody; a line each, SECRET or NAME SECRET")
    return found
