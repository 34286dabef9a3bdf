"""What a stream protocol stands on, as links (`type`, `security`, …) and Clash entries (`network`, `tls`, …) name it.

Read first: Xray's proposal for share links ("VMessAEAD / VLESS"); mihomo's pages on "TLS" and "Transport". What is
asked for and cannot be done is refused and named; nothing makes a connection weaker than it was asked for, except that
`fp` (which browser the TLS greeting should look like) cannot be had: docs/observers.md says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from tunflow.errors import LocalError
from tunflow.protocols.chain import ChainedStream
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.codec import StreamCodec
from tunflow.protocols.contract import OutboundContext
from tunflow.protocols.link import format_where, printable

NETWORKS = ("tcp", "ws", "httpupgrade")
_FLAGS = {"": False, "0": False, "false": False, "1": True, "true": True}
_KEYS = frozenset(
    {"type", "security", "sni", "peer", "alpn", "fp", "host", "path", "headerType", "pcs", "allowInsecure"}
)


@dataclass(frozen=True, slots=True)
class Transport:
    """What carries the protocol's bytes: `network` is one of `NETWORKS`, inside TLS or not."""

    network: str = "tcp"
    tls: bool = False
    sni: str | None = None
    """The name that TLS asks for; the server's host if None."""
    alpn: tuple[str, ...] = ()
    pinned: str | None = None
    """SHA-256 of the only certificate that is accepted, in hexadecimal."""
    insecure: bool = False
    """Whether any certificate is accepted: only if the user wrote it."""
    browser: str | None = None
    """The browser that TLS should look like (`fp`): kept for the link, not done."""
    host: str | None = None
    """For the Host field of `ws` and `httpupgrade`; the server's host if None."""
    path: str = "/"


def from_query(scheme: str, query: str, own: tuple[str, ...], security: str) -> tuple[Transport, dict[str, str]]:
    """The transport, and the protocol's `own` parameters; `security` is what none stands for. Raises LocalError."""
    values = {key: value for key, value in parse_qsl(query, keep_blank_values=True) if value}
    for key in values:
        if key not in _KEYS and key not in own:
            if values.get("type") == "grpc" or values.get("security") == "reality":
                continue  # told below, in better words
            known = ", ".join((*own, *sorted(_KEYS)))
            raise LocalError(f"the {scheme}:// link has an unknown parameter {printable(key)!r}; accepted: {known}")
    try:
        made = _transport(
            network=values.get("type", "tcp"),
            security=values.get("security", security),
            sni=values.get("sni") or values.get("peer"),
            alpn=tuple(filter(None, values.get("alpn", "").split(","))),
            pinned=values.get("pcs"),
            insecure=_flag(values.get("allowInsecure", "")),
            browser=values.get("fp"),
            host=values.get("host"),
            path=values.get("path", "/"),
            header=values.get("headerType", "none"),
        )
    except LocalError as error:
        raise LocalError(f"the {scheme}:// link: {error}") from None
    return made, {key: value for key, value in values.items() if key in own}


def to_query(transport: Transport, security: str) -> dict[str, str]:
    """The parameters of a link; `security` is what the protocol's links mean without one."""
    values: dict[str, str | None] = {
        "type": transport.network if transport.network != "tcp" else None,
        "security": named if (named := "tls" if transport.tls else "none") != security else None,
        "sni": transport.sni,
        "alpn": ",".join(transport.alpn),
        "pcs": transport.pinned,
        "allowInsecure": "1" if transport.insecure else None,
        "fp": transport.browser,
        "host": transport.host,
        "path": transport.path if transport.path != "/" else None,
    }
    return {key: value for key, value in values.items() if value}


def from_clash(entry: ClashEntry, *, tls: bool, name_key: str) -> Transport:
    """The transport of a Clash entry; `name_key` is the key of TLS's server name. Raises LocalError."""
    if entry.value("reality-opts"):
        raise LocalError("reality-opts is not supported: Python's TLS cannot do REALITY")
    network = entry.text("network") or "tcp"
    options = entry.table("ws-opts") if network == "ws" else ClashEntry({})
    headers = options.table("headers")
    for key in ("max-early-data", "early-data-header-name", "v2ray-http-upgrade-fast-open"):
        options.value(key)  # they save a round trip, no more: servers take streams without
    if options.flag("v2ray-http-upgrade"):
        network = "httpupgrade"
    host = headers.text("Host") or headers.text("host")
    path = options.text("path") or "/"
    for where, table in (("ws-opts", options), ("ws-opts.headers", headers)):
        if table.unread:
            raise LocalError(f"{where} has {printable(table.unread[0])}, which is not supported")
    return _transport(
        network=network,
        security="tls" if tls else "none",
        sni=entry.text(name_key),
        alpn=_texts(entry.value("alpn")),
        pinned=entry.text("fingerprint"),
        insecure=entry.flag("skip-cert-verify"),
        browser=entry.text("client-fingerprint"),
        host=host,
        path=path,
        header="none",
    )


def layers(
    transport: Transport, server: tuple[str, int], context: OutboundContext
) -> Callable[[StreamCodec], StreamCodec]:
    """Makes what lays a protocol's codec on fresh layers of the transport to `server` (host and port)."""
    makers: list[Callable[[], StreamCodec]] = []
    name = transport.sni or server[0]
    if transport.tls:
        from tunflow.protocols.transport.tls import TLSClient  # noqa: PLC0415  (ssl is not for who does not use it)

        pin = bytes.fromhex(transport.pinned) if transport.pinned else None
        settings = context.tls(*transport.alpn, verified=pin is None and not transport.insecure)
        makers.append(lambda: TLSClient(settings, name, pin))
    if transport.network != "tcp":
        from tunflow.protocols.transport import websocket  # noqa: PLC0415  (wsproto likewise)

        upgrade = websocket.WebSocketClient if transport.network == "ws" else websocket.HTTPUpgradeClient
        host = transport.host or (transport.sni if transport.sni else format_where(*server))
        makers.append(lambda: upgrade(host, transport.path))

    def lay(codec: StreamCodec) -> StreamCodec:
        for make in reversed(makers):
            codec = ChainedStream(make(), codec)
        return codec

    return lay


def _transport(
    *,
    network: str,
    security: str,
    sni: str | None,
    alpn: tuple[str, ...],
    pinned: str | None,
    insecure: bool,
    browser: str | None,
    host: str | None,
    path: str,
    header: str,
) -> Transport:
    """A checked transport. Raises LocalError."""
    network = {"raw": "tcp"}.get(network, network)
    if network not in NETWORKS:
        raise LocalError(f"type (network) {printable(network)} is not supported; {', '.join(NETWORKS)} are")
    if security == "reality":
        raise LocalError("security=reality is not supported: Python's TLS cannot do REALITY; none and tls are")
    if security not in {"none", "tls"}:
        raise LocalError(f"security={printable(security)} is not supported; none and tls are")
    if header != "none":
        raise LocalError(f"headerType={printable(header)} is not supported; none is")
    if security == "none" and (pinned or insecure):
        raise LocalError("it names a certificate to check or not to check, and no TLS (security=tls)")
    if pinned is not None:
        pinned = pinned.replace(":", "").lower()
        if not re.fullmatch(r"[0-9a-f]{64}", pinned):
            raise LocalError("the pinned fingerprint is the SHA-256 of a certificate, 64 hexadecimal digits")
    # Xray writes the size of early data into the path; servers take streams without.
    path = re.sub(r"\?ed=[0-9]+$", "", path)
    for word in (path, host or "", sni or ""):
        if not re.fullmatch(r"[\x21-\x7e]*", word):
            raise LocalError("path, host and sni are printable ASCII without blanks")
    if any(not 1 <= len(name) <= 255 or not name.isascii() for name in alpn):
        raise LocalError("each name of alpn has 1 to 255 ASCII characters")
    if network != "tcp" and alpn and "http/1.1" not in alpn:
        raise LocalError(f"alpn of {network} is http/1.1: it begins as HTTP/1.1")
    if network != "tcp":
        alpn = ("http/1.1",) if alpn else ()
    path = path if path.startswith("/") else f"/{path}"
    return Transport(network, security == "tls", sni, alpn, pinned, insecure, browser, host, path)


def _flag(text: str) -> bool:
    if text.lower() not in _FLAGS:
        raise LocalError("allowInsecure is 0 or 1")
    return _FLAGS[text.lower()]


def _texts(value: object) -> tuple[str, ...]:
    """A list of texts. Raises LocalError."""
    if value is None or value == "":
        return ()
    if isinstance(value, Mapping):
        raise LocalError("alpn is a list")
    return tuple(map(str, value)) if isinstance(value, list | tuple) else (str(value),)
