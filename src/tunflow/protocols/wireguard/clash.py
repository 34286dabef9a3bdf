"""A WireGuard server as Clash (mihomo) writes it: one interface and one peer.

Read first: https://wiki.metacubex.one/en/config/proxies/wg/
"""

from __future__ import annotations

from typing import Any

from tunflow.endpoint import endpoint
from tunflow.errors import LocalError
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.wireguard.config_file import (
    parse_address,
    parse_keepalive,
    parse_mtu,
    parse_network,
)
from tunflow.protocols.wireguard.keys import parse_key
from tunflow.protocols.wireguard.link import EVERYTHING
from tunflow.protocols.wireguard.settings import DEFAULT_MTU, PeerSettings, WireGuardSettings


def settings_of_entry(entry: ClashEntry) -> WireGuardSettings:
    """The interface that an entry of `proxies` means. Raises LocalError, without a key in it."""
    (private,) = entry.required("private-key")
    addresses = [text for key in ("ip", "ipv6") for text in _texts(entry.value(key))]
    if not addresses:
        raise LocalError("ip or ipv6 is missing")
    return WireGuardSettings(
        _named(lambda: parse_key(private), "private-key"),
        tuple(parse_address(text) for text in addresses),
        (_peer(entry),),
        mtu=parse_mtu(entry.text("mtu") or str(DEFAULT_MTU)),
        tag=entry.name or None,
    )


def _peer(entry: ClashEntry) -> PeerSettings:
    """The only peer, which stands in `peers` or among the entry's own keys. Raises LocalError."""
    given = entry.value("peers")
    keepalive = parse_keepalive(entry.text("persistent-keepalive") or "0")
    if given is not None:
        if not isinstance(given, list) or len(given) != 1 or not isinstance(given[0], dict):
            raise LocalError("peers: a server here has one peer")
        for key in ("server", "port", "public-key"):
            entry.value(key)  # those of the peer count
        entry = ClashEntry(given[0])
    reserved = entry.value("reserved")
    if any(each not in {"0", ""} for each in _texts(reserved)):
        raise LocalError("reserved bytes are one provider's own: not supported")
    (public,) = entry.required("public-key")
    shared = entry.text("pre-shared-key") or entry.text("preshared-key")
    host, port = entry.where()
    return PeerSettings(
        _named(lambda: parse_key(public), "public-key"),
        tuple(parse_network(text) for text in _texts(entry.value("allowed-ips"))) or EVERYTHING,
        endpoint(host, port),
        _named(lambda: parse_key(shared), "pre-shared-key") if shared else b"",
        keepalive,
    )


def _texts(value: object) -> list[str]:
    """The texts of a list, also where they stand in one with commas between."""
    if isinstance(value, list):
        return [str(each).strip() for each in value]
    return [each.strip() for each in str(value).split(",")] if value not in (None, "") else []


def _named(read: Any, key: str) -> bytes:
    """A key of 32 bytes. Raises LocalError that says which."""
    try:
        found: bytes = read()
    except LocalError as error:
        raise LocalError(f"{key}: {error}") from None
    return found
