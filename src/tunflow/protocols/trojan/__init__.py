"""Trojan: a stream that looks like a web site's to who has no password, inside TLS."""

from tunflow.protocols.contract import Carries, Protocol

PROTOCOL = Protocol(
    name="trojan",
    schemes=("trojan",),
    carries=Carries.STREAMS | Carries.DATAGRAMS | Carries.NAMES,
    link_shape="trojan://PASSWORD@HOST:PORT",
    summary="Trojan over TLS, also over WebSocket, HTTPUpgrade, gRPC, HTTP/2, XHTTP",
    module="tunflow.protocols.trojan.settings",
    other_schemes=("trojan-go",),
    clash=frozenset({"trojan"}),
    serves=True,
)
