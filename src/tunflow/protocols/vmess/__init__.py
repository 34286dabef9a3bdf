"""VMess with AEAD headers: an encrypted stream of its own, in TLS or not."""

from tunflow.protocols.contract import Carries, Protocol

PROTOCOL = Protocol(
    name="vmess",
    schemes=("vmess",),
    carries=Carries.STREAMS | Carries.DATAGRAMS | Carries.NAMES,
    link_shape="vmess://UUID@HOST:PORT",
    summary="VMess with AEAD headers, in TLS or not, also over WebSocket, HTTPUpgrade, gRPC, HTTP/2, XHTTP",
    module="tunflow.protocols.vmess.settings",
    clash=frozenset({"vmess"}),
)
