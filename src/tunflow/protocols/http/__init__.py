"""HTTP proxies: CONNECT (RFC 9110, 9.3.6), also over TLS."""

from tunflow.protocols.contract import Carries, Protocol

PROTOCOL = Protocol(
    name="http",
    schemes=("http", "https"),
    carries=Carries.STREAMS | Carries.NAMES,
    link_shape="http://[USER:PASSWORD@]HOST:PORT",
    summary="an HTTP proxy by CONNECT, TCP only; `https://` for one that is reached over TLS",
    module="tunflow.protocols.http.settings",
    clash=frozenset({"http"}),
)
