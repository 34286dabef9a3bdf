"""wg-quick's files, in and out: wg(8) and wg-quick(8) have the keys.

What becomes of each key is in `_INTERFACE` and `_PEER`: most are done; those in `_TOLD` change nothing here, and a line
says so; those in `_REFUSED` would run commands or leave traffic out of the tunnel in a way that is not ours.
An error names the file and the line, and never shows a key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from tunflow.addresses import ip_address, ip_interface, ip_network
from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import LocalError
from tunflow.protocols.wireguard.keys import format_key, parse_key
from tunflow.protocols.wireguard.settings import (
    DEFAULT_MTU,
    LARGEST_MTU,
    SMALLEST_MTU,
    Address,
    Network,
    PeerSettings,
    WireGuardSettings,
)

_COMMANDS = (
    "tunflow runs no commands of a configuration; take the line out (`tunflow serve --masquerade` lets clients out)"
)
_ROUTES = "only auto is accepted: what is not to go into the tunnel is left out of AllowedIPs, or a profile excludes it"
_OTHER = "that is AmneziaWG, another protocol"

_REFUSED = {
    **dict.fromkeys(("preup", "postup", "predown", "postdown"), _COMMANDS),
    **dict.fromkeys(("jc", "jmin", "jmax", "s1", "s2", "s3", "s4", "h1", "h2", "h3", "h4", "i1", "i2"), _OTHER),
}
_TOLD = {
    "fwmark": "FwMark is not used: tunflow keeps its own packets out of the tunnel by itself",
    "saveconfig": "SaveConfig is not used: tunflow never writes to a configuration",
}
_LOOKS = re.compile(rb"^[ \t]*\[interface\][ \t\r]*(?:#.*)?$", re.IGNORECASE | re.MULTILINE)
_KEY = re.compile(rb"^[ \t]*privatekey[ \t]*=", re.IGNORECASE | re.MULTILINE)
_HOST = re.compile(r"[A-Za-z0-9_.-]{1,253}")


def is_config_file(content: bytes) -> bool:
    """Return True if a file's content looks like a wg-quick file: it has an `[Interface]` with a `PrivateKey`."""
    return _LOOKS.search(content) is not None and _KEY.search(content) is not None


def parse_config(text: str, name: str) -> WireGuardSettings:
    """The settings in a file that errors call `name`. Raises LocalError."""
    reader = _Reader(name)
    for number, line in enumerate(text.splitlines(), 1):
        reader.line = number
        stripped = line.partition("#")[0].strip()
        if stripped:
            reader.take(stripped)
    return reader.finish()


def format_config(settings: WireGuardSettings) -> str:
    """The file; `parse_config` makes equal settings of it, but for the tag. It holds the keys."""
    return "\n".join(_lines(settings)) + "\n"


def parse_endpoint(text: str) -> Endpoint:
    """`HOST:PORT`. Raises LocalError."""
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise LocalError(f"{text[:60]!r} has no port from 1 to 65535 behind a colon")
    if ":" in bare if bare is host else ":" not in bare:
        raise LocalError(f"{text[:60]!r}: an IPv6 address, and nothing else, stands in brackets")
    where = endpoint(bare, int(port))
    if isinstance(where.host, str) and (":" in bare or not _HOST.fullmatch(bare)):
        raise LocalError(f"{text[:60]!r} is not an address or a host name, a colon and a port")
    return where


def parse_address(text: str) -> Address:
    """An address with the length of its network's prefix. Raises LocalError."""
    try:
        return ip_interface(text)
    except ValueError:
        raise LocalError(f"{text[:60]!r} is not an address like 10.0.0.2/32") from None


def parse_network(text: str) -> Network:
    """A network. Raises LocalError."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise LocalError(f"{text[:60]!r} is not a network like 10.0.0.0/24") from None


def parse_dns(texts: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Resolvers, which are addresses, and domains to search, which are not. Raises LocalError."""
    servers, domains = [], []
    for text in texts:
        try:
            servers.append(str(ip_address(text)))
        except ValueError:
            if not _HOST.fullmatch(text):
                raise LocalError(f"{text[:60]!r} is neither a resolver's address nor a domain") from None
            domains.append(text)
    return tuple(servers), tuple(domains)


def parse_number(text: str, least: int, most: int) -> int:
    """A number. Raises LocalError."""
    if not re.fullmatch(r"[0-9]{1,6}", text) or not least <= int(text) <= most:
        raise LocalError(f"{text[:20]!r} is not a number from {least} to {most}")
    return int(text)


def parse_mtu(text: str) -> int:
    """Bytes of the largest inner packet. Raises LocalError."""
    return parse_number(text, SMALLEST_MTU, LARGEST_MTU)


def parse_keepalive(text: str) -> int:
    """Seconds, or `off`. Raises LocalError."""
    return 0 if text.lower() == "off" else parse_number(text, 0, 65535)


def items(text: str) -> list[str]:
    """The parts of a list with commas."""
    return [item for item in (part.strip() for part in text.split(",")) if item]


def _table(text: str) -> None:
    if text.lower() != "auto":
        raise LocalError(f"{text[:20]!r}: {_ROUTES}")


_INTERFACE: dict[str, Callable[[str], Any]] = {
    "privatekey": parse_key,
    "listenport": lambda text: parse_number(text, 0, 65535),
    "address": lambda text: tuple(map(parse_address, items(text))),
    "dns": lambda text: tuple(items(text)),
    "mtu": parse_mtu,
    "table": _table,
}
_PEER: dict[str, Callable[[str], Any]] = {
    "publickey": parse_key,
    "presharedkey": parse_key,
    "allowedips": lambda text: tuple(map(parse_network, items(text))),
    "endpoint": parse_endpoint,
    "persistentkeepalive": parse_keepalive,
}
_LISTS = {"address", "dns", "allowedips"}
"""Keys that may stand more than once, each time with more."""
_SPELLED = {
    each.lower(): each
    for each in ("PrivateKey", "ListenPort", "Address", "DNS", "MTU", "Table", "FwMark", "SaveConfig", "PublicKey",
                 "PresharedKey", "AllowedIPs", "Endpoint", "PersistentKeepalive", "PreUp", "PostUp", "PreDown",
                 "PostDown")
}  # fmt: skip


class _Reader:
    """What has been read of a file."""

    def __init__(self, name: str) -> None:
        self.line = 0
        self._name = name
        self._interface: dict[str, Any] | None = None
        self._peers: list[tuple[int, dict[str, Any]]] = []
        self._keys: dict[str, Callable[[str], Any]] | None = None
        """Those of the section that is being read."""
        self._values: dict[str, Any] = {}
        self._told: list[str] = []

    def take(self, line: str) -> None:
        """A line that is not empty. Raises LocalError."""
        if line.startswith("["):
            self._section(line.lower())
            return
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            raise self._wrong("not a section and not `Key = Value`")
        if self._keys is None:
            raise self._wrong(f"{key[:30]} stands before any section: [Interface] is the first")
        self._value(key, value)

    def _section(self, line: str) -> None:
        self._values = {}
        if line == "[interface]":
            if self._interface is not None:
                raise self._wrong("a second [Interface]: a file describes one")
            self._interface, self._keys = self._values, _INTERFACE
        elif line == "[peer]":
            self._peers.append((self.line, self._values))
            self._keys = _PEER
        else:
            raise self._wrong(f"unknown section {line[:30]}; accepted are [Interface] and [Peer]")

    def _value(self, key: str, value: str) -> None:
        lower = key.lower()
        assert self._keys is not None
        if self._keys is _INTERFACE and lower in _REFUSED:
            raise self._wrong(f"{_SPELLED.get(lower, key)}: {_REFUSED[lower]}")
        if self._keys is _INTERFACE and lower in _TOLD:
            if value.lower() not in {"0", "off", "false"}:
                self._told.append(f"{self._name}:{self.line}: {_TOLD[lower]}")
            return
        parse = self._keys.get(lower)
        if parse is None:
            known = ", ".join(_SPELLED[each] for each in self._keys)
            raise self._wrong(f"unknown key {key[:30]!r}; accepted here are {known}")
        try:
            found = parse(value)
        except LocalError as error:
            raise self._wrong(f"{_SPELLED[lower]}: {error}") from None
        if lower in _LISTS:
            self._values[lower] = (*self._values.get(lower, ()), *found)
        elif lower in self._values:
            raise self._wrong(f"{_SPELLED[lower]} is given twice")
        else:
            self._values[lower] = found

    def finish(self) -> WireGuardSettings:
        """The settings. Raises LocalError for what is missing."""
        found = self._interface
        if found is None:
            raise LocalError(f"{self._name}: there is no [Interface]: this is not a wg-quick file")
        if "privatekey" not in found:
            raise LocalError(f"{self._name}: PrivateKey is missing in [Interface]; `tunflow genkey` makes one")
        if not found.get("address"):
            raise LocalError(f"{self._name}: Address is missing in [Interface]: what this end is called in the tunnel")
        try:
            servers, domains = parse_dns(list(found.get("dns", ())))
        except LocalError as error:
            raise LocalError(f"{self._name}: DNS: {error}") from None
        peers = tuple(self._peer(line, values) for line, values in self._peers)
        known: set[bytes] = set()
        for (line, _), peer in zip(self._peers, peers, strict=True):
            if peer.public_key in known:
                raise LocalError(f"{self._name}:{line}: two peers have the same PublicKey")
            known.add(peer.public_key)
        return WireGuardSettings(
            found["privatekey"],
            found["address"],
            peers,
            found.get("listenport", 0),
            servers,
            domains,
            found.get("mtu", DEFAULT_MTU),
            told=tuple(self._told),
        )

    def _peer(self, line: int, values: dict[str, Any]) -> PeerSettings:
        if "publickey" not in values:
            raise LocalError(f"{self._name}:{line}: PublicKey is missing in this [Peer]")
        return PeerSettings(
            values["publickey"],
            values.get("allowedips", ()),
            values.get("endpoint"),
            values.get("presharedkey", b""),
            values.get("persistentkeepalive", 0),
        )

    def _wrong(self, what: str) -> LocalError:
        return LocalError(f"{self._name}:{self.line}: {what}")


def _lines(settings: WireGuardSettings) -> Iterator[str]:
    yield "[Interface]"
    yield f"PrivateKey = {format_key(settings.private_key)}"
    yield f"Address = {', '.join(map(str, settings.addresses))}"
    if settings.listen_port:
        yield f"ListenPort = {settings.listen_port}"
    if settings.dns or settings.search_domains:
        yield f"DNS = {', '.join((*settings.dns, *settings.search_domains))}"
    if settings.mtu != DEFAULT_MTU:
        yield f"MTU = {settings.mtu}"
    for peer in settings.peers:
        yield ""
        yield "[Peer]"
        yield f"PublicKey = {format_key(peer.public_key)}"
        if peer.preshared_key:
            yield f"PresharedKey = {format_key(peer.preshared_key)}"
        if peer.allowed_ips:
            yield f"AllowedIPs = {', '.join(map(str, peer.allowed_ips))}"
        if peer.endpoint is not None:
            yield f"Endpoint = {peer.endpoint}"
        if peer.persistent_keepalive:
            yield f"PersistentKeepalive = {peer.persistent_keepalive}"
