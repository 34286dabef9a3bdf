"""The session of one connection to a Hysteria2 server."""

from __future__ import annotations

from collections.abc import Callable

from tunflow.protocols.hysteria2.dialect import Hysteria2Dialect
from tunflow.protocols.hysteria2.salamander import SALT, Salamander
from tunflow.protocols.quic.brutal import brutal
from tunflow.protocols.quic.session import QUICMachine, QUICPeer

_BYTES = 1_000_000 // 8
"""Of a megabit."""


def make_session(
    largest: int,
    random_bytes: Callable[[int], bytes],
    *,
    name: str,
    insecure: bool,
    pinned: str | None,
    password: str,
    obfs_password: str | None,
    up: int,
    down: int,
) -> QUICMachine:
    """The machine of a connection whose datagrams have `largest` bytes at most; the rest is as in the settings."""
    congestion = brutal(up * _BYTES) if up else "cubic"
    peer = QUICPeer(name, ("h3",), insecure, pinned, congestion)
    dialect = Hysteria2Dialect(password, down * _BYTES, random_bytes)
    if obfs_password is None:
        return QUICMachine(peer, dialect, largest)
    disguise = Salamander(obfs_password, random_bytes)
    return QUICMachine(peer, dialect, max(1200, largest - SALT), disguise.seal, disguise.open_untrusted)
