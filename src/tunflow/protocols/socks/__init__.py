"""SOCKS4, 4a and 5: streams, SOCKS5 datagrams, both ends."""

from tunflow.protocols.contract import Carries, Protocol

PROTOCOL = Protocol(
    name="socks",
    schemes=("socks5", "socks4", "socks4a"),
    other_schemes=("socks5h", "socks"),
    carries=Carries.STREAMS | Carries.DATAGRAMS | Carries.NAMES,
    link_shape="socks5://[USER:PASSWORD@]HOST:PORT",
    summary="SOCKS5 (TCP and UDP), SOCKS4 and SOCKS4a (TCP); names are looked up by the server",
    module="tunflow.protocols.socks.settings",
    clash=frozenset({"socks5"}),
)
