"""Configurations of other programs with values that do not belong there: a profile, or one line why there is none.

Mutations of bytes seldom leave a JSON text whole; here the first byte says which file it is, and then come edits: how
far to walk in it, what to do there, and with which value.
"""

from __future__ import annotations

import copy
import json
import plistlib
from collections.abc import Iterator
from typing import Any

from tunflow.errors import BadPacket, LocalError, RemoteError
from tunflow.profiles.imports.importer import ImportSource, import_profile
from tunflow.profiles.imports.mobileconfig import MobileConfig

USER = "01234567-89ab-cdef-0123-456789abcdef"
KEY = "A" * 43 + "="
SERVER = {"server": "h", "port": 1, "password": "p"}
SERVED = {"server": "h", "server_port": 1, "password": "p"}

CLASH = {
    "hosts": {"a.b": "10.0.0.1", "c.d": ["::1"]},
    "authentication": ["u:p"],
    "dns": {"enable": True, "nameserver": ["tls://d@1.1.1.1", "https://h/dns-query#g"], "fallback": ["1.1.1.1"],
            "enhanced-mode": "fake-ip", "fake-ip-range": "198.18.0.1/16", "fake-ip-filter": ["+.lan"],
            "nameserver-policy": {"+.a": "9.9.9.9", "rule-set:l": ["1.1.1.1"]}, "default-nameserver": ["9.9.9.9"],
            "fallback-filter": {"geoip": True, "ipcidr": ["240.0.0.0/4"], "domain": ["+.g"]}},
    "tun": {"enable": True, "mtu": 9000, "dns-hijack": ["any:53"], "route-address": ["0.0.0.0/1"], "include-uid": [0]},
    "proxies": [
        {"name": "a", "type": "ss", "cipher": "aes-256-gcm", "plugin": "obfs", "plugin-opts": {"mode": "http"},
         "smux": {"enabled": True, "protocol": "smux", "max-streams": 3}, **SERVER},
        {"name": "b", "type": "vmess", "uuid": USER, "alterId": 0, "cipher": "auto", "tls": True, "network": "ws",
         "ws-opts": {"path": "/x", "headers": {"Host": "h"}}, "dialer-proxy": "a", "server": "h", "port": 2},
        {"name": "c", "type": "vless", "uuid": USER, "tls": True, "flow": "xtls-rprx-vision", "server": "h", "port": 2,
         "reality-opts": {"public-key": KEY[:-1], "short-id": "ab"}, "alpn": ["h2"]},
        {"name": "h", "type": "hysteria2", "ports": "1-2,3", "obfs": "salamander", "obfs-password": "xxxx", **SERVER},
        {"name": "j", "type": "wireguard", "server": "h", "port": 2, "private-key": KEY, "public-key": KEY,
         "ip": "10.0.0.2", "reserved": [1, 2, 3], "peers": [{"server": "h", "port": 1, "public-key": KEY}]},
    ],
    "proxy-groups": [{"name": "g", "type": "url-test", "proxies": ["a", "b"], "url": "http://h/", "filter": "a|b",
                      "interval": 30, "use": ["p"]}, {"name": "g2", "type": "select", "proxies": ["g", "DIRECT"]}],
    "proxy-providers": {"p": {"type": "inline", "override": {"additional-prefix": "x"}, "payload": [
        {"name": "q", "type": "ss", "cipher": "aes-128-gcm", **SERVER}]}},
    "rule-providers": {"l": {"type": "inline", "behavior": "domain", "payload": ["+.a", "b"]}},
    "sub-rules": {"s": ["DOMAIN,x,g"]},
    "rules": ["IP-CIDR,10.0.0.0/8,DIRECT,no-resolve", "RULE-SET,l,g", "SUB-RULE,(NETWORK,tcp),s",
              "AND,((DOMAIN,x),(DST-PORT,1)),g", "MATCH,g2"],
}  # fmt: skip
SING_BOX = {
    "dns": {"servers": [{"tag": "d", "address": "tls://1.1.1.1", "address_resolver": "e", "detour": "v"},
                        {"type": "https", "tag": "e", "server": "1.1.1.1", "path": "/q", "domain_resolver": "d"},
                        {"type": "fakeip", "tag": "f", "inet4_range": "198.18.0.0/15"},
                        {"type": "hosts", "tag": "h", "predefined": {"a.b": ["1.1.1.1"]}}],
            "rules": [{"domain_suffix": [".cn"], "server": "d"}, {"query_type": ["A", 28], "action": "reject"},
                      {"type": "logical", "mode": "and", "rules": [{"rule_set": "rs"}], "server": "e"}],
            "final": "d", "fakeip": {"enabled": True, "inet4_range": "198.18.0.0/15"}},
    "inbounds": [{"type": "tun", "address": ["172.19.0.1/30"], "mtu": 9000, "route_address": ["0.0.0.0/1"]},
                 {"type": "mixed", "listen_port": 2080, "users": [{"username": "u", "password": "p"}]}],
    "outbounds": [
        {"type": "vless", "tag": "v", "server": "h", "server_port": 1, "uuid": USER, "packet_encoding": "xudp",
         "tls": {"enabled": True, "alpn": ["h2"], "utls": {"enabled": True, "fingerprint": "chrome"},
                 "reality": {"enabled": True, "public_key": KEY[:-1], "short_id": "ab"}},
         "multiplex": {"enabled": True, "protocol": "h2mux", "brutal": {"enabled": True}}},
        {"type": "vmess", "tag": "m", "server": "h", "server_port": 1, "uuid": USER, "security": "auto", "alter_id": 0,
         "transport": {"type": "ws", "path": "/x", "headers": {"Host": ["x"]}, "max_early_data": 1}},
        {"type": "shadowsocks", "tag": "s", "method": "aes-256-gcm", "plugin": "obfs-local", "detour": "v",
         "plugin_opts": "obfs=http", "udp_over_tcp": {"enabled": True}, **SERVED},
        {"type": "hysteria2", "tag": "y", "server_ports": ["1:2"], "obfs": {"type": "salamander", "password": "xxxx"},
         "tls": {"enabled": True}, **SERVED},
        {"type": "ssh", "tag": "z", "server": "h", "user": "u", "private_key": ["x", "y"], "host_key": ["k"]},
        {"type": "urltest", "tag": "g", "outbounds": ["v", "s"], "interval": "3m", "url": "http://h/"},
        {"type": "direct", "tag": "direct"},
    ],
    "endpoints": [{"type": "wireguard", "tag": "w", "address": ["10.0.0.2/32"], "private_key": KEY, "peers": [
        {"address": "h", "port": 1, "public_key": KEY, "allowed_ips": ["0.0.0.0/0"], "reserved": [1, 2, 3]}]}],
    "route": {"rules": [{"action": "sniff"}, {"protocol": "dns", "action": "hijack-dns"},
                        {"domain_suffix": [".x"], "port": [1, 2], "port_range": [":5"], "invert": True,
                         "outbound": "v"},
                        {"type": "logical", "mode": "or", "rules": [{"network": "udp"}, {"ip_cidr": ["10.0.0.0/8"]}],
                         "action": "reject"}, {"rule_set": ["rs"], "user_id": [0], "outbound": "g"}],
              "rule_set": [{"tag": "rs", "type": "inline", "rules": [{"domain": ["a"]}]}],
              "final": "g", "default_domain_resolver": {"server": "d"}},
    "experimental": {"clash_api": {"external_controller": "127.0.0.1:9090", "secret": "x"}},
}  # fmt: skip
XRAY = {
    "dns": {"servers": ["8.8.8.8", "https://1.1.1.1/dns-query",
                        {"address": "tcp://1.1.1.1", "port": 53, "domains": ["domain:x"], "expectIPs": ["geoip:cn"]}],
            "hosts": {"domain:a": "1.1.1.1", "full:b": ["::1"]}, "queryStrategy": "UseIPv4"},
    "inbounds": [{"tag": "in", "protocol": "socks", "port": 1080,
                  "settings": {"auth": "password", "accounts": [{"user": "u", "pass": "p"}]},
                  "sniffing": {"enabled": True, "destOverride": ["http", "tls"]}}],
    "outbounds": [
        {"tag": "t", "protocol": "trojan", "settings": {"servers": [{"address": "h", "port": 1, "password": "p"}]},
         "streamSettings": {"network": "ws", "security": "tls", "tlsSettings": {"serverName": "s", "alpn": ["h2"]},
                            "wsSettings": {"path": "/x", "headers": {"Host": "h"}}, "sockopt": {"mark": 1}},
         "mux": {"enabled": True, "concurrency": 8}},
        {"tag": "v", "protocol": "vless",
         "settings": {"vnext": [{"address": "h", "port": 1, "users": [{"id": USER, "encryption": "none"}]}]},
         "streamSettings": {"network": "tcp", "security": "reality", "tcpSettings": {"header": {"type": "none"}},
                            "realitySettings": {"serverName": "s", "publicKey": KEY[:-1], "shortId": "ab"}}},
        {"tag": "w", "protocol": "wireguard", "settings": {"secretKey": KEY, "address": ["10.0.0.2/32"],
         "peers": [{"publicKey": KEY, "endpoint": "h:1"}], "reserved": [1, 2, 3]}},
        {"tag": "d", "protocol": "freedom"}, {"tag": "b", "protocol": "blackhole"},
    ],
    "routing": {"domainStrategy": "IPIfNonMatch", "balancers": [
                    {"tag": "bal", "selector": ["t", "v"], "strategy": {"type": "leastPing"}, "fallbackTag": "d"}],
                "rules": [{"domain": ["domain:y", "regexp:^a$"], "outboundTag": "d"},
                          {"ip": ["10.0.0.0/8", "geoip:private"], "outboundTag": "d"},
                          {"port": "53,1000-2000", "network": "tcp,udp", "balancerTag": "bal"}]},
    "observatory": {"subjectSelector": ["t"], "probeUrl": "http://x/", "probeInterval": "10s"},
}  # fmt: skip
SIP008 = {"version": 1, "servers": [{"id": "x", "remarks": "a", "method": "aes-256-gcm", "plugin": "obfs-local",
                                     "plugin_opts": "obfs=http", **SERVED}], "bytes_used": 1}  # fmt: skip
OUTLINE = {"transport": {"$type": "tcpudp", "tcp": {
    "$type": "shadowsocks", "cipher": "aes-256-gcm", "secret": "p", "prefix": "POST ",
    "endpoint": {"$type": "dial", "address": "a:1", "dialer": {"$type": "direct"}}}}}  # fmt: skip
REFUSAL = {"error": {"message": "no", "details": "x"}}
APPLE = {"PayloadType": "Configuration", "PayloadContent": [
    {"PayloadType": "com.apple.vpn.managed", "VPNType": "IKEv2", "PayloadUUID": "A",
     "IKEv2": {"RemoteAddress": "h", "LocalIdentifier": "u", "AuthenticationMethod": "None", "ExtendedAuthEnabled": 1,
               "AuthName": "u", "AuthPassword": "p", "IncludeAllNetworks": 1, "ExcludeLocalNetworks": 0,
               "OnDemandEnabled": 1, "OnDemandRules": [{"Action": "Connect", "SSIDMatch": ["s"]}],
               "IKESecurityAssociationParameters": {"EncryptionAlgorithm": "AES-256", "DiffieHellmanGroup": 14}}},
    {"PayloadType": "com.apple.dnsSettings.managed", "DNSSettings": {
        "DNSProtocol": "TLS", "ServerName": "n", "ServerAddresses": ["192.0.2.1"]}},
    {"PayloadType": "com.apple.webcontent-filter", "FilterType": "BuiltIn", "DenyListURLs": ["http://x/y"],
     "AllowListBookmarks": [{"URL": "http://z", "Title": "z"}]},
    {"PayloadType": "com.apple.security.root", "PayloadUUID": "C", "PayloadContent": b"0\x00"},
]}  # fmt: skip

FILES: tuple[Any, ...] = (CLASH, SING_BOX, XRAY, SIP008, OUTLINE, REFUSAL, APPLE)
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 443, 65536, 10**30, 1.5, float("inf"), "", " ", "a\nb", "x" * 300, "\u00fc", "\x00",
    "\x1b[2J", "\ud800", "%", "%zz", "[", "[::1", "::1%eth0", "1.2.3.4", "1.2.3.4/33", "1.2.3.4:53", "0/0", ",", ":",
    "https://1.1.1.1/q", "http://[", "http://u@]x/", "rcode://x", "system", ":1", "a:b:c", "*", "+.", "geosite:cn",
    "DIRECT", "a", "g", "2-1", "1,2", "99999999999999999999", "1e5", "\uff11", "true", "5m", "-5s", "(", "[a-", "===",
    "a{99999999}", USER, "tcp", "ws", "grpc", "h2", "tls", "reality", "ss", "vmess", "socks5", "ssh", "select", "relay",
    "logical", [], {}, [[]], [{}], [None], [""], ["\ud800"], {"": ""}, {"a": None}, {"\ud800": 1},
    {"a": {"a": {"a": 1}}},
)  # fmt: skip

SEEDS: list[bytes] = [
    *(bytes((number,)) for number in range(len(FILES))),
    *(bytes((number, 9, 0, 70, 30, 1, 18, 77, 2, 3)) for number in range(len(FILES))),
]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a document: a container, and the key or number in it."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


def edited(document: Any, edits: bytes) -> Any:
    """The document, changed by each three bytes in turn."""
    made = copy.deepcopy(document)
    for at in range(0, len(edits) - 2, 3):
        where, how, what = edits[at : at + 3]
        all_places = list(places(made))
        if not all_places:
            break
        container, key = all_places[(where + 256 * (how >> 2)) % len(all_places)]
        value = copy.deepcopy(ODD[what % len(ODD)])
        if how & 3 == 0 and isinstance(container, dict) and isinstance(key, str):
            container[str(value)] = container.pop(key)  # another name
        elif how & 3 == 1:
            del container[key]
        elif how & 3 == 2:
            container[key] = [container[key], value]
        else:
            container[key] = value
    return made


def one_line(text: str) -> None:
    """What is wrong must fit on a terminal's line."""
    assert "\n" not in text, text


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    document = FILES[data[0] % len(FILES) if data else 0]
    made = edited(document, data[1:64])
    if document is APPLE:
        apple(made)
        return
    content = json.dumps(made).encode()
    if b"http" in content and b'"use"' in content and b'"inline"' not in content:
        return  # might be fetched
    try:
        import_profile(ImportSource(content, "the file", "fuzzed"))
    except (LocalError, RemoteError) as error:
        one_line(str(error))


def apple(made: Any) -> None:
    """The same as a property list."""
    try:
        content = plistlib.dumps(made)
    except (TypeError, ValueError, OverflowError):
        return  # it has no such values
    config = MobileConfig("the file")
    try:
        config.read(content)
    except BadPacket as error:
        one_line(str(error))
    for each in config.told:
        one_line(each.reason)
