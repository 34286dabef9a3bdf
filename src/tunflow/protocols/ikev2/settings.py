"""An IKEv2 server, from a link, and what charon is told of it.

`ikev2://USER:PASSWORD@HOST[:PORT]?ca=FILE&remote_id=ID&local_id=ID` signs in by EAP-MSCHAPv2;
`ikev2://ID:SECRET@HOST?auth=psk` by a shared secret; `ikev2://HOST?certificate=FILE&key=FILE` by a certificate.
Read first: RFC 7296, swanctl.conf(5), Apple's NEVPNProtocolIKEv2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from tunflow.errors import LocalError
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.contract import Outbound, OutboundContext
from tunflow.protocols.ikev2.vici_message import Section, Value
from tunflow.protocols.link import (
    Link,
    cut,
    format_options,
    format_tag,
    format_user,
    format_where,
    label,
    parse_user,
    parse_where,
    printable_parameters,
)

SCHEME = "ikev2"
SHAPE = "ikev2://USER:PASSWORD@HOST[:PORT]?ca=FILE&remote_id=ID"
DEFAULT_PORT = 500
ENCAPSULATED_PORT = 4500
"""Where IKE goes on behind NAT, and ESP in UDP from the start (RFC 3948)."""
METHODS = ("eap", "psk", "certificate")
CONNECTION, CHILD = "tunflow", "tunflow"
"""What charon calls them."""

INLINE = "base64:"
"""What `ca`, `certificate` and `key` begin with that are no file's name, but PEM in base64."""

_OPTIONS = ("auth", "ca", "certificate", "key", "local_id", "remote_id", "ike", "esp")
_DPD_DELAY = "30s"
ANY_IPV4 = "0.0.0.0"  # noqa: S104 - asks the server for an address


@dataclass(frozen=True, slots=True)
class IKEv2Server:
    """One server, and who its user is. Fields in Apple's words are named in docs/ikev2.md."""

    host: str
    port: int = DEFAULT_PORT
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    """Of EAP-MSCHAPv2, or the shared secret."""
    method: str = "eap"
    """How we prove who we are: one of METHODS."""
    ca: str | None = None
    """A file with the CAs to trust, or what is in it (INLINE). None: the system's."""
    certificate: str | None = None
    key: str | None = field(default=None, repr=False)
    """Files, too, or what is in them."""
    local_id: str | None = None
    remote_id: str | None = None
    """Who the server must prove to be; its host name unless said."""
    ike: str | None = None
    """Algorithms as swanctl.conf(5) writes them, such as `aes256gcm16-prfsha384-ecp384`; None: charon's own choice."""
    esp: str | None = None
    tag: str | None = None

    wants_programs: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """As `Settings.label`."""
        return label(SCHEME, self.host, self.port, self.tag)

    @property
    def first_hop(self) -> tuple[str, int]:
        """As `Settings.first_hop`."""
        return self.host, self.port

    @property
    def provider(self) -> str:
        """As `PacketTunnel.provider`."""
        return SCHEME

    @property
    def provider_configuration(self) -> dict[str, object]:
        """As `PacketTunnel.provider_configuration`."""
        return {"link": self.to_link()}

    @classmethod
    def from_link(cls, link: Link) -> IKEv2Server:
        """As `Settings.from_link`."""
        if link.listening:
            raise LocalError("tunflow is no IKEv2 server; strongSwan is one")
        user_text, where, query, tag = cut(link.rest)
        host, port = parse_where(SCHEME, where, SHAPE, port=DEFAULT_PORT)
        user, password = parse_user(SCHEME, user_text)
        options = printable_parameters(SCHEME, query, _OPTIONS)
        method = options.pop("auth", "certificate" if "certificate" in options else "eap")
        _check(method, user, password, options)
        return cls(host, port, user or None, password, method, tag=tag, **options)

    @classmethod
    def from_clash(cls, _entry: ClashEntry) -> IKEv2Server:
        """Raises LocalError: Clash has no such type."""
        raise LocalError("a Clash file has no IKEv2")

    def to_link(self) -> str:
        """As `Settings.to_link`."""
        named = {
            "auth": self.method,
            "ca": self.ca,
            "certificate": self.certificate,
            "key": self.key,
            "local_id": self.local_id,
            "remote_id": self.remote_id,
            "ike": self.ike,
            "esp": self.esp,
        }
        options = format_options({key: value for key, value in named.items() if value is not None})
        user = format_user(self.user, self.password)
        return f"{SCHEME}://{user}{format_where(self.host, self.port)}{options}{format_tag(self.tag)}"

    def outbound(self, context: OutboundContext) -> Outbound:
        """As `Settings.outbound`: by a stack at the tunnel's near end. Raises LocalError where nobody runs one."""
        return context.tunnel(self)

    def connection(self, own: str, peer: str, told: str, certificate: bytes | None) -> Section:
        """What `load-conn` takes (swanctl.conf(5), "connections").

        `own` and `peer` are the addresses that charon sees, `told` is the command that it runs when the tunnel is up,
        `certificate` is the user's in DER, where there is one.
        """
        local: dict[str, Value] = {"auth": {"eap": "eap-mschapv2", "psk": "psk", "certificate": "pubkey"}[self.method]}
        identity = self.local_id or (self.user if self.method != "certificate" else None)
        if identity:
            local["id"] = identity
        if self.method == "eap":
            local["eap_id"] = self.user or ""
        if certificate is not None:
            local["certs"] = [certificate]
        child: dict[str, Value] = {
            "local_ts": ["dynamic"],
            "remote_ts": ["0.0.0.0/0", "::/0"],
            "updown": told,
            "dpd_action": "clear",
        }
        connection: dict[str, Value] = {
            "version": "2",
            "local_addrs": [own],
            "remote_addrs": [peer],
            "vips": [ANY_IPV4, "::"],
            "encap": "yes",
            "mobike": "no",
            "send_certreq": "yes",
            "send_cert": "always",
            "dpd_delay": _DPD_DELAY,
            "local-1": local,
            "remote-1": {"auth": "psk" if self.method == "psk" else "pubkey", "id": self.remote_id or self.host},
            "children": {CHILD: child},
        }
        if self.port != DEFAULT_PORT:
            connection |= {"local_port": str(ENCAPSULATED_PORT), "remote_port": str(ENCAPSULATED_PORT)}
        if self.ike:
            connection["proposals"] = self.ike.split(",")
        if self.esp:
            child["esp_proposals"] = self.esp.split(",")
        return {CONNECTION: connection}

    def secret(self) -> Section | None:
        """What `load-shared` takes, or None where no secret is shared."""
        if self.method == "certificate" or self.password is None:
            return None
        owners = [each for each in (self.user, self.local_id, self.remote_id or self.host) if each]
        return {
            "id": CONNECTION,
            "type": "IKE" if self.method == "psk" else "EAP",
            "data": self.password,
            "owners": owners if self.method == "psk" else owners[:1],
        }


def _check(method: str, user: str | None, password: str | None, options: Mapping[str, str]) -> None:
    """Raise LocalError where they do not fit together."""
    if method not in METHODS:
        raise LocalError(f"auth in an {SCHEME}:// link is one of {', '.join(METHODS)}")
    if not f"{user or ''}{password or ''}".isprintable():
        raise LocalError(f"user or password in an {SCHEME}:// link has characters that cannot be printed")
    if method == "certificate":
        if password is not None:
            raise LocalError(f"the {SCHEME}:// link has a certificate and a password: auth= says which of them counts")
        if "certificate" not in options or "key" not in options:
            raise LocalError(f"auth=certificate in an {SCHEME}:// link takes certificate=FILE and key=FILE")
    elif "certificate" in options or "key" in options:
        raise LocalError(f"auth={method} in an {SCHEME}:// link takes no certificate")
    if method == "psk" and not password:
        raise LocalError(f"auth=psk in an {SCHEME}:// link takes the secret as its password: ikev2://ID:SECRET@HOST")
    if method == "psk" and "ca" in options:
        raise LocalError(f"auth=psk in an {SCHEME}:// link takes no ca: the secret proves the server")


SETTINGS = IKEv2Server
