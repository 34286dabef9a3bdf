"""No server: flows go straight to their targets."""

from tunflow.protocols.contract import Carries, Protocol

PROTOCOL = Protocol(
    name="direct",
    schemes=("direct",),
    carries=Carries.STREAMS | Carries.DATAGRAMS,
    link_shape="direct://",
    summary="no server: flows go straight out (to look at a program's traffic, or to measure)",
    module="tunflow.protocols.direct.settings",
    clash=frozenset({"direct"}),
)
