"""An OpenVPN configuration as one server of the registry's: its text, with the files that it names inside.

OpenVPN has no links, so one of ours is the text in base64 (RFC 4648 §5), to name the server where links are named.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from tunflow.errors import LocalError
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.contract import Outbound, OutboundContext
from tunflow.protocols.link import Link, format_tag, label, unquoted
from tunflow.protocols.openvpn.inline import with_files_inline
from tunflow.protocols.openvpn.settings_reader import settings_from_file

SCHEME = "openvpn"


@dataclass(frozen=True, slots=True)
class OpenVPNServer:
    """A client's configuration; `tag` is what errors call it."""

    provider: ClassVar[str] = SCHEME
    wants_programs: ClassVar[bool] = False

    config: str = field(repr=False)
    host: str
    """Of the first remote."""
    port: int
    tag: str | None = None

    @property
    def label(self) -> str:
        """As `Settings.label`."""
        return label(SCHEME, self.host, self.port, self.tag)

    @property
    def first_hop(self) -> tuple[str, int]:
        """As `Settings.first_hop`."""
        return self.host, self.port

    @property
    def provider_configuration(self) -> dict[str, object]:
        """As `PacketTunnel.provider_configuration`."""
        return {"name": self.tag or SCHEME, "config": self.config}

    @classmethod
    def from_file(cls, content: bytes, name: str, read: Callable[[str], bytes]) -> OpenVPNServer:
        """As `FromFile.from_file`."""
        settings = settings_from_file(content, name, read)
        if not settings.remotes:
            raise LocalError(f"{name}: no remote names a server to call")
        config = with_files_inline(content.decode("utf-8-sig"), read)
        return cls(config, settings.remotes[0].host, settings.remotes[0].port, name)

    @classmethod
    def from_link(cls, link: Link) -> OpenVPNServer:
        """As `Settings.from_link`."""
        digits, _, tag = link.rest.partition("#")
        digits = digits.rstrip("=")
        try:
            content = urlsafe_b64decode(digits + "=" * (-len(digits) % 4))
        except ValueError:
            content = b""
        if not content:
            raise LocalError("the openvpn:// link is no configuration in base64; use the file: run --profile FILE.ovpn")
        return cls.from_file(content, unquoted(SCHEME, tag) or SCHEME, _read_nothing)

    @classmethod
    def from_clash(cls, _entry: ClashEntry) -> OpenVPNServer:
        """Raises LocalError: Clash has no such type."""
        raise LocalError("a Clash file has no OpenVPN")

    def to_link(self) -> str:
        """As `Settings.to_link`."""
        return f"{SCHEME}://{urlsafe_b64encode(self.config.encode()).decode().rstrip('=')}{format_tag(self.tag)}"

    def outbound(self, context: OutboundContext) -> Outbound:
        """As `Settings.outbound`: by a stack at the tunnel's near end. Raises LocalError where nobody runs one."""
        return context.tunnel(self)


SETTINGS = OpenVPNServer


def _read_nothing(name: str) -> bytes:
    raise LocalError(f"{name} is another file: a link has its files inside, as <ca> … </ca>")
