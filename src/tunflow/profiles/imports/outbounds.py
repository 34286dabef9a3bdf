"""Outbounds of sing-box and Xray as entries that Clash would write: then each protocol reads its own.

Rule: a key that is neither translated nor harmless makes another server of it, and refuses it.

Read first: https://sing-box.sagernet.org/configuration/outbound/, https://xtls.github.io/en/config/outbound.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunflow.errors import LocalError
from tunflow.profiles.imports import keys
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.link import printable
from tunflow.protocols.mux.settings import COOL
from tunflow.protocols.quic.settings import texts
from tunflow.protocols.registry import clash_server

NO_SERVER = frozenset({"direct", "block", "dns", "selector", "urltest", "freedom", "blackhole", "loopback"})
"""Outbounds that are no servers."""
_TYPES = {"shadowsocks": "ss", "socks": "socks5"}
_ALWAYS_TLS = frozenset({"trojan", "hysteria2", "tuic", "anytls"})
_MULTIPLEXED = frozenset({"shadowsocks", "trojan", "vless", "vmess"})
_DIALING = frozenset(
    {
        *("tag", "multiplex", "domain_strategy", "domain_resolver", "connect_timeout"),
        *("tcp_fast_open", "tcp_multi_path", "udp_fragment", "fallback_delay", "bind_interface", "routing_mark"),
        *("reuse_addr", "network_strategy", "network_type", "inet4_bind_address", "inet6_bind_address", "detour"),
        *("client_version", "mux", "sendThrough", "targetStrategy"),
    }
)
"""Keys of an outbound that do not change which server it is: how a client dials, what its server takes both ways."""
_TLS_HARMLESS = frozenset({"min_version", "max_version"})
_USER_HARMLESS = frozenset({"level", "email", "users", "ota", "ivCheck", "uot", "UoTVersion"})
_NOTHING: tuple[Any, ...] = (None, False, "", {}, [], 0, "none", "auto")


def link_of_entry(entry: Mapping[str, Any]) -> str:
    """The link of an entry of Clash's. Raises LocalError for what would be another server here."""
    server, unread = clash_server({**entry})
    for key, words, is_refused in keys.unspoken("clash", "proxies", {key: entry[key] for key in unread}):
        if is_refused:
            raise LocalError(f"{key} is not supported: {words}")
    return server.to_link()


def of_sing_box(outbound: Mapping[str, Any]) -> dict[str, Any]:
    """An outbound of sing-box as Clash's entry. Raises LocalError."""
    values = ClashEntry(outbound)
    kind = str(outbound.get("type"))
    made: dict[str, Any] = {
        "name": str(outbound.get("tag") or ""),
        "type": _TYPES.get(kind, kind),
        "server": values.text("server"),
        "port": values.text("server_port"),
    }
    if kind == "shadowsocks":
        made |= {"cipher": values.text("method"), "password": values.text("password")}
        if plugin := values.text("plugin"):
            made |= {"plugin": plugin, "plugin-opts": values.text("plugin_opts")}
    elif kind in {"socks", "http"}:
        made |= {"username": values.text("username"), "password": values.text("password")}
        if (version := values.text("version") or "5") != "5":
            raise LocalError(f"SOCKS version {printable(version)} is read as a link: socks{version}://")
    elif kind == "trojan":
        made |= {"password": values.text("password")}
    elif kind in {"vmess", "vless"}:
        made |= {"uuid": values.text("uuid"), "flow": values.text("flow")}
        made |= {"packet-encoding": values.text("packet_encoding")}
        if kind == "vmess":
            made |= {"cipher": values.text("security"), "alterId": values.text("alter_id")}
    elif kind == "ssh":
        made |= {
            "port": values.text("server_port") or "22",
            "username": values.text("user"),
            "password": values.text("password"),
            "private-key": _one(values.value("private_key")) if values.value("private_key") else None,
            "private-key-passphrase": values.text("private_key_passphrase"),
            "host-key": values.value("host_key"),
            "host-key-algorithms": values.value("host_key_algorithms"),
        }
        if path := values.text("private_key_path"):
            made["private-key"] = path
    elif kind == "tuic":
        made |= {
            "uuid": values.text("uuid"),
            "password": values.text("password"),
            "congestion-controller": values.text("congestion_control"),
            "udp-relay-mode": values.text("udp_relay_mode"),
        }
        for key in ("heartbeat", "zero_rtt_handshake"):
            values.value(key)  # the server takes both ways
    elif kind == "hysteria2":
        made |= _sing_box_hysteria2(values)
    elif kind == "anytls":
        made |= {"password": values.text("password")}
        for key in ("idle_session_check_interval", "idle_session_timeout", "min_idle_session"):
            values.value(key)  # how many sessions wait, and for how long: ours in our way
    else:
        return made  # whoever has it says so
    made |= _sing_box_udp(values) | _sing_box_mux(values, kind)
    tls = values.table("tls")
    made |= _sing_box_tls(tls, kind) | _sing_box_transport(values.table("transport"))
    _refuse_rest("tls.", tls, _TLS_HARMLESS)
    _refuse_rest("", values, _DIALING)
    return {key: value for key, value in made.items() if value is not None}


def of_sing_box_endpoint(endpoint: Mapping[str, Any]) -> dict[str, Any]:
    """An endpoint of sing-box as Clash's entry. Raises LocalError."""
    values = ClashEntry(endpoint)
    kind = str(endpoint.get("type"))
    if kind != "wireguard":
        raise LocalError(f"type {printable(kind)} is not supported; wireguard is")
    peers = values.value("peers")
    if not isinstance(peers, list) or len(peers) != 1 or not isinstance(peers[0], Mapping):
        raise LocalError("peers: a server here has one peer")
    peer = ClashEntry(peers[0])
    made: dict[str, Any] = {
        "name": values.text("tag") or "",
        "type": kind,
        "server": peer.text("address"),
        "port": peer.text("port"),
        "private-key": values.text("private_key"),
        "public-key": peer.text("public_key"),
        "pre-shared-key": peer.text("pre_shared_key"),
        "allowed-ips": peer.value("allowed_ips"),
        "reserved": peer.value("reserved"),
        "persistent-keepalive": peer.text("persistent_keepalive_interval"),
        "ip": values.value("address"),
        "mtu": values.text("mtu"),
    }
    if isinstance(before := values.value("detour"), str) and before:
        made["dialer-proxy"] = before
    _refuse_rest("peers[0].", peer, frozenset())
    _refuse_rest("", values, _DIALING | {"system", "name", "listen_port", "udp_timeout", "workers"})
    return {key: value for key, value in made.items() if value is not None}


def _sing_box_udp(values: ClashEntry) -> dict[str, Any]:
    """What an outbound does with UDP. Raises LocalError."""
    made: dict[str, Any] = {}
    network = values.text("network")
    if network == "tcp":
        made["udp"] = False
    elif network:
        raise LocalError(f"network {printable(network)} is not supported; tcp is, and both, without it")
    is_table = isinstance(values.value("udp_over_tcp"), Mapping)
    options = values.table("udp_over_tcp") if is_table else ClashEntry({})
    if options.flag("enabled") if is_table else values.flag("udp_over_tcp"):
        made |= {"udp-over-tcp": True, "udp-over-tcp-version": options.text("version") or "2"}
    return made


def _sing_box_mux(values: ClashEntry, kind: str) -> dict[str, Any]:
    """How an outbound's flows share connections. Raises LocalError."""
    options = values.table("multiplex") if kind in _MULTIPLEXED else ClashEntry({})
    made = {
        "enabled": options.flag("enabled"),
        "protocol": options.text("protocol"),
        "max-connections": options.text("max_connections"),
        "min-streams": options.text("min_streams"),
        "max-streams": options.text("max_streams"),
        "padding": options.flag("padding"),
    }
    return {"smux": made} if made["enabled"] else {}


def _xray_mux(options: ClashEntry) -> dict[str, Any]:
    """How an outbound's TCP flows share connections; -1 is for those of UDP only. Raises LocalError."""
    streams = options.text("concurrency") or "0"
    if not options.flag("enabled") or streams.startswith("-"):
        return {}
    return {"smux": {"enabled": True, "protocol": COOL, "max-streams": streams}}


def _sing_box_hysteria2(values: ClashEntry) -> dict[str, Any]:
    obfs = values.table("obfs")
    listed = [each.replace(":", "-") for each in texts("server_ports", values.value("server_ports"))]
    made = {
        "password": values.text("password"),
        "obfs": obfs.text("type"),
        "obfs-password": obfs.text("password"),
        "ports": ",".join(listed) or None,
        "hop-interval": values.text("hop_interval"),
        "up": values.text("up_mbps"),
        "down": values.text("down_mbps"),
    }
    if listed and values.value("server_port") is None:
        made["port"] = listed[0].partition("-")[0]
    _refuse_rest("obfs.", obfs, frozenset())
    return made


def _sing_box_tls(tls: ClashEntry, kind: str) -> dict[str, Any]:
    enabled = tls.flag("enabled")
    browser, reality, ech = tls.table("utls"), tls.table("reality"), tls.table("ech")
    name, insecure, alpn = tls.text("server_name"), tls.flag("insecure"), tls.value("alpn")
    if not enabled:
        if kind in _ALWAYS_TLS:
            raise LocalError(f"{kind} without TLS is not supported")
        return {}
    if ech.flag("enabled"):
        raise LocalError("tls.ech is not supported: without it the server's name is seen")
    if kind == "http" and (name or insecure):
        raise LocalError("tls.server_name and tls.insecure are not supported for http")
    return {
        **({} if kind in _ALWAYS_TLS else {"tls": "true"}),
        "sni" if kind in _ALWAYS_TLS else "servername": name,
        "skip-cert-verify": "true" if insecure else None,
        "alpn": alpn,
        "client-fingerprint": browser.text("fingerprint") if browser.flag("enabled") else None,
        "reality-opts": _reality(reality, "public_key", "short_id") if reality.flag("enabled") else None,
        "certificate": tls.text("client_certificate_path"),
        "private-key": tls.text("client_key_path"),
    }


def _sing_box_transport(transport: ClashEntry) -> dict[str, Any]:
    # `type` is what this table is about, and no name of a server
    kind = transport.text("type")
    if kind in {"grpc", "http"}:
        return _sing_box_http2(transport, kind)
    if kind is None or kind not in {"ws", "httpupgrade"}:
        return {"network": kind}
    headers = transport.value("headers")
    made: dict[str, Any] = {"path": transport.text("path")}
    if isinstance(headers, Mapping):
        made["headers"] = {key: _one(value) for key, value in headers.items()}
    if kind == "httpupgrade":
        made["v2ray-http-upgrade"] = "true"
        if host := transport.text("host"):
            made["headers"] = {**made.get("headers", {}), "Host": host}
    for key in ("max_early_data", "early_data_header_name"):
        transport.value(key)
    if transport.unread:
        raise LocalError(f"transport.{printable(transport.unread[0])} is not supported")
    return {"network": "ws", "ws-opts": made}


def _sing_box_http2(transport: ClashEntry, kind: str) -> dict[str, Any]:
    """Raises LocalError."""
    for harmless in ("idle_timeout", "ping_timeout", "permit_without_stream"):
        transport.value(harmless)  # how connections are kept: ours are kept in our way
    if kind == "grpc":
        made = {"network": "grpc", "grpc-opts": {"grpc-service-name": transport.text("service_name") or ""}}
    else:
        host, method = transport.value("host"), transport.text("method") or "PUT"
        if method != "PUT":
            raise LocalError(f"transport.method {printable(method)} is not supported; PUT is")
        made = {"network": "h2", "h2-opts": {"host": host or None, "path": transport.text("path")}}
    if transport.unread:
        raise LocalError(f"transport.{printable(transport.unread[0])} is not supported")
    return made


def of_xray(outbound: Mapping[str, Any]) -> dict[str, Any]:
    """An outbound of Xray (or V2Ray) as Clash's entry. Raises LocalError."""
    kind = str(outbound.get("protocol"))
    values = ClashEntry(outbound)
    values.value("protocol")
    if values.value("proxySettings"):
        raise LocalError("proxySettings is not supported: behind another server this is another one")
    if kind == "wireguard":
        return _xray_wireguard(values)
    where, user = _xray_server(values.table("settings"))
    made: dict[str, Any] = {
        "name": str(outbound.get("tag") or ""),
        "type": _TYPES.get(kind, kind),
        "server": where.text("address"),
        "port": where.text("port"),
    }
    if kind == "shadowsocks":
        made |= {"cipher": where.text("method"), "password": where.text("password")}
    elif kind in {"socks", "http"}:
        made |= {"username": user.text("user"), "password": user.text("pass")}
    elif kind == "trojan":
        made |= {"password": where.text("password")}
    elif kind in {"vmess", "vless"}:
        made |= {"uuid": user.text("id"), "flow": user.text("flow")}
        if kind == "vmess":
            made |= {"cipher": user.text("security"), "alterId": user.text("alterId")}
        else:
            made |= {"encryption": user.text("encryption")}
    else:
        return made
    _refuse_rest("settings.", where, _USER_HARMLESS)
    made |= _xray_stream(values.table("streamSettings"), kind)
    if kind in _MULTIPLEXED:
        made |= _xray_mux(values.table("mux"))
    _refuse_rest("", values, _DIALING)
    return {key: value for key, value in made.items() if value is not None}


def _xray_wireguard(values: ClashEntry) -> dict[str, Any]:
    """Raises LocalError."""
    settings = values.table("settings")
    peers = settings.value("peers")
    if not isinstance(peers, list) or len(peers) != 1 or not isinstance(peers[0], Mapping):
        raise LocalError("settings.peers: a server here has one peer")
    peer = ClashEntry(peers[0])
    host, _, port = (peer.text("endpoint") or "").rpartition(":")
    made = {
        "name": values.text("tag") or "",
        "type": "wireguard",
        "server": host,
        "port": port,
        "private-key": settings.text("secretKey"),
        "public-key": peer.text("publicKey"),
        "pre-shared-key": peer.text("preSharedKey"),
        "allowed-ips": peer.value("allowedIPs"),
        "persistent-keepalive": peer.text("keepAlive"),
        "reserved": settings.value("reserved"),
        "ip": settings.value("address"),
        "mtu": settings.text("mtu"),
    }
    _refuse_rest("settings.peers[0].", peer, frozenset())
    _refuse_rest("settings.", settings, frozenset({"workers", "noKernelTun", "domainStrategy", "isClient"}))
    _refuse_rest("", values, _DIALING)
    return {key: value for key, value in made.items() if value is not None}


def _xray_server(settings: ClashEntry) -> tuple[ClashEntry, ClashEntry]:
    """Where the server is, and the user; both in one table in the newer form. Raises LocalError."""
    for key, users in (("vnext", "users"), ("servers", "users")):
        found = settings.value(key)
        if isinstance(found, list) and found:
            if len(found) > 1:
                raise LocalError(f"settings.{key} has several servers: each is an outbound of its own")
            where = ClashEntry(found[0] if isinstance(found[0], Mapping) else {})
            given = where.value(users)
            first = given[0] if isinstance(given, list) and given and isinstance(given[0], Mapping) else {}
            return where, ClashEntry(first)
    return settings, settings


def _xray_identity(given: object) -> dict[str, Any]:
    """The client's certificate. Raises LocalError for other ones, and for what is in no file."""
    if not given:
        return {}
    one = given[0] if isinstance(given, list) and len(given) == 1 and isinstance(given[0], Mapping) else {}
    values = ClashEntry(one)
    made = {"certificate": values.text("certificateFile"), "private-key": values.text("keyFile")}
    if (values.text("usage") or "encipherment") != "encipherment" or not made["certificate"] or values.unread:
        raise LocalError("tlsSettings.certificates is one client certificate: certificateFile and keyFile, no more")
    return made


def _reality(values: ClashEntry, key: str, short_id: str) -> dict[str, Any]:
    """As Clash has it. Raises LocalError for a server that cannot be known."""
    made = {"public-key": values.text(key), "short-id": values.text(short_id)}
    if not made["public-key"]:
        raise LocalError(f"REALITY needs the server's public key ({key})")
    return made


def _xray_reality(reality: ClashEntry, kind: str) -> dict[str, Any]:
    """Raises LocalError."""
    older, newer = reality.text("publicKey"), reality.text("password")
    values = {"publicKey": newer or older, "shortId": reality.text("shortId")}
    verify = {"mldsa65-verify": key} if (key := reality.text("mldsa65Verify")) else {}
    made = {
        **({} if kind == "trojan" else {"tls": "true"}),
        "sni" if kind == "trojan" else "servername": reality.text("serverName"),
        "client-fingerprint": reality.text("fingerprint"),
        "reality-opts": _reality(ClashEntry(values), "publicKey", "shortId") | verify,
    }
    _refuse_rest("streamSettings.realitySettings.", reality, frozenset({"spiderX", "show", "masterKeyLog"}))
    return made


def _xray_stream(stream: ClashEntry, kind: str) -> dict[str, Any]:
    network = {"raw": "tcp"}.get(stream.text("network") or "tcp", stream.text("network"))
    security = stream.text("security") or "none"
    made: dict[str, Any] = {"network": network if network != "tcp" else None}
    if security not in {"none", "tls", "reality"}:
        raise LocalError(f"streamSettings.security {printable(security)} is not supported; none, tls and reality are")
    if security == "none" and kind == "trojan":
        raise LocalError("trojan without TLS is not supported")
    if security == "reality":
        made |= _xray_reality(stream.table("realitySettings"), kind)
    if security == "tls":
        tls = stream.table("tlsSettings")
        made |= {
            **({} if kind == "trojan" else {"tls": "true"}),
            "sni" if kind == "trojan" else "servername": tls.text("serverName"),
            "skip-cert-verify": "true" if tls.flag("allowInsecure") else None,
            "alpn": tls.value("alpn"),
            "client-fingerprint": tls.text("fingerprint"),
            "fingerprint": tls.text("pinnedPeerCertSha256"),
            **_xray_identity(tls.value("certificates")),
        }
        if tls.unread:
            raise LocalError(f"tlsSettings.{printable(tls.unread[0])} is not supported")
    if before := stream.table("sockopt").text("dialerProxy"):
        raise LocalError(f"sockopt.dialerProxy {printable(before)}: behind another server this is another one")
    header = stream.table("rawSettings" if stream.value("rawSettings") else "tcpSettings").table("header")
    if (disguise := header.text("type")) not in {None, "none"}:
        raise LocalError(f"streamSettings header {printable(str(disguise))} is not supported; none is")
    if network in {"ws", "httpupgrade"}:
        options = stream.table(f"{network}Settings")
        headers = options.value("headers")
        made["network"] = "ws"
        made["ws-opts"] = {
            "path": options.text("path"),
            "headers": {**(headers if isinstance(headers, Mapping) else {})},
            **({"v2ray-http-upgrade": "true"} if network == "httpupgrade" else {}),
        }
        if host := options.text("host"):
            made["ws-opts"]["headers"]["Host"] = host
    elif network in {"grpc", "gun", "http", "h2", "xhttp", "splithttp"}:
        made |= _xray_http2(stream, network or "")
    return made


def _xray_http2(stream: ClashEntry, network: str) -> dict[str, Any]:
    """Raises LocalError."""
    options = stream.table({"gun": "grpcSettings", "h2": "httpSettings"}.get(network, f"{network}Settings"))
    if network in {"grpc", "gun"}:
        for harmless in ("idle_timeout", "health_check_timeout", "permit_without_stream", "initial_windows_size"):
            options.value(harmless)  # how connections are kept: ours are kept in our way
        made = {
            "network": "grpc",
            "grpc-opts": {
                "grpc-service-name": options.text("serviceName") or "",
                "authority": options.text("authority"),
                "mode": "multi" if options.flag("multiMode") else None,
            },
        }
    else:
        mode = options.text("mode") if network in {"xhttp", "splithttp"} else None
        table = {"host": options.value("host") or None, "path": options.text("path"), "mode": mode}
        made = (
            {"network": "h2", "h2-opts": table}
            if mode is None and network in {"http", "h2"}
            else {"network": "xhttp", "xhttp-opts": table}
        )
    if options.unread:
        raise LocalError(f"{network}Settings.{printable(options.unread[0])} is not supported")
    return made


def _refuse_rest(where: str, table: ClashEntry, harmless: frozenset[str]) -> None:
    """Raises LocalError for a key that says something and was not read."""
    for key in table.unread:
        value = table.value(key)
        is_off = isinstance(value, Mapping) and value.get("enabled") is False
        if key not in harmless and value not in _NOTHING and not is_off:
            raise LocalError(f"{where}{printable(key)} is not supported: without it this is another server")


def _one(value: Any) -> str:
    """A header's value, of which there may be several."""
    return str(value[0]) if isinstance(value, list) and value else str(value)
