"""Shadowsocks, the AEAD and the 2022 editions: streams and datagrams, both ends."""

from tunflow.protocols.contract import Carries, Protocol

PROTOCOL = Protocol(
    name="shadowsocks",
    schemes=("ss",),
    carries=Carries.STREAMS | Carries.DATAGRAMS | Carries.NAMES,
    link_shape="ss://METHOD:PASSWORD@HOST:PORT",
    summary="Shadowsocks as a SIP002 link, the AEAD edition and 2022: TCP and UDP",
    module="tunflow.protocols.shadowsocks.settings",
    clash=frozenset({"ss"}),
    serves=True,
)
