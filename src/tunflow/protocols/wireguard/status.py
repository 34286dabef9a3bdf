"""An interface's state in the words of `wg show`, and as data."""

from __future__ import annotations

from typing import Any

from tunflow.protocols.wireguard.interface import Interface
from tunflow.protocols.wireguard.keys import format_key
from tunflow.protocols.wireguard.peer import Peer

_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_SIZES = ("B", "KiB", "MiB", "GiB", "TiB")


def as_data(interface: Interface, now: float) -> dict[str, Any]:
    """The state, fit for JSON and without a secret; `latest_handshake` is seconds ago, None for never."""
    return {
        "public_key": format_key(interface.identity.public),
        "dropped_in": interface.dropped_in,
        "dropped_out": interface.dropped_out,
        "peers": [_peer_data(interface, peer, now) for peer in interface.peers.values()],
    }


def as_text(interface: Interface, name: str, listen_port: int, now: float) -> str:
    """The state as `wg show` prints it."""
    lines = [
        f"interface: {name}",
        f"  public key: {format_key(interface.identity.public)}",
        "  private key: (hidden)",
        f"  listening port: {listen_port}",
    ]
    for peer in interface.peers.values():
        lines += _peer_lines(_peer_data(interface, peer, now))
    return "\n".join(lines)


def _peer_data(interface: Interface, peer: Peer, now: float) -> dict[str, Any]:
    return {
        "public_key": format_key(peer.public),
        "preshared_key": peer.has_preshared,
        "endpoint": None if peer.endpoint is None else str(peer.endpoint),
        "allowed_ips": [str(network) for network in interface.allowed_ips.networks_of(peer)],
        "latest_handshake": None if peer.last_handshake is None else round(now - peer.last_handshake),
        "bytes_received": peer.bytes_received,
        "bytes_sent": peer.bytes_sent,
        "persistent_keepalive": peer.persistent_keepalive,
    }


def _peer_lines(peer: dict[str, Any]) -> list[str]:
    lines = ["", f"peer: {peer['public_key']}"]
    if peer["preshared_key"]:
        lines.append("  preshared key: (hidden)")
    if peer["endpoint"]:
        lines.append(f"  endpoint: {peer['endpoint']}")
    lines.append(f"  allowed ips: {', '.join(peer['allowed_ips']) or '(none)'}")
    if peer["latest_handshake"] is not None:
        lines.append(f"  latest handshake: {_ago(peer['latest_handshake'])}")
    if peer["bytes_received"] or peer["bytes_sent"]:
        lines.append(f"  transfer: {_size(peer['bytes_received'])} received, {_size(peer['bytes_sent'])} sent")
    if peer["persistent_keepalive"]:
        lines.append(f"  persistent keepalive: every {_span(peer['persistent_keepalive'])}")
    return lines


def _ago(seconds: int) -> str:
    return f"{_span(seconds)} ago" if seconds > 0 else "Now"


def _span(seconds: int) -> str:
    parts = []
    for unit, name in _UNITS:
        number, seconds = divmod(seconds, unit)
        if number:
            parts.append(f"{number} {name}{'s' if number > 1 else ''}")
    return ", ".join(parts)


def _size(count: float) -> str:
    for unit in _SIZES:
        if count < 1024 or unit == _SIZES[-1]:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.2f} {unit}"
        count /= 1024
    raise AssertionError
