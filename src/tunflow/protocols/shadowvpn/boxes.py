"""Which Salsa20/8 this machine has: libsodium's, or else Python's."""

from __future__ import annotations

from collections.abc import Callable

from tunflow.protocols.shadowvpn.salsa208 import PureBox
from tunflow.protocols.shadowvpn.seal import SecretBox
from tunflow.protocols.shadowvpn.sodium import SodiumBox, library


def make_box(key: bytes, warn: Callable[[str], None]) -> SecretBox:
    """The fastest box there is for a key; a slow one is told of, in one line."""
    if library() is not None:
        return SodiumBox(key)
    warn("this system's libsodium has no Salsa20/8: packets are sealed in Python, some thirty times slower")
    return PureBox(key)
