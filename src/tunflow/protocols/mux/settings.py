"""How flows are to share a server's connections, as links (`mux=…`) and Clash entries (`smux`) say it.

Read first: sing-box's documentation, "Multiplex"; mihomo's, "sing-mux"; Xray's, "OutboundObject", `mux`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tunflow.endpoint import Endpoint
from tunflow.errors import LocalError
from tunflow.numbers import NotANumber, whole_number
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.link import printable, yes_or_no

COOL = "mux.cool"
COOL_TARGET = Endpoint("v1.mux.cool", 9527)
"""Where a stream for mux.cool goes, by protocols that have no command for it."""
PROTOCOLS = ("h2mux", "smux", "yamux", COOL)
LINK_KEYS = ("mux", "mux-streams", "mux-connections", "mux-min-streams", "mux-padding", "mux-udp")
USUAL_STREAMS = 8
"""Flows of a connection where nobody said how many: with more, one lost packet holds up too many."""
MOST_STREAMS = 256
"""Flows of a connection at most, whatever was asked for."""
_MOST_CONNECTIONS = 64
_OFF = ("0", "no", "false", "off", "none")


@dataclass(frozen=True, slots=True)
class Mux:
    """What was asked for; `protocol` is one of `PROTOCOLS`, and the server must know it."""

    protocol: str
    streams: int = 0
    """Flows in a connection, behind which another one is begun; 0 for `USUAL_STREAMS`, or where `connections` says."""
    connections: int = 0
    """Connections at most, between which flows are spread; 0 for as many as `streams` makes of them."""
    min_streams: int = 0
    """Flows in each connection before another one is begun, where `connections` are limited."""
    padding: bool = False
    """True if the first messages of a connection are padded, which its server may insist on."""
    udp: bool = True
    """True if UDP goes there, too; else as without this. In mux.cool it never does."""

    @property
    def most(self) -> int:
        """Flows in a connection."""
        if self.connections:
            return MOST_STREAMS
        return self.streams or USUAL_STREAMS


def from_query(scheme: str, values: Mapping[str, str], *, listening: bool) -> Mux | None:
    """What a link's parameters ask for; None for nothing. Raises LocalError."""
    protocol = values.get("mux", "none").lower()
    if protocol in _OFF:
        if left := next((key for key in LINK_KEYS[1:] if key in values), None):
            raise LocalError(f"{left} of the {scheme}:// link goes with mux={'|'.join(PROTOCOLS)}")
        return None
    if listening:
        raise LocalError(f"mux of a {scheme}:// link is for clients: serve takes a connection for each flow")
    numbers = {key: values.get(key) for key in LINK_KEYS[1:4]}
    udp = yes_or_no(scheme, "mux-udp", values.get("mux-udp"), default=True)
    padding = yes_or_no(scheme, "mux-padding", values.get("mux-padding"), default=False)
    try:
        return _checked(protocol, numbers, padding=padding, udp=udp)
    except LocalError as error:
        raise LocalError(f"the {scheme}:// link: {error}") from None


def to_query(mux: Mux | None) -> dict[str, str]:
    """The parameters of a link."""
    if mux is None:
        return {}
    values = {
        "mux": mux.protocol,
        "mux-streams": str(mux.streams or ""),
        "mux-connections": str(mux.connections or ""),
        "mux-min-streams": str(mux.min_streams or ""),
        "mux-padding": "yes" if mux.padding else "",
        "mux-udp": "" if mux.udp or mux.protocol == COOL else "no",
    }
    return {key: value for key, value in values.items() if value}


def from_clash(entry: ClashEntry) -> Mux | None:
    """What an entry asks for; None for nothing. Raises LocalError."""
    options = entry.table("smux")
    protocol, padding = options.text("protocol") or PROTOCOLS[0], options.flag("padding")
    names = ("max-streams", "max-connections", "min-streams")
    numbers = dict(zip(LINK_KEYS[1:4], (options.text(name) for name in names), strict=True))
    udp = not options.flag("only-tcp")
    if not options.flag("enabled"):
        return None
    try:
        return _checked(protocol, numbers, padding=padding, udp=udp)
    except LocalError as error:
        raise LocalError(f"smux: {error}") from None


def _checked(protocol: str, numbers: Mapping[str, str | None], *, padding: bool, udp: bool) -> Mux:
    """Raises LocalError."""
    if protocol not in PROTOCOLS:
        raise LocalError(f"mux {printable(protocol)} is not supported; {', '.join(PROTOCOLS)} are")
    made = []
    for (key, text), limit in zip(numbers.items(), (65535, _MOST_CONNECTIONS, 65535), strict=True):
        try:
            made.append(whole_number(text or "0", limit))
        except NotANumber:
            raise LocalError(f"{key} is a number from 0 to {limit}, not {printable(text or '')!r}") from None
    if protocol == COOL:
        if padding or any(made[1:]):
            raise LocalError(f"{COOL} has no padding and no number of connections")
        udp = False
    streams = min(made[0], MOST_STREAMS)
    return Mux(protocol, streams, made[1], min(made[2], MOST_STREAMS), padding, udp)
