"""AnyTLS: streams in sessions of TLS, whose first packets are cut and padded as the server wants it."""

from tunflow.protocols.contract import Carries, Protocol

PROTOCOL = Protocol(
    name="anytls",
    schemes=("anytls",),
    carries=Carries.STREAMS | Carries.DATAGRAMS | Carries.NAMES,
    link_shape="anytls://PASSWORD@HOST:PORT",
    summary="AnyTLS: sessions of TLS that flows use one after the other, their first packets padded",
    module="tunflow.protocols.anytls.settings",
    clash=frozenset({"anytls"}),
)
