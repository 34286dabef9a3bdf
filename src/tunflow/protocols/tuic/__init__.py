"""TUIC v5: streams and datagrams in one QUIC connection."""

from tunflow.protocols.contract import Carries, Protocol

PROTOCOL = Protocol(
    name="tuic",
    schemes=("tuic",),
    carries=Carries.STREAMS | Carries.DATAGRAMS | Carries.NAMES,
    link_shape="tuic://UUID:PASSWORD@HOST:PORT",
    summary="TUIC v5 over QUIC: TCP and UDP",
    module="tunflow.protocols.tuic.settings",
    clash=frozenset({"tuic"}),
)
