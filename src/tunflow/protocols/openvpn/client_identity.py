"""What a client says of itself: its protection, its options, what it can do."""

from __future__ import annotations

from collections.abc import Mapping

from tunflow.protocols.openvpn.control_packets import auth, crypt
from tunflow.protocols.openvpn.data_key import is_aead
from tunflow.protocols.openvpn.key_method import Abilities
from tunflow.protocols.openvpn.settings import OpenVPNSettings, Remote
from tunflow.protocols.openvpn.static_key import StaticKey
from tunflow.protocols.openvpn.wrapping import Plain, Wrapping

ABILITIES = (
    Abilities.DATA_V2
    | Abilities.REQUEST_PUSH
    | Abilities.TLS_EXPORT
    | Abilities.AUTH_PENDING
    | Abilities.CONTROL_EXIT
    | Abilities.AUTH_FAILED_TEMPORARY
    | Abilities.DYNAMIC_TLS_CRYPT
    | Abilities.EPOCH_DATA
    | Abilities.DNS_OPTION
    | Abilities.PUSH_UPDATE
)
VERSION = "tunflow_0.1"


def wrapping_of(settings: OpenVPNSettings) -> tuple[Wrapping, StaticKey | None]:
    """A client's protection of control packets, and the key of it."""
    if settings.tls_auth is not None:
        return auth(settings.tls_auth, settings.digest, settings.key_direction), settings.tls_auth
    if settings.tls_crypt is not None:
        return crypt(settings.tls_crypt, server=False), settings.tls_crypt
    if settings.tls_crypt_v2 is not None:
        key = settings.tls_crypt_v2.key
        return crypt(key, server=False, early=True), key
    return Plain(), None


def occ_options(settings: OpenVPNSettings, remote: Remote) -> str:
    """The options string, which the other end compares with its own and only warns about."""
    cipher = settings.fallback or settings.ciphers[0]
    digest = "[null-digest]" if is_aead(cipher) else settings.digest.upper()
    protocol = "UDPv4" if remote.transport == "udp" else "TCPv4_CLIENT"
    size = "128" if "128" in cipher else "192" if "192" in cipher else "256"
    return (
        f"V4,dev-type tun,link-mtu 1549,tun-mtu 1500,proto {protocol},cipher {cipher},auth {digest},keysize {size},"
        "key-method 2,tls-client"
    )


def client_peer_info(settings: OpenVPNSettings) -> Mapping[str, str]:
    """What the server is told in words of its own (IV_…)."""
    return {
        "IV_VER": VERSION,
        "IV_PLAT": "linux",
        "IV_PROTO": str(int(ABILITIES)),
        "IV_CIPHERS": ":".join(dict.fromkeys((*settings.ciphers, *filter(None, [settings.fallback])))),
        "IV_NCP": "2",
        "IV_MTU": "1600",
        "IV_SSO": "crtext",
        **dict(settings.peer_info),
    }
