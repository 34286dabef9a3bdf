"""IKEv2 with ESP in UDP, spoken by strongSwan's daemon charon."""

from tunflow.protocols.contract import Carries, Protocol

PROTOCOL = Protocol(
    name="ikev2",
    schemes=("ikev2",),
    carries=Carries.PACKETS,
    link_shape="ikev2://USER:PASSWORD@HOST[:PORT]?ca=FILE&remote_id=ID",
    summary="IKEv2/IPsec, a packet tunnel by strongSwan's charon: all of IP",
    module="tunflow.protocols.ikev2.settings",
)
