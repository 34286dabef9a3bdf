"""OpenVPN, both ends, without I/O: docs/openvpn.md says what is done, openvpn-rfc is the description of the wire."""

from tunflow.protocols.contract import Carries, Protocol


def looks_like(content: bytes) -> bool:
    """Return True if a file looks like a configuration of OpenVPN's."""
    from tunflow.protocols.openvpn.config_file import looks_like_openvpn  # noqa: PLC0415 (few have such a file)

    return looks_like_openvpn(content)


PROTOCOL = Protocol(
    name="openvpn",
    schemes=("openvpn",),
    carries=Carries.PACKETS,
    link_shape="openvpn://CONFIG, a configuration in base64",
    summary="OpenVPN, a packet tunnel over UDP or TCP: all of IP; `.ovpn` files (docs/openvpn.md)",
    module="tunflow.protocols.openvpn.configured",
    looks_like=looks_like,
)
