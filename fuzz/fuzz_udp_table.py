"""Any bytes as UDP segments, and any order of operations: the table never raises and never outgrows its
capacity.

The input is a list of operations: a byte that says which, a byte that says which client, then for a segment
its length in two bytes and itself.
"""

from __future__ import annotations

from tunflow.endpoint import Endpoint
from tunflow.stack.udp import UDPMapping, UDPTable
from tunflow.wire import udp

_CAPACITY = 4
_FAR = bytes([192, 0, 2, 1]), bytes.fromhex("20010db8000000000000000000000001")


def _segment(port: int, payload: bytes) -> bytes:
    return (8 + len(payload)).to_bytes(2, "big") + udp.build(port, 53, len(payload)) + payload


SEEDS = [
    b"".join(bytes([0, client]) + _segment(5000 + client, b"hello") for client in range(8)),
    bytes([8, 1]) + _segment(5000, bytes(100)) + bytes([1, 0, 2, 0, 3, 200, 1, 0]),
    bytes([4, 129]) + _segment(5000, b"") + bytes([3, 255, 3, 255]),
]


def one_input(data: bytes) -> None:
    """Do the operations."""
    table = UDPTable(idle_timeout=100.0, capacity=_CAPACITY)
    known: list[UDPMapping] = []
    now, at = 0.0, 0
    while at + 2 <= len(data):
        operation, argument = data[at], data[at + 1]
        at += 2
        match operation & 3:
            case 0:
                size = int.from_bytes(data[at : at + 2], "big")
                _receive(table, operation, argument, memoryview(data)[at + 2 : at + 2 + size], now)
                at += 2 + size
                if argument & 1:  # else more of the batch follows
                    runs = table.take_arrivals()
                    known.extend(run.flow.mapping for run in runs)
                    assert all(len(piece) <= (run.gso_size or 65535) for run in runs for piece in run.datagrams())
            case 1 if known:
                mapping = known[argument % len(known)]
                source = Endpoint(_FAR[len(mapping.client.host) == 16], argument)
                table.datagram(mapping, source, data[:argument], now)
            case 2 if known and operation & 4:
                client = known[argument % len(known)].client
                table.port_unreachable(client, Endpoint(_FAR[len(client.host) == 16], 53))
            case 2 if known:
                table.close(known[argument % len(known)])
            case _:
                now += argument
                table.handle_timeout(now)
        assert len(table) <= _CAPACITY
        assert all(flow.mapping.flows[key] is flow for key, flow in table.flows.items())
        due = table.next_timeout()
        assert (due is None) == (len(table) == 0)


def _receive(table: UDPTable, operation: int, argument: int, segment: memoryview, now: float) -> None:
    """The higher bits of `operation` say whether the checksum counts and how super-datagrams are cut."""
    is_ipv6 = argument > 127
    src = bytes([10, 0, 0, argument]) if not is_ipv6 else bytes([0xFD, *bytes(14), argument])
    before = table.dropped + _waiting(table)
    table.receive(src, _FAR[is_ipv6], segment, not operation & 4, operation >> 3, bool(argument & 2), now)
    assert table.dropped + _waiting(table) > before


def _waiting(table: UDPTable) -> int:
    return sum(len(run.payloads) for run in table.arrivals)
