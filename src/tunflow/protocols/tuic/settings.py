"""`tuic://` links and Clash entries.

Read first: the links that TUIC's clients share (UUID:PASSWORD@HOST:PORT and parameters); mihomo's page on "TUIC".
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
from tunflow.protocols.link import (
    Link,
    cut,
    format_options,
    format_tag,
    format_where,
    is_insecure,
    label,
    parse_user,
    parse_where,
    printable,
    yes_or_no,
)
from tunflow.protocols.quic import settings as quic
from tunflow.protocols.session import MachineSession, SessionMachine
from tunflow.protocols.user_id import user_id

_SHAPE = "tuic://UUID:PASSWORD@HOST:PORT"
_KEYS = frozenset({"congestion_control", "udp_relay_mode", "disable_sni", "version", "heartbeat", "reduce_rtt"})
CONTROLS = ("cubic", "new_reno", "bbr")
MODES = ("native", "quic")


@dataclass(frozen=True, slots=True)
class TUICServer:
    """A TUIC server; `user` is a UUID in its usual form, and a secret."""

    wants_programs: ClassVar[bool] = False
    takes_datagrams_only: ClassVar[bool] = True

    host: str
    port: int
    user: str = field(repr=False)
    password: str = field(repr=False)
    congestion_control: str = "cubic"
    """One of `CONTROLS`; bbr is kept for the link, and cubic is done."""
    udp_relay_mode: str = "native"
    """How datagrams go: as such (`native`) or in streams of their own (`quic`)."""
    alpn: tuple[str, ...] = ("h3",)
    sni: str | None = None
    insecure: bool = False
    """True if any certificate is accepted, or with `pinned` any that has it."""
    pinned: str | None = None
    """SHA-256 of the only certificate that is accepted, in hexadecimal."""
    tag: str | None = None
    udp: bool = True
    """True if UDP goes there; else it is refused here."""

    @property
    def label(self) -> str:
        """The server as logs name it."""
        return label("tuic", self.host, self.port, self.tag)

    @property
    def first_hop(self) -> tuple[str, int]:
        """As `Settings.first_hop`."""
        return self.host, self.port

    @classmethod
    def from_link(cls, link: Link) -> TUICServer:
        """As `Settings.from_link`."""
        parts = cut(link.rest)
        given = parts.user or ""
        user, password = parse_user("tuic", given if ":" in given else re.sub("%3a", ":", given, count=1, flags=re.I))
        if not user or password is None:
            raise LocalError(f"the tuic:// link has no UUID and password; it reads {_SHAPE}")
        host, port = parse_where("tuic", parts.where, _SHAPE, port=443)
        values = quic.parameters("tuic", parts.query, _KEYS)
        _one_of("version", values.get("version", "5"), ("5",))
        if yes_or_no("tuic", "disable_sni", values.get("disable_sni"), default=False):
            raise LocalError("disable_sni in a tuic:// link is not supported: an address as sni has the same effect")
        return cls(
            host,
            port,
            str(user_id(user)),
            password,
            _one_of("congestion_control", values.get("congestion_control", "cubic"), CONTROLS),
            _one_of("udp_relay_mode", values.get("udp_relay_mode", "native"), MODES),
            quic.protocols("alpn", tuple(filter(None, values.get("alpn", "h3").split(",")))),
            quic.server_name("sni", values.get("sni")),
            is_insecure("tuic", values),
            quic.fingerprint("pinSHA256", values.get("pinSHA256")),
            parts.tag,
            yes_or_no("tuic", "udp", values.get("udp"), default=True),
        )

    @classmethod
    def from_clash(cls, entry: ClashEntry) -> TUICServer:
        """As `Settings.from_clash`."""
        if entry.value("token"):
            raise LocalError("token is TUIC's version 4, which is not supported; version 5 has uuid and password")
        user, password = entry.required("uuid", "password")
        host, port = entry.where()
        if entry.flag("disable-sni"):
            raise LocalError("disable-sni is not supported")
        # How clients pace, wait and open; the server takes all of it.
        for key in ("heartbeat-interval", "reduce-rtt", "request-timeout", "max-udp-relay-packet-size", "fast-open"):
            entry.value(key)
        for key in ("max-open-streams", "cwnd", "recv-window", "recv-window-conn", "disable-mtu-discovery"):
            entry.value(key)
        pinned = quic.fingerprint("fingerprint", entry.text("fingerprint"))
        return cls(
            host,
            port,
            str(user_id(user)),
            password,
            _one_of("congestion-controller", entry.text("congestion-controller") or "cubic", CONTROLS),
            _one_of("udp-relay-mode", entry.text("udp-relay-mode") or "native", MODES),
            quic.protocols("alpn", quic.texts("alpn", entry.value("alpn")) or ("h3",)),
            quic.server_name("sni", entry.text("sni")),
            # Clash's fingerprint stands for an authority's word.
            entry.flag("skip-cert-verify") or pinned is not None,
            pinned,
            entry.name,
            entry.flag("udp", default=True),
        )

    def to_link(self) -> str:
        """As `Settings.to_link`."""
        values = {
            "congestion_control": self.congestion_control if self.congestion_control != "cubic" else None,
            "udp_relay_mode": self.udp_relay_mode if self.udp_relay_mode != "native" else None,
            "alpn": ",".join(self.alpn) if self.alpn != ("h3",) else None,
            "sni": self.sni,
            "allow_insecure": "1" if self.insecure else None,
            "pinSHA256": self.pinned,
            "udp": None if self.udp else "no",
        }
        options = format_options({key: value for key, value in values.items() if value})
        where = format_where(self.host, self.port)
        return f"tuic://{self.user}:{quote(self.password, safe='')}@{where}{options}{format_tag(self.tag)}"

    def outbound(self, context: OutboundContext) -> Outbound:
        """As `Settings.outbound`. Raises LocalError."""
        quic.need_aioquic(self.label)

        def machine(largest: int) -> SessionMachine:
            from tunflow.protocols.quic.session import QUICMachine, QUICPeer  # noqa: PLC0415 (aioquic)
            from tunflow.protocols.tuic.dialect import TUICDialect  # noqa: PLC0415

            congestion = "reno" if self.congestion_control == "new_reno" else "cubic"
            peer = QUICPeer(self.sni or self.host, self.alpn, self.insecure, self.pinned, congestion)
            dialect = TUICDialect(user_id(self.user).bytes, self.password, by_streams=self.udp_relay_mode == "quic")
            return QUICMachine(peer, dialect, largest)

        def stream_to(target: Endpoint) -> StreamCodec:
            from tunflow.protocols.tuic.commands import connect  # noqa: PLC0415 (with the first flow)

            return connect(target)

        server = endpoint(self.host, self.port)
        session = MachineSession(self.label, server, self.to_link(), machine, stream_to, datagrams=self.udp)
        return context.session_keeper(self.label).over_datagrams(session, context.below)


SETTINGS = TUICServer


def _one_of(key: str, text: str, accepted: tuple[str, ...]) -> str:
    if text not in accepted:
        raise LocalError(f"{key} is one of {', '.join(accepted)}, not {printable(text)!r}")
    return text
