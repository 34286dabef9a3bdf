"""`wireguard://` links, as other programs write them: one interface and one peer.

    wireguard://PRIVATEKEY@HOST:PORT?publickey=…&address=10.0.0.2/32,fd00::2/128#NAME

with `presharedkey`, `allowedips` (default: everything), `dns`, `mtu` and `keepalive` where they are wanted, all
percent-encoded. No error shows a key.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, quote

from tunflow.addresses import ip_network
from tunflow.endpoint import endpoint
from tunflow.errors import LocalError
from tunflow.protocols import link as link_parts
from tunflow.protocols.wireguard import config_file
from tunflow.protocols.wireguard.keys import format_key, parse_key
from tunflow.protocols.wireguard.settings import DEFAULT_MTU, SCHEME, PeerSettings, WireGuardSettings

SHAPE = "wireguard://PRIVATEKEY@HOST:PORT?publickey=KEY&address=10.0.0.2/32, percent-encoded"
EVERYTHING = (ip_network("0.0.0.0/0"), ip_network("::/0"))

_ACCEPTED = ("publickey", "presharedkey", "address", "allowedips", "dns", "mtu", "keepalive")
_OTHER_NAMES = {"pub": "publickey", "psk": "presharedkey", "ip": "address", "persistentkeepalive": "keepalive"}
_NOTHING = {"", "0", "0,0,0"}


def parse_link(link: str) -> WireGuardSettings:
    """The settings that a link holds. Raises LocalError."""
    scheme, separator, rest = link.strip().partition("://")
    if scheme.lower() != SCHEME or not separator:
        raise LocalError(f"not a {SCHEME}:// link; it reads {SHAPE}")
    parts = link_parts.cut(rest)
    if not parts.user:
        raise LocalError(f"the {SCHEME}:// link has no private key; it reads {SHAPE}")
    host, port = link_parts.parse_where(SCHEME, parts.where, SHAPE)
    values = _values(parts.query)
    if "publickey" not in values or "address" not in values:
        raise LocalError(f"the {SCHEME}:// link needs publickey and address; it reads {SHAPE}")
    try:
        servers, domains = config_file.parse_dns(config_file.items(values.get("dns", "")))
        allowed = tuple(map(config_file.parse_network, config_file.items(values.get("allowedips", ""))))
        peer = PeerSettings(
            parse_key(values["publickey"]),
            allowed or EVERYTHING,
            endpoint(host, port),
            parse_key(values["presharedkey"]) if values.get("presharedkey") else b"",
            config_file.parse_keepalive(values.get("keepalive") or "0"),
        )
        return WireGuardSettings(
            parse_key(link_parts.unquoted(SCHEME, parts.user)),
            tuple(map(config_file.parse_address, config_file.items(values["address"]))),
            (peer,),
            0,
            servers,
            domains,
            config_file.parse_mtu(values.get("mtu") or str(DEFAULT_MTU)),
            parts.tag,
        )
    except LocalError as error:
        raise LocalError(f"the {SCHEME}:// link: {error}") from None


def format_link(settings: WireGuardSettings) -> str:
    """The link; `parse_link` makes equal settings of it. It holds the keys. Raises LocalError if no link can say it."""
    if len(settings.peers) != 1 or settings.peers[0].endpoint is None or settings.listen_port:
        raise LocalError(f"a {SCHEME}:// link has room for one peer with an Endpoint, and for no ListenPort")
    (peer,) = settings.peers
    assert peer.endpoint is not None
    options = {
        "publickey": format_key(peer.public_key),
        "presharedkey": format_key(peer.preshared_key) if peer.preshared_key else "",
        "address": ",".join(map(str, settings.addresses)),
        "allowedips": "" if peer.allowed_ips == EVERYTHING else ",".join(map(str, peer.allowed_ips)),
        "dns": ",".join((*settings.dns, *settings.search_domains)),
        "mtu": str(settings.mtu) if settings.mtu != DEFAULT_MTU else "",
        "keepalive": str(peer.persistent_keepalive or ""),
    }
    query = "&".join(f"{key}={quote(value, safe=',/:')}" for key, value in options.items() if value)
    where = link_parts.format_where(peer.endpoint.host_text, peer.endpoint.port)
    key = quote(format_key(settings.private_key), safe="")
    return f"{SCHEME}://{key}@{where}?{query}{link_parts.format_tag(settings.tag)}"


def _values(query: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        name = _OTHER_NAMES.get(key.lower(), key.lower())
        if name == "reserved" and value in _NOTHING:
            continue
        if name == "reserved":
            raise LocalError(f"the {SCHEME}:// link has reserved bytes, which are one provider's own: not supported")
        if name not in _ACCEPTED:
            known = ", ".join(_ACCEPTED)
            raise LocalError(
                f"the {SCHEME}:// link has an unknown option {link_parts.printable(key)!r}; accepted: {known}"
            )
        # A blank was a base64 '+' that nobody encoded.
        link_parts.put_parameter(SCHEME, values, name, value.replace(" ", "+"))
    return values
