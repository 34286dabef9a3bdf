"""Makes `OpenVPNSettings` of the lines of a configuration, one method for a directive or a few of a kind."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

from tunflow.addresses import ip_address
from tunflow.errors import BadPacket, LocalError
from tunflow.protocols.openvpn.config_file import ConfigFile, Line
from tunflow.protocols.openvpn.data_key import CIPHERS, DIGESTS
from tunflow.protocols.openvpn.proxy_lines import NAMES as PROXY_LINES
from tunflow.protocols.openvpn.proxy_lines import proxy_of
from tunflow.protocols.openvpn.settings import PORT, OpenVPNSettings, Remote, ServerPart
from tunflow.protocols.openvpn.static_key import parse_client_key, parse_server_key, parse_static_key
from tunflow.protocols.openvpn.tls import Demands, Identity
from tunflow.protocols.openvpn.tunnel_options import PUSHED, TunnelOptions, apply_untrusted

_PROTOCOLS = {
    "udp": ("udp", 0), "udp4": ("udp", 4), "udp6": ("udp", 6), "tcp": ("tcp", 0), "tcp4": ("tcp", 4), "tcp6":
    ("tcp", 6), "tcp-client": ("tcp", 0), "tcp4-client": ("tcp", 4), "tcp6-client": ("tcp", 6), "tcp-server":
    ("tcp", 0), "tcp4-server": ("tcp", 4), "tcp6-server": ("tcp", 6),
}  # fmt: skip
_SECONDS = {
    "connect-timeout": "connect_timeout", "server-poll-timeout": "connect_timeout", "hand-window": "hand_window",
    "tls-timeout": "resend", "tran-window": "tran_window", "reneg-sec": "reneg",
}  # fmt: skip
_FLAGS = {
    "remote-random": {"remote_random": True}, "pull": {"pull": True}, "route-nopull": {"pulls_routes": False},
}  # fmt: skip
_MEANINGLESS = frozenset({"push-peer-info", "ignore-unknown-option", "tls-exit", "resolv-retry", "setenv-safe", "mode"})
"""Directives that are met by how things are done here anyway."""


def settings_from_file(content: bytes, name: str, read: Callable[[str], bytes]) -> OpenVPNSettings:
    """The settings in a configuration. `read` gives the files that it names, and raises LocalError.

    Raises LocalError that begins with the file's name and the line.
    """
    return SettingsReader(ConfigFile(content, name), read).settings()


class SettingsReader:
    """One configuration."""

    def __init__(self, file: ConfigFile, read: Callable[[str], bytes]) -> None:
        self._file = file
        self._read_file = read
        self._settings = OpenVPNSettings(name=file.name, told=tuple(file.told), pull=False)
        self._identity = Identity()
        self._demands = Demands()
        self._tunnel = TunnelOptions()
        self._server = ServerPart()
        self._serves = False
        self._remotes: list[tuple[Line, int]] = []
        self._defaults: dict[int, dict[str, Line]] = {0: {}}
        self._protects: Line | None = None
        self._certificates = ["", ""]

    def settings(self) -> OpenVPNSettings:
        """What the lines say. Raises LocalError."""
        for line in self._file.lines:
            self._take(line)
        server = self._server_part() if self._serves else None
        found = replace(
            self._settings,
            identity=replace(self._identity, certificate="".join(self._certificates)),
            demands=self._demands,
            tunnel=self._tunnel,
            remotes=tuple(self._remote(line, block) for line, block in self._remotes),
            server=server,
        )
        self._check(found)
        return found

    def _take(self, line: Line) -> None:
        name = line.name
        if name in _SECONDS:
            self._set(**{_SECONDS[name]: self._number(line, line.words[1])})
        elif name in _FLAGS:
            self._set(**_FLAGS[name])
        elif name in {"proto", "port", "rport", "lport", "local", *PROXY_LINES}:
            self._defaults.setdefault(line.connection, {})[{"rport": "port", "lport": "port"}.get(name, name)] = line
        elif name == "remote":
            self._remotes.append((line, line.connection))
        elif name in _OPTIONS:
            try:
                self._tunnel = apply_untrusted(self._tunnel, line.words)
            except BadPacket as error:
                raise LocalError(f"{self._file.name}:{line.number}: {error}") from None
        elif name not in _MEANINGLESS:
            TAKERS[name](self, line)

    def _set(self, **values: Any) -> None:
        self._settings = replace(self._settings, **values)

    def _number(self, line: Line, text: str, most: int = 10_000_000) -> int:
        if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) > most:
            raise self._file.wrong(line, f"{text!r} is no number from 0 to {most}")
        return int(text)

    def _choice(self, line: Line, *accepted: str) -> str:
        if line.words[1] not in accepted:
            raise self._file.wrong(line, f"{line.words[1]!r} is none of {', '.join(accepted)}")
        return line.words[1]

    def _bytes(self, line: Line) -> bytes:
        """What the block holds, or the file that is named."""
        if line.text is not None:
            return line.text.encode()
        try:
            return self._read_file(line.words[1])
        except LocalError as error:
            raise self._file.wrong(line, str(error)) from None

    def _text(self, line: Line) -> str:
        return self._bytes(line).decode(errors="replace")

    def _place(self, line: Line) -> str:
        return f"{self._file.name}:{line.number}: {line.name}"

    # Directives.

    def _client(self, line: Line) -> None:  # noqa: ARG002
        self._set(pull=True)

    def _device(self, line: Line) -> None:
        if not line.words[1].startswith("tun"):
            raise self._file.wrong(line, "tap devices carry Ethernet, tunflow carries IP: use dev tun")

    def _keys(self, line: Line) -> None:
        text = self._text(line)
        if line.name == "ca":
            self._identity = replace(self._identity, ca=text)
        elif line.name == "key":
            self._identity = replace(self._identity, key=text)
        else:
            self._identity = replace(self._identity, crl=text)

    def _certificate(self, line: Line) -> None:
        self._certificates[line.name == "extra-certs"] = self._text(line)

    def _pkcs12(self, line: Line) -> None:
        data = self._bytes(line)
        if line.text is not None:
            try:
                data = b64decode("".join(line.text.split()), validate=True)
            except ValueError:
                raise self._file.wrong(line, "a block of it must be base64") from None
        self._identity = replace(self._identity, pkcs12=data)

    def _askpass(self, line: Line) -> None:
        if line.text is not None or len(line.words) > 1:
            self._identity = replace(self._identity, password=self._text(line).partition("\n")[0])

    def _user_pass(self, line: Line) -> None:
        self._set(asks_user=True)
        if line.text is None and len(line.words) == 1:
            return
        rows = self._text(line).splitlines()
        self._set(username=rows[0] if rows else "", password=rows[1] if len(rows) > 1 else "")

    def _auth_retry(self, line: Line) -> None:
        self._set(retries_auth=self._choice(line, "none", "nointeract", "interact") != "none")

    def _static_challenge(self, line: Line) -> None:
        if line.words[2] not in {"0", "1"} or line.words[3:] not in {(), ("scrv1",)}:
            raise self._file.wrong(line, "expected a text and 0 or 1, whether the answer is shown")
        self._set(static_challenge=line.words[1], static_challenge_echo=line.words[2] == "1")

    def _protection(self, line: Line) -> None:
        """tls-auth, tls-crypt and tls-crypt-v2: one of them."""
        if self._protects is not None:
            raise self._file.wrong(line, f"{self._protects.name} stands in line {self._protects.number} already")
        self._protects = line
        text, place = self._text(line), self._place(line)
        if line.name == "tls-auth":
            self._set(tls_auth=parse_static_key(text, place))
            if len(line.words) > 2:
                self._direction(line._replace(words=("key-direction", line.words[2])))
        elif line.name == "tls-crypt":
            self._set(tls_crypt=parse_static_key(text, place))
        elif "tls-crypt-v2 server key" in text:
            self._set(tls_crypt_v2_server=parse_server_key(text, place))
        else:
            self._set(tls_crypt_v2=parse_client_key(text, place))

    def _direction(self, line: Line) -> None:
        self._set(key_direction=int(self._choice(line, "0", "1")))

    def _digest(self, line: Line) -> None:
        name = line.words[1].upper()
        if name == "NONE":
            raise self._file.wrong(line, "without an HMAC packets under CBC could be forged")
        if name not in DIGESTS:
            raise self._file.wrong(line, f"{line.words[1]!r} is none of {', '.join(DIGESTS)}")
        self._set(digest=DIGESTS[name])

    def _ciphers(self, line: Line) -> None:
        found = []
        for word in line.words[1].upper().split(":"):
            if word.lstrip("?") in CIPHERS:
                found.append(word.lstrip("?"))
            elif not word.startswith("?"):
                raise self._file.wrong(line, f"{word!r} is none of {', '.join(CIPHERS)}")
        if not found:
            raise self._file.wrong(line, "none of these ciphers is known")
        self._set(ciphers=tuple(dict.fromkeys(found)))

    def _fallback(self, line: Line) -> None:
        name = line.words[1].upper()
        if name not in CIPHERS:
            raise self._file.wrong(line, f"{line.words[1]!r} is none of {', '.join(CIPHERS)}")
        self._set(fallback=name)

    def _tls(self, line: Line) -> None:
        if line.name == "tls-version-min":
            version = line.words[1]
            if version not in {"1.0", "1.1", "1.2", "1.3"}:
                raise self._file.wrong(line, f"{version!r} is none of 1.2, 1.3")
            self._identity = replace(self._identity, least_version=max(version, "1.2"))
        elif line.name == "tls-cipher":
            self._identity = replace(self._identity, ciphers=line.words[1])
        else:
            self._identity = replace(self._identity, cipher_suites=line.words[1])

    def _cert_usage(self, line: Line) -> None:
        self._demands = replace(self._demands, usage=self._choice(line, "server", "client"))

    def _cert_name(self, line: Line) -> None:
        kind = line.words[2] if len(line.words) > 2 else "subject"
        if kind not in {"subject", "name", "name-prefix"}:
            raise self._file.wrong(line, f"{kind!r} is none of subject, name, name-prefix")
        self._demands = replace(self._demands, name=line.words[1], name_kind=kind)

    def _fingerprints(self, line: Line) -> None:
        rows = (
            line.words[1:] if line.text is None else [row.partition("#")[0].strip() for row in line.text.splitlines()]
        )
        found = set(self._demands.fingerprints)
        for row in filter(None, rows):
            if not re.fullmatch(r"([0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2}", row):
                raise self._file.wrong(line, f"{row[:20]!r} is no SHA-256 fingerprint, 32 bytes in hex with colons")
            found.add(bytes.fromhex(row.replace(":", "")))
        self._demands = replace(self._demands, fingerprints=frozenset(found))

    def _filter(self, line: Line) -> None:
        action = self._choice(line, "accept", "ignore", "reject")
        self._set(pull_filters=(*self._settings.pull_filters, (action, line.words[2])))

    def _environment(self, line: Line) -> None:
        name = line.words[1]
        if name.startswith("UV_") and len(line.words) == 3:
            self._set(peer_info=(*self._settings.peer_info, (name, line.words[2])))
        else:
            self._set(
                told=(*self._settings.told, f"{self._file.name}:{line.number}: setenv {name} changes nothing here")
            )

    def _retry(self, line: Line) -> None:
        if line.name == "connect-retry-max":
            self._set(most_retries=self._number(line, line.words[1]))
        else:
            self._set(retry=max(self._number(line, line.words[1]), 1))

    # A server's.

    def _serve(self, line: Line) -> None:
        self._serves = True
        if line.name == "server":
            try:
                network = IPv4Network(f"{line.words[1]}/{line.words[2]}")
            except ValueError as error:
                raise self._file.wrong(line, str(error)) from None
            if not 8 <= network.prefixlen <= 29 or line.words[3:] not in {(), ("nopool",)}:
                raise self._file.wrong(line, "expected a network of prefix length 8 to 29 and its mask")
            self._server = replace(self._server, network=str(network))

    def _push(self, line: Line) -> None:
        if "," in line.words[1]:
            raise self._file.wrong(line, "a comma would end the option")
        self._server = replace(self._server, pushed=(*self._server.pushed, line.words[1]))

    def _clients(self, line: Line) -> None:
        if line.name == "max-clients":
            self._server = replace(self._server, most_clients=max(self._number(line, line.words[1], 65_534), 1))
        elif line.name == "duplicate-cn":
            self._server = replace(self._server, shares_names=True)
        else:
            self._choice(line, "require")

    # All together.

    def _remote(self, line: Line, block: int) -> Remote:
        """The place that a `remote` names, with what else is said of it. Raises LocalError."""
        said = {**self._defaults[0], **self._defaults.get(block, {})} if block else self._defaults[0]
        words = line.words
        protocol = words[3] if len(words) > 3 else said["proto"].words[1] if "proto" in said else "udp"
        if protocol not in _PROTOCOLS:
            at = line if len(words) > 3 else said["proto"]
            raise self._file.wrong(at, f"{protocol!r} is none of {', '.join(_PROTOCOLS)}")
        port = words[2] if len(words) > 2 else said["port"].words[1] if "port" in said else str(PORT)
        number = self._number(line if len(words) > 2 else said.get("port", line), port, 65_535)
        if not number:
            raise self._file.wrong(line, "port 0 is none that a server listens on")
        transport, version = _PROTOCOLS[protocol]
        return Remote(words[1], number, transport, version, proxy_of(said, transport, self._file, self._read_file))

    def _server_part(self) -> ServerPart:
        said = self._defaults[0]
        listen = said["local"].words[1] if "local" in said else ""
        if listen:
            try:
                ip_address(listen)
            except ValueError:
                raise self._file.wrong(said["local"], f"{listen!r} is not an address") from None
        host = Line(said["local"].number if "local" in said else 1, ("remote", listen or "0.0.0.0"))  # noqa: S104
        self._remotes = [(host, 0)]
        return replace(self._server, listen=listen)

    def _check(self, found: OpenVPNSettings) -> None:
        name, identity = self._file.name, found.identity
        if not found.remotes and found.server is None:
            raise LocalError(f"{name}: there is no `remote HOST PORT`, and no `server` either")
        if not identity.ca and not identity.pkcs12 and not found.demands.fingerprints:
            raise LocalError(f"{name}: there is no ca: without one any server would be believed")
        if bool(identity.certificate) != bool(identity.key):
            lacks, has = ("cert", "key") if identity.key else ("key", "cert")
            raise LocalError(f"{name}: there is a {has}, but no {lacks}")
        if found.server is not None and (not found.server.network or not (identity.certificate or identity.pkcs12)):
            raise LocalError(f"{name}: a server needs `server NETWORK MASK`, cert and key")
        if found.server is None and not (identity.certificate or identity.pkcs12 or found.asks_user):
            raise LocalError(f"{name}: there is neither cert and key nor auth-user-pass: the server would not know us")


_OPTIONS = frozenset(PUSHED) & {
    "topology", "ifconfig", "ifconfig-ipv6", "route", "route-ipv6", "redirect-gateway", "dhcp-option", "dns",
    "tun-mtu", "ping", "ping-restart", "ping-exit", "keepalive", "inactive", "explicit-exit-notify", "compress",
    "comp-lzo",
}  # fmt: skip
"""Directives that mean what they mean when a server pushes them."""

TAKERS: dict[str, Callable[[SettingsReader, Line], None]] = {
    "client": SettingsReader._client,
    "tls-client": lambda _reader, _line: None,
    "dev": SettingsReader._device,
    "dev-type": SettingsReader._device,
    "ca": SettingsReader._keys,
    "key": SettingsReader._keys,
    "crl-verify": SettingsReader._keys,
    "cert": SettingsReader._certificate,
    "extra-certs": SettingsReader._certificate,
    "pkcs12": SettingsReader._pkcs12,
    "askpass": SettingsReader._askpass,
    "auth-user-pass": SettingsReader._user_pass,
    "auth-retry": SettingsReader._auth_retry,
    "static-challenge": SettingsReader._static_challenge,
    "tls-auth": SettingsReader._protection,
    "tls-crypt": SettingsReader._protection,
    "tls-crypt-v2": SettingsReader._protection,
    "key-direction": SettingsReader._direction,
    "auth": SettingsReader._digest,
    "cipher": SettingsReader._fallback,
    "data-ciphers": SettingsReader._ciphers,
    "ncp-ciphers": SettingsReader._ciphers,
    "data-ciphers-fallback": SettingsReader._fallback,
    "tls-version-min": SettingsReader._tls,
    "tls-cipher": SettingsReader._tls,
    "tls-ciphersuites": SettingsReader._tls,
    "remote-cert-tls": SettingsReader._cert_usage,
    "verify-x509-name": SettingsReader._cert_name,
    "peer-fingerprint": SettingsReader._fingerprints,
    "pull-filter": SettingsReader._filter,
    "setenv": SettingsReader._environment,
    "connect-retry": SettingsReader._retry,
    "connect-retry-max": SettingsReader._retry,
    "tls-server": SettingsReader._serve,
    "server": SettingsReader._serve,
    "push": SettingsReader._push,
    "max-clients": SettingsReader._clients,
    "duplicate-cn": SettingsReader._clients,
    "verify-client-cert": SettingsReader._clients,
}
