"""OpenConnect: Cisco AnyConnect, GlobalProtect, Fortinet, Pulse and their kin, spoken by the program `openconnect`."""

from tunflow.protocols.contract import Carries, Protocol

PROTOCOL = Protocol(
    name="openconnect",
    schemes=("openconnect",),
    carries=Carries.PACKETS,
    link_shape="openconnect://USER:PASSWORD@HOST[:PORT]?protocol=anyconnect&pin=pin-sha256:…",
    summary="AnyConnect, GlobalProtect, Fortinet, Pulse …, a packet tunnel by the program openconnect: all of IP",
    module="tunflow.protocols.openconnect.settings",
)
