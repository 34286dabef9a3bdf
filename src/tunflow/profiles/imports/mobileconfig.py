"""Apple's configuration profiles (`.mobileconfig`): what of them a tunnel can do, made a profile; the rest is told.

Read first: Apple's "Device Management" reference (VPN, DNSSettings, WebContentFilter, WiFi, GlobalHTTPProxy), whose
published schema is `apple/device-management` (mdm/profiles). What becomes of each key is `KEYS`; docs/mobileconfig.md
has it as a table, which a test compares.

Rules: what would carry traffic and is not understood is lost (the import is refused without `--partial`), never sent
direct; what only describes, or is no tunnel's business, is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from tunflow.addresses import ip_address
from tunflow.errors import BadPacket, LocalError
from tunflow.profiles.imports.import_notice import ImportNotice
from tunflow.profiles.imports.mobileconfig_ikev2 import CERTIFICATES, PKCS12, ikev2_server
from tunflow.profiles.imports.mobileconfig_keys import (
    DESCRIBING,
    DONE,
    KEYS,
    OPENVPN,
    REFUSED,
    TOLD,
    WIREGUARD,
    wanted_kind,
)
from tunflow.profiles.imports.mobileconfig_rules import on_demand_keys
from tunflow.profiles.imports.own_file import keys_of_file
from tunflow.profiles.imports.plist_file import plist_file_untrusted
from tunflow.profiles.server_keys import server_keys
from tunflow.profiles.server_link import ServerLink
from tunflow.urls import NotAURL, parse_web_address

Payload = Mapping[str, Any]
VPN = ("com.apple.vpn.managed", "com.apple.vpn.managed.applayer", "com.apple.vpn.managed.appmapping")
DNS = "com.apple.dnsSettings.managed"
FILTER = "com.apple.webcontent-filter"
PROXY = "com.apple.proxy.http.global"
MOST_PAYLOADS = 200
MOST_URLS = 5000


class MobileConfig:
    """One configuration profile on its way to a profile: `keys` of that, and what is told."""

    def __init__(self, label: str) -> None:
        self.keys: dict[str, Any] = {}
        self.told: list[ImportNotice] = []
        self._label = label
        self._place = label
        self._payloads: dict[str, Payload] = {}
        """By their PayloadUUID."""

    def tell(self, reason: str) -> None:
        """Say something of the whole file."""
        self.told.append(ImportNotice(self._label, reason, is_lost=False))

    def read(self, content: bytes) -> None:
        """Take it in. Raises BadPacket."""
        found = plist_file_untrusted(content)
        payloads = found.content.get("PayloadContent")
        if isinstance(payloads, dict):
            raise BadPacket("is encrypted for one device (EncryptedPayloadContent), which alone can read it")
        if not isinstance(payloads, list) or found.content.get("PayloadType", "Configuration") != "Configuration":
            raise BadPacket("is no configuration profile: PayloadContent is no list")
        if len(payloads) > MOST_PAYLOADS:
            raise BadPacket(f"has more than {MOST_PAYLOADS} payloads")
        self._payloads = {str(each.get("PayloadUUID")): each for each in payloads if isinstance(each, dict)}
        for number, payload in enumerate(payloads, 1):
            self._place = f"{self._label}: payload {number}"
            if not isinstance(payload, dict):
                self._lose("it is no dictionary")
            else:
                self._payload(str(payload.get("PayloadType", "")), payload)
        if self.keys and not self._has_tunnel:
            self.keys["server"] = ("direct://",)  # names and filters alone

    @property
    def is_usable(self) -> bool:
        """True if anything in it was for us."""
        return bool(self.keys)

    @property
    def _has_tunnel(self) -> bool:
        return "server" in self.keys or "provider" in self.keys

    def _payload(self, kind: str, payload: Payload) -> None:
        if kind in {PKCS12, *CERTIFICATES}:
            return  # who names it takes it
        known = KEYS.get(kind)
        if known is None:
            self._tell(f"{kind or 'a payload without a type'} is no network setting of a tunnel: left out")
            return
        self._judge(payload, known)
        makers: dict[str, Callable[[Payload], None]] = {DNS: self._dns, FILTER: self._filter, PROXY: self._proxy}
        makers.update(dict.fromkeys(VPN[:2], self._vpn))
        if kind in makers:
            makers[kind](payload)

    def _judge(self, payload: Payload, known: Mapping[str, tuple[str, str]], above: str = "") -> None:
        """Say what becomes of keys, those of dictionaries in it too (`VPN.OnDemandRules`)."""
        for key, value in payload.items():
            name = f"{above}{key}"
            if name in DESCRIBING:
                continue
            state = known.get(name)
            if state is None or state[0] == REFUSED:
                if above and value in (0, "", False):
                    continue  # a switch that is off
                self._lose(f"{name} is not understood" if state is None else f"{name}: {state[1]}")
            elif state[0] == TOLD:
                self._tell(f"{name}: {state[1]}")
            elif (kind := wanted_kind(key, value)) is not None:
                self._lose(f"{name} is not {kind}")
            elif isinstance(value, dict) and any(each.startswith(f"{name}.") for each in known):
                self._judge(value, known, f"{name}.")

    # VPNs.

    def _vpn(self, payload: Payload) -> None:
        kind, subtype = str(payload.get("VPNType")), str(payload.get("VPNSubType", ""))
        if kind not in {"VPN", "IKEv2"}:
            self._lose(f"VPNType {kind}: IPSec (IKEv1), L2TP and other programs' of such a file are not carried here")
            return
        vpn, vendor = _table(payload, str(kind)), _table(payload, "VendorConfig")
        made = self._ikev2(vpn) if kind == "IKEv2" else self._custom(subtype, vendor)
        if made is None:
            return
        if self._has_tunnel:
            self._lose("a second VPN: a profile is one tunnel")
            return
        self.keys.update(made)
        if vpn.get("IncludeAllNetworks") == 1:  # 1 or true
            self.keys["tunnel"] = {"kill_switch": True, "exclude_lan": vpn.get("ExcludeLocalNetworks") != 0}
        rules, lost = on_demand_keys(vpn.get("OnDemandRules"))
        if vpn.get("OnDemandEnabled") == 1 and rules:
            self.keys["on_demand"] = {"enabled": True, "rules": rules}
        for reason in lost:
            self._lose(reason)

    def _ikev2(self, settings: Payload) -> dict[str, Any] | None:
        """The keys of an IKEv2 server; None for one that is not carried."""
        try:
            server = ikev2_server(settings, self._payloads)
            link = ServerLink.of(server.to_link())
        except LocalError as error:
            self._lose(str(error))
            return None
        return server_keys([link])

    def _custom(self, subtype: str, vendor: Payload) -> dict[str, Any] | None:
        """The keys of the server of another program's VPN; None for one that is not carried."""
        try:
            if subtype in WIREGUARD:
                return self._file(str(vendor.get("WgQuickConfig", "")), "WgQuickConfig")
            if subtype in OPENVPN:
                return self._file(_ovpn(vendor), "VendorConfig")
        except LocalError as error:
            self._lose(str(error))
            return None
        self._lose(f"VPNSubType {subtype or 'is missing and'} is not carried: WireGuard's and OpenVPN Connect's are")
        return None

    def _file(self, text: str, key: str) -> dict[str, Any] | None:
        def read(name: str) -> bytes:
            raise LocalError(f"{self._place}: {key} names the file {name}, which is not in it")

        made = keys_of_file(text.encode(), f"{self._place}: {key}", read)
        if made is None:
            self._lose(f"{key} is no such VPN's configuration")
        return made

    # Names, filters, proxies.

    def _dns(self, payload: Payload) -> None:
        settings = _table(payload, "DNSSettings")
        protocol = settings.get("DNSProtocol", "Cleartext")
        addresses = []
        for each in _texts(settings.get("ServerAddresses")):
            try:
                address = ip_address(each)
            except ValueError:
                self._lose(f"DNSSettings: ServerAddresses: {each[:80]!r} is no address")
                continue
            addresses.append(f"[{address}]" if address.version == 6 else str(address))
        try:
            if protocol == "HTTPS":
                url = parse_web_address(str(settings.get("ServerURL", "")))
                servers = [f"https://{url.host}@{each}{url.path or '/'}" for each in addresses]
                servers = servers or [f"https://{url.where}{url.path or '/'}"]
            elif protocol == "TLS":
                name = str(settings.get("ServerName", ""))
                servers = [f"tls://{name}@{each}" for each in addresses] or ([f"tls://{name}"] if name else [])
            else:
                servers = [f"udp://{each}" for each in addresses]
        except NotAURL as error:
            self._lose(f"DNSSettings: ServerURL: {error}")
            return
        if not servers:
            self._lose("DNSSettings names no server")
            return
        dns: dict[str, Any] = {"servers": servers}
        if domains := [each for each in _texts(settings.get("SupplementalMatchDomains")) if each]:
            dns["match_domains"] = domains
        self.keys["dns"] = dns

    def _filter(self, payload: Payload) -> None:
        if payload.get("FilterType", "BuiltIn") != "BuiltIn":
            self._lose(f"FilterType {payload.get('FilterType')}: the filter of another program is not here")
            return
        denied = self._lines(_texts(payload.get("DenyListURLs", payload.get("BlacklistedURLs"))))
        allowed = self._lines(_texts(payload.get("PermittedURLs")))
        marks = payload.get("AllowListBookmarks", payload.get("WhitelistedBookmarks"))
        only = self._lines([str(each.get("URL", "")) for each in _tables(marks)])
        lists = [
            {"name": name, "action": action, "lines": lines}
            for name, action, lines in (("denied", "block", denied), ("allowed", "allow", [*allowed, *only]))
            if lines
        ]
        if lists:
            self.keys["filter"] = {"lists": lists, **({"only_allowed": True} if only else {})}

    def _proxy(self, payload: Payload) -> None:
        host, port = payload.get("ProxyServer"), payload.get("ProxyServerPort")
        if payload.get("ProxyType", "Manual") != "Manual" or not isinstance(host, str) or not isinstance(port, int):
            self._lose("ProxyType: only Manual with a server and a port is carried")
            return
        user, password = payload.get("ProxyUsername"), payload.get("ProxyPassword")
        who = f"{quote(str(user), safe='')}:{quote(str(password or ''), safe='')}@" if user else ""
        if self._has_tunnel:
            self._lose("a proxy beside a VPN: a profile is one tunnel")
        else:
            self.keys["server"] = (f"http://{who}{host}:{port}",)

    def _lines(self, urls: list[str]) -> list[str]:
        """Filter lines for URLs: a host, and the beginning of a path where there is one."""
        if len(urls) > MOST_URLS:
            self._lose(f"a list of {len(urls)} URLs: {MOST_URLS} are the most")
        lines = []
        for url in urls[:MOST_URLS]:
            try:
                parts = parse_web_address(url if "://" in url else f"http://{url}")
            except NotAURL as error:
                self._lose(f"the URL {url[:80]!r} of a filter: {error}")
                continue
            lines.append(f"||{parts.host}^" if parts.target == "/" else f"||{parts.host}{parts.target}")
        return lines

    def _lose(self, reason: str) -> None:
        self._note(reason, is_lost=True)

    def _tell(self, reason: str) -> None:
        self._note(reason, is_lost=False)

    def _note(self, reason: str, *, is_lost: bool) -> None:
        """In one line, whatever keys and values it names."""
        shown = "".join(one if one.isprintable() else "?" for one in reason)
        self.told.append(ImportNotice(self._place, shown, is_lost))


def _table(payload: Payload, key: str) -> Payload:
    value = payload.get(key)
    return value if isinstance(value, dict) else {}


def _tables(value: object) -> list[Payload]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _ovpn(vendor: Payload) -> str:
    """OpenVPN Connect's VendorConfig as a file: a directive a key, `NOARGS` for none, files inline."""
    lines = []
    for key, value in vendor.items():
        text = str(value).replace("\\n", "\n")
        name = str(key).partition(".")[0]  # remote.1, remote.2 …
        if text == "NOARGS":
            lines.append(name)
        elif "-----BEGIN" in text:
            lines.append(f"<{name}>\n{text}\n</{name}>")
        else:
            lines.append(f"{name} {text}")
    return "client\n" + "\n".join(lines) + "\n"


def state_of(kind: str, key: str) -> str:
    """What becomes of a key: done, told or refused."""
    return DONE if key in DESCRIBING else KEYS.get(kind, {}).get(key, (REFUSED, ""))[0]
