"""Any bytes as a ShadowVPN datagram, and as a user's packet: opened, taken, or BadPacket."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Interface

from tunflow.errors import BadPacket
from tunflow.protocols.shadowvpn.salsa208 import PureBox
from tunflow.protocols.shadowvpn.seal import Sealer
from tunflow.protocols.shadowvpn.users import TunnelUsers

_KEY = bytes(32)
SEEDS = [
    *Sealer(PureBox(_KEY), bytes).seal([bytes.fromhex("4500001c00000000401100000a0700020a070001") + b"x" * 8]),
    bytes.fromhex("4500001c00000000401100000a0700020a07000100350035000800aa"),
]


def one_input(data: bytes) -> None:
    """Both machines."""
    with contextlib.suppress(BadPacket):
        Sealer(PureBox(_KEY), bytes).open_untrusted(data, 8)
    users: TunnelUsers[int] = TunnelUsers(IPv4Interface("10.7.0.1/24"), (bytes(8),))
    with contextlib.suppress(BadPacket):
        users.from_user_untrusted(bytes(8), memoryview(data), 1)
    with contextlib.suppress(BadPacket):
        users.to_user_untrusted(memoryview(data))
