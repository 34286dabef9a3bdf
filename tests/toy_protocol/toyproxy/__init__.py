"""A protocol in one folder: what somebody else's package looks like. Bytes of a flow are XORed after one line."""

from tunflow.protocols.contract import Carries, Protocol

PROTOCOL = Protocol(
    name="toy",
    schemes=("toy",),
    carries=Carries.STREAMS | Carries.NAMES,
    link_shape="toy://KEY@HOST:PORT",
    summary="a toy: streams XORed with one byte",
    module="toyproxy.settings",
    clash=frozenset({"toy"}),
)
