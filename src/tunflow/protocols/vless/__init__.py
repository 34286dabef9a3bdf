"""VLESS: a user's id and a target in front of the flow; what hides both is the TLS below."""

from tunflow.protocols.contract import Carries, Protocol

PROTOCOL = Protocol(
    name="vless",
    schemes=("vless",),
    carries=Carries.STREAMS | Carries.DATAGRAMS | Carries.NAMES,
    link_shape="vless://UUID@HOST:PORT?encryption=none&security=tls",
    summary="VLESS, also with xtls-rprx-vision, in TLS or not, also over WebSocket, HTTPUpgrade, gRPC, HTTP/2, XHTTP",
    module="tunflow.protocols.vless.settings",
    clash=frozenset({"vless"}),
    serves=True,
)
