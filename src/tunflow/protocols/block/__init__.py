"""No server: flows are refused."""

from tunflow.protocols.contract import Carries, Protocol

PROTOCOL = Protocol(
    name="block",
    schemes=("block",),
    carries=Carries.STREAMS | Carries.DATAGRAMS | Carries.NAMES,
    link_shape="block://",
    summary="refuse everything",
    module="tunflow.protocols.block.settings",
    clash=frozenset({"reject"}),
)
