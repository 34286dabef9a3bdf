"""Any datagrams to a WireGuard interface that has a session, and any packets out of it: never an error."""

from __future__ import annotations

from ipaddress import ip_network
from itertools import count

from tunflow.endpoint import endpoint
from tunflow.protocols.wireguard.interface import Interface

_WHERE = endpoint("192.0.2.1", 51820)


def _interface(number: int) -> Interface:
    """With its own numbers for random bytes, so that every run is the same."""
    drawn = count(number << 16)
    return Interface(bytes((number,)) * 32, 1420, lambda size: next(drawn).to_bytes(max(size, 4), "little"), lambda: 0)


def _session() -> tuple[Interface, Interface, list[bytes]]:
    """Two interfaces with a session, and what was sent for it."""
    ours, theirs = _interface(1), _interface(2)
    for one, other in ((ours, theirs), (theirs, ours)):
        one.add_peer(other.identity.public, allowed_ips=[ip_network("0.0.0.0/0"), ip_network("::/0")], endpoint=_WHERE)
    recorded = []
    theirs.connect(theirs.peers[ours.identity.public], 0.0)
    for _ in range(3):
        for source, target in ((theirs, ours), (ours, theirs)):
            datagrams = [bytes(data) for outgoing in source.drain_datagrams() for data in outgoing.datagrams]
            recorded += datagrams
            target.receive_untrusted(datagrams, _WHERE, 1.0)
    theirs.send_untrusted([bytes.fromhex("4500001c00000000401100000a0700020a070001") + b"x" * 8], 2.0)
    recorded += [bytes(data) for outgoing in theirs.drain_datagrams() for data in outgoing.datagrams]
    return ours, theirs, recorded


SEEDS = _session()[2]


def one_input(data: bytes) -> None:
    """As a datagram, as a packet out, and as what a peer sealed; then every timer."""
    ours, theirs, recorded = _session()
    ours.receive_untrusted([data, *recorded, data], _WHERE, 2.0)
    theirs.send_untrusted([data, memoryview(data)], 2.0)
    sealed = [bytes(each) for outgoing in theirs.drain_datagrams() for each in outgoing.datagrams]
    ours.receive_untrusted(sealed, _WHERE, 2.0)
    for packet in ours.drain_packets():
        assert packet[0] >> 4 in {4, 6}
    for now in (3.0, 20.0, 200.0, 800.0):
        ours.handle_timeout(now)
        when = ours.next_timeout()
        assert when is None or when > now
