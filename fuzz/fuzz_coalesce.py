"""Any bytes as packets to be joined: no exception, and what is joined can be cut again."""

from __future__ import annotations

from tunflow.tunnels.shadowvpn.seal import MAX_MTU
from tunflow.wire.coalesce import coalesce
from tunflow.wire.offload import segment

# Two segments of one flow, "a" and "b".
_HEAD = "450000290000400040060000" + "0a0700010a070002" + "00500002"
SEEDS = [
    bytes.fromhex(f"{_HEAD}00000000000000075010000000000000") + b"a",
    bytes.fromhex(f"{_HEAD}00000001000000075010000000000000") + b"b",
]


def one_input(data: bytes) -> None:
    """Alone, in halves, and twice behind a good one."""
    data = data[:MAX_MTU]
    half = len(data) // 2
    for packets in ([data], [data[:half], data[half:]], [SEEDS[0], data, data]):
        joined = coalesce(packets)
        assert len(joined) <= len(packets)
        assert sum(len(segment(packet)) for packet in joined) == len(packets)
