"""WireGuard without I/O: handshake, cookies, transport, timers, peers and their routes, and files that configure it."""

from tunflow.protocols.contract import Carries, Protocol

PROTOCOL = Protocol(
    name="wireguard",
    schemes=("wireguard",),
    carries=Carries.PACKETS,
    link_shape="wireguard://PRIVATEKEY@HOST:PORT?publickey=KEY&address=10.0.0.2/32",
    summary="WireGuard, a packet tunnel over UDP: all of IP; wg-quick files too (docs/wireguard.md)",
    module="tunflow.protocols.wireguard.one_peer",
    serves=True,
)
