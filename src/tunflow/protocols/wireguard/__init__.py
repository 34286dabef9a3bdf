"""WireGuard without I/O: handshake, cookies, transport, timers, peers and their routes, and files that configure it."""

from tunflow.protocols.contract import Carries, Protocol


def looks_like(content: bytes) -> bool:
    """Return True if a file looks like one of wg-quick's."""
    from tunflow.protocols.wireguard.config_file import is_config_file  # noqa: PLC0415 (few have such a file)

    return is_config_file(content)


PROTOCOL = Protocol(
    name="wireguard",
    schemes=("wireguard",),
    clash=frozenset({"wireguard"}),
    carries=Carries.PACKETS,
    link_shape="wireguard://PRIVATEKEY@HOST:PORT?publickey=KEY&address=10.0.0.2/32",
    summary="WireGuard, a packet tunnel over UDP: all of IP; wg-quick files too (docs/wireguard.md)",
    module="tunflow.protocols.wireguard.one_peer",
    looks_like=looks_like,
    serves=True,
)
