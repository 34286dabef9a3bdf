"""Tor, by its SOCKS port."""

from tunflow.protocols.contract import Carries, Protocol

PROTOCOL = Protocol(
    name="tor",
    schemes=("tor",),
    carries=Carries.STREAMS | Carries.NAMES,
    link_shape="tor://[HOST:PORT]",
    summary="Tor's SOCKS port (127.0.0.1:9050), TCP only; `?isolate=flow` or `=program` for circuits of their own",
    module="tunflow.protocols.tor.settings",
)
