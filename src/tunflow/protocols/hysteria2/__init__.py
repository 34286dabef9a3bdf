"""Hysteria2: streams and datagrams in one QUIC connection that looks like HTTP/3."""

from tunflow.protocols.contract import Carries, Protocol

PROTOCOL = Protocol(
    name="hysteria2",
    schemes=("hysteria2",),
    other_schemes=("hy2",),
    carries=Carries.STREAMS | Carries.DATAGRAMS | Carries.NAMES,
    link_shape="hysteria2://PASSWORD@HOST:PORT",
    summary="Hysteria2 over QUIC, with port hopping and Salamander: TCP and UDP",
    module="tunflow.protocols.hysteria2.settings",
    clash=frozenset({"hysteria2", "hy2"}),
)
