"""Transports as links (`type`, `security`, …) and Clash entries (`network`, `tls`, …) name them.

Read first: Xray's proposal for share links ("VMessAEAD / VLESS"); mihomo's pages on "TLS" and "Transport".
"""

from __future__ import annotations

from collections.abc import Mapping

from tunflow.errors import LocalError
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.link import INSECURE, is_insecure, parameters, printable
from tunflow.protocols.transport.transport import ON_HTTP2, OTHER_NAMES, Reality, Transport, check_network, checked

_KEYS = frozenset(
    {"type", "security", "sni", "peer", "alpn", "fp", "host", "path", "headerType", "pcs", *INSECURE}
    | {"pbk", "sid", "spx", "pqv", "serviceName", "authority", "mode", "certificate", "key"}
)
_EARLY_DATA = ("ed", "eh")
"""They save a round trip, no more: servers take streams without."""
_OF_OTHER_NETWORKS = ("seed", "quicSecurity")
_NOT_DONE = {
    "ech": "without it the server's name is seen",
    "extra": "it is how XHTTP's requests are padded and cut, which its server checks",
    "fm": "a disguise that the server waits for",
}


def from_query(scheme: str, query: str, own: tuple[str, ...], security: str) -> tuple[Transport, dict[str, str]]:
    """The transport, and the protocol's `own` parameters; `security` is what none stands for. Raises LocalError."""
    read = {*own, *_KEYS}
    values = parameters(scheme, query, read, (*_EARLY_DATA, *_OF_OTHER_NETWORKS, *_NOT_DONE))
    network = values.get("type", "tcp")
    is_grpc = OTHER_NAMES.get(network, network) == "grpc"
    try:
        check_network(OTHER_NAMES.get(network, network))
        _check_not_done(values)
        made = checked(
            network=network,
            security=values.get("security", security),
            sni=values.get("sni") or values.get("peer"),
            alpn=tuple(filter(None, values.get("alpn", "").split(","))),
            pinned=values.get("pcs"),
            insecure=is_insecure(scheme, values),
            browser=values.get("fp"),
            host=values.get("authority" if is_grpc else "host"),
            path=values.get("serviceName" if is_grpc else "path", "" if is_grpc else "/"),
            header=values.get("headerType", "none"),
            mode=values.get("mode"),
            certificate=values.get("certificate"),
            key=values.get("key"),
            reality=_reality(values.get("pbk"), values.get("sid"), values.get("spx"), values.get("pqv")),
        )
    except LocalError as error:
        raise LocalError(f"the {scheme}:// link: {error}") from None
    return made, {key: value for key, value in values.items() if key in own}


def to_query(transport: Transport, security: str) -> dict[str, str]:
    """The parameters of a link; `security` is what the protocol's links mean without one."""
    values: dict[str, str | None] = {
        "type": transport.network if transport.network != "tcp" else None,
        "security": transport.security if transport.security != security else None,
        "sni": transport.sni,
        "alpn": ",".join(transport.alpn),
        "pcs": transport.pinned,
        "allowInsecure": "1" if transport.insecure else None,
        "fp": transport.browser,
        "authority" if transport.network == "grpc" else "host": transport.host,
        "serviceName" if transport.network == "grpc" else "path": transport.path if transport.path != "/" else None,
        "certificate": transport.certificate,
        "key": transport.key,
        "mode": "multi" if transport.multi else "stream-one" if transport.network == "xhttp" else None,
    }
    if transport.reality is not None:
        reality = transport.reality
        values |= {"pbk": reality.public_key, "sid": reality.short_id, "spx": reality.spider, "pqv": reality.verify_key}
    return {key: value for key, value in values.items() if value}


def from_clash(entry: ClashEntry, *, tls: bool, name_key: str) -> Transport:
    """The transport of a Clash entry; `name_key` is the key of TLS's server name. Raises LocalError."""
    reality = _reality_of_clash(entry.table("reality-opts"))
    network = entry.text("network") or "tcp"
    network = OTHER_NAMES.get(network, network)
    if network == "http" and entry.text("network") == "http":
        raise LocalError("network http is a disguise in HTTP/1, which is not supported; h2, grpc and ws are")
    network, host, path, mode = _clash_options(entry, network)
    return checked(
        network=network,
        security="reality" if reality is not None else "tls" if tls else "none",
        sni=entry.text(name_key),
        alpn=_texts(entry.value("alpn")),
        pinned=entry.text("fingerprint"),
        insecure=entry.flag("skip-cert-verify"),
        browser=entry.text("client-fingerprint"),
        host=host,
        path=path,
        header="none",
        mode=mode,
        certificate=entry.text("certificate"),
        key=entry.text("private-key"),
        reality=reality,
    )


def _clash_options(entry: ClashEntry, network: str) -> tuple[str, str | None, str, str | None]:
    """Network, host, path and mode, from the table of a network's options. Raises LocalError."""
    key = {"ws": "ws-opts", "grpc": "grpc-opts", "http": "h2-opts", "xhttp": "xhttp-opts"}.get(network)
    options = entry.table(key) if key is not None else ClashEntry({})
    headers = options.table("headers")
    mode = None
    if network == "grpc":
        for harmless in ("grpc-user-agent", "ping-interval", "max-connections", "min-streams", "max-streams"):
            options.value(harmless)  # how many sessions there are, and how they are kept: ours are kept in our way
        given = options.value("grpc-service-name")
        host, path = options.text("authority"), "GunService" if given is None else str(given)  # as mihomo has it
        mode = options.text("mode")
    elif network in ON_HTTP2:
        hosts = _texts(options.value("host"), "host")
        host, path = (hosts[0] if hosts else None), options.text("path") or "/"
        mode = options.text("mode")
    else:
        for harmless in ("max-early-data", "early-data-header-name", "v2ray-http-upgrade-fast-open"):
            options.value(harmless)  # they save a round trip, no more: servers take streams without
        if options.flag("v2ray-http-upgrade"):
            network = "httpupgrade"
        host, path = headers.text("Host") or headers.text("host"), options.text("path") or "/"
    for where, table in ((key, options), (f"{key}.headers", headers)):
        if table.unread:
            raise LocalError(f"{where} has {printable(table.unread[0])}, which is not supported")
    return network, host, path, mode


def _check_not_done(values: Mapping[str, str]) -> None:
    """Raises LocalError for parameters of connections that cannot be had."""
    for key, why in _NOT_DONE.items():
        if values.get(key, "{}") not in {"", "{}", "null"}:
            raise LocalError(f"{key} is not supported: {why}")
    if (said := values.get("sni")) and values.get("peer", said) != said:
        raise LocalError("sni and peer are two names; one of them is enough")


def _reality(public_key: str | None, short_id: str | None, spider: str | None, verify: str | None) -> Reality | None:
    """How the server is known; None if it is no REALITY server. Raises LocalError."""
    if not public_key:
        if short_id or spider or verify:
            raise LocalError("sid, spx and pqv (short-id) are of security=reality, which needs pbk (public-key)")
        return None
    return Reality(public_key, (short_id or "").lower(), spider or None, verify or "")


def _reality_of_clash(options: ClashEntry) -> Reality | None:
    """The same by `reality-opts`. Raises LocalError."""
    public_key, short_id = options.text("public-key"), options.text("short-id")
    verify = options.text("mldsa65-verify")  # Xray's, which Clash has no key for
    options.value("support-x25519mlkem768")  # it is offered always
    if options.unread:
        raise LocalError(f"reality-opts has {printable(options.unread[0])}, which is not supported")
    return _reality(public_key, short_id, None, verify)


def _texts(value: object, key: str = "alpn") -> tuple[str, ...]:
    """A list of texts. Raises LocalError."""
    if value is None or value == "":
        return ()
    if isinstance(value, Mapping):
        raise LocalError(f"{key} is a list")
    return tuple(map(str, value)) if isinstance(value, list | tuple) else (str(value),)
