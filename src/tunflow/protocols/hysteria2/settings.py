"""`hysteria2://` links and Clash entries.

Read first: Hysteria 2's "URI Scheme" (v2.hysteria.network/docs/developers/URI-Scheme) and "Client"; mihomo's page on
"Hysteria2".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import quote

from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import LocalError
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.codec import StreamCodec
from tunflow.protocols.contract import Outbound, OutboundContext
from tunflow.protocols.hysteria2.bandwidth import megabits, ports_of
from tunflow.protocols.link import (
    Link,
    cut,
    format_options,
    format_tag,
    format_where,
    is_insecure,
    label,
    parse_where,
    unquoted,
    yes_or_no,
)
from tunflow.protocols.quic import settings as quic
from tunflow.protocols.session import MachineSession, SessionMachine

_SHAPE = "hysteria2://PASSWORD@HOST:PORT"
_KEYS = frozenset(
    {
        *("obfs", "obfs-password", "hop-interval", "hop_interval", "mport", "keepalive"),
        *("up", "down", "upmbps", "downmbps"),
    }
)
_HOP = 30
_SOONEST_HOP = 5


@dataclass(frozen=True, slots=True)
class Hysteria2Server:
    """A Hysteria2 server."""

    wants_programs: ClassVar[bool] = False
    takes_datagrams_only: ClassVar[bool] = True

    host: str
    port: int
    password: str = field(repr=False)
    ports: str | None = None
    """All of its ports where there are several, as `443,5000-6000`."""
    hop_interval: int = _HOP
    """Seconds on one of them."""
    obfs_password: str | None = field(default=None, repr=False)
    """Salamander's; None for QUIC as it is."""
    sni: str | None = None
    insecure: bool = False
    """True if any certificate is accepted, or with `pinned` any that has it."""
    pinned: str | None = None
    """SHA-256 of the only certificate that is accepted, in hexadecimal."""
    up: int = 0
    """Megabits a second that we may send; 0 for what congestion control finds out."""
    down: int = 0
    """Megabits a second that the server may send; 0 for what it finds out."""
    tag: str | None = None
    udp: bool = True
    """True if UDP goes there; else it is refused here."""

    @property
    def label(self) -> str:
        """The server as logs name it."""
        return label("hysteria2", self.host, self.port, self.tag)

    @property
    def first_hop(self) -> tuple[str, int]:
        """As `Settings.first_hop`."""
        return self.host, self.port

    @classmethod
    def from_link(cls, link: Link) -> Hysteria2Server:
        """As `Settings.from_link`."""
        parts = cut(link.rest)
        where, listed = _ports_apart(parts.where)
        host, port = parse_where("hysteria2", where, _SHAPE, port=443)
        values = quic.parameters("hysteria2", parts.query, _KEYS)
        listed = listed or values.get("mport")
        if listed and ":" not in where.rpartition("]")[2]:
            port = ports_of("the port", listed)[0]
        if values.get("alpn", "h3") != "h3":
            raise LocalError("alpn of hysteria2 is h3: it looks like HTTP/3")
        return _checked(
            host=host,
            port=port,
            password=unquoted("hysteria2", parts.user or ""),
            ports=listed,
            hop=values.get("hop-interval") or values.get("hop_interval"),
            obfs=values.get("obfs") if values.get("obfs") != "none" else None,
            obfs_password=values.get("obfs-password"),
            sni=values.get("sni"),
            insecure=is_insecure("hysteria2", values),
            pinned=quic.fingerprint("pinSHA256", values.get("pinSHA256")),
            up=values.get("up") or values.get("upmbps"),
            down=values.get("down") or values.get("downmbps"),
            tag=parts.tag,
            udp=yes_or_no("hysteria2", "udp", values.get("udp"), default=True),
        )

    @classmethod
    def from_clash(cls, entry: ClashEntry) -> Hysteria2Server:
        """As `Settings.from_clash`."""
        listed = entry.text("ports")
        if listed and entry.value("port") is None:
            (host,) = entry.required("server")
            host, port = host.removeprefix("[").removesuffix("]"), ports_of("ports", listed)[0]
        else:
            host, port = entry.where()
        alpn = quic.texts("alpn", entry.value("alpn"))
        if alpn and "h3" not in alpn:
            raise LocalError("alpn of hysteria2 is h3: it looks like HTTP/3")
        pinned = quic.fingerprint("fingerprint", entry.text("fingerprint"))
        return _checked(
            host=host,
            port=port,
            password=entry.text("password") or entry.text("auth") or "",
            ports=listed,
            hop=entry.text("hop-interval"),
            obfs=entry.text("obfs"),
            obfs_password=entry.text("obfs-password"),
            sni=entry.text("sni"),
            # Clash's fingerprint stands for an authority's word.
            insecure=entry.flag("skip-cert-verify") or pinned is not None,
            pinned=pinned,
            up=entry.text("up"),
            down=entry.text("down"),
            tag=entry.name,
            udp=entry.flag("udp", default=True),
        )

    def to_link(self) -> str:
        """As `Settings.to_link`."""
        values = {
            "obfs": "salamander" if self.obfs_password is not None else None,
            "obfs-password": self.obfs_password,
            "sni": self.sni,
            "insecure": "1" if self.insecure else None,
            "pinSHA256": self.pinned,
            "mport": self.ports,
            "hop-interval": str(self.hop_interval) if self.hop_interval != _HOP else None,
            "up": str(self.up) if self.up else None,
            "down": str(self.down) if self.down else None,
            "udp": None if self.udp else "no",
        }
        options = {key: value for key, value in values.items() if value}
        user = f"{quote(self.password, safe='')}@" if self.password else ""
        where = format_where(self.host, self.port)
        return f"hysteria2://{user}{where}{format_options(options)}{format_tag(self.tag)}"

    def outbound(self, context: OutboundContext) -> Outbound:
        """As `Settings.outbound`. Raises LocalError."""
        quic.need_aioquic(self.label)
        random_bytes = context.random_bytes

        def machine(largest: int) -> SessionMachine:
            from tunflow.protocols.hysteria2.session import make_session  # noqa: PLC0415 (aioquic, which few need)

            return make_session(
                largest,
                random_bytes,
                name=self.sni or self.host,
                insecure=self.insecure,
                pinned=self.pinned,
                password=self.password,
                obfs_password=self.obfs_password,
                up=self.up,
                down=self.down,
            )

        def stream_to(target: Endpoint) -> StreamCodec:
            from tunflow.protocols.hysteria2.messages import TCPRequest  # noqa: PLC0415

            return TCPRequest(target, random_bytes)

        server = MachineSession(
            self.label,
            endpoint(self.host, self.port),
            self.to_link(),
            machine,
            stream_to,
            datagrams=self.udp,
            ports=ports_of("ports", self.ports) if self.ports else (),
            hop_every=self.hop_interval,
        )
        return context.session_keeper(self.label).over_datagrams(server, context.below)


SETTINGS = Hysteria2Server


def _ports_apart(where: str) -> tuple[str, str | None]:
    """`HOST:443,5000-6000` without its ports, and these; they stay where there is one alone."""
    found = re.fullmatch(r"(\[[^\]]*\]|[^:]*):([0-9]+(?:[,-][0-9,-]*)[0-9]*)", where)
    return (where, None) if found is None else (found[1], found[2])


def _checked(
    *,
    host: str,
    port: int,
    password: str,
    ports: str | None,
    hop: str | None,
    obfs: str | None,
    obfs_password: str | None,
    sni: str | None,
    insecure: bool,
    pinned: str | None,
    up: str | None,
    down: str | None,
    tag: str | None,
    udp: bool,
) -> Hysteria2Server:
    """Raises LocalError."""
    if obfs not in {None, "salamander"}:
        raise LocalError("obfs of hysteria2 is salamander, or not given")
    if (obfs is None) != (obfs_password is None):
        raise LocalError("obfs=salamander and obfs-password go together")
    if obfs_password is not None and len(obfs_password.encode()) < 4:
        raise LocalError("obfs-password has 4 bytes at least")
    if any(not 0x20 <= byte < 0x7F for byte in password.encode()):
        raise LocalError("a password of hysteria2 is printable ASCII: it goes as a field of HTTP")
    seconds = _HOP
    if hop is not None:
        text = hop.strip().removesuffix("s")
        if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) < _SOONEST_HOP:
            raise LocalError(f"hop-interval is a number of seconds, {_SOONEST_HOP} at least")
        seconds = int(text)
    if ports is not None:
        ports_of("ports", ports)
    return Hysteria2Server(
        host,
        port,
        password,
        ports,
        seconds,
        obfs_password,
        quic.server_name("sni", sni),
        insecure,
        pinned,
        megabits("up", up),
        megabits("down", down),
        tag,
        udp,
    )
