"""What a client machine tells whoever runs it."""

from __future__ import annotations

from typing import NamedTuple

from tunflow.protocols.openvpn.control_message import Challenge
from tunflow.protocols.openvpn.tunnel_options import TunnelOptions


class Connected(NamedTuple):
    """Packets can be sent; the tunnel is as `options` say."""

    options: TunnelOptions
    description: str
    """TLS and ciphers, for a log."""


class Updated(NamedTuple):
    """The server changed its mind about the tunnel (PUSH_UPDATE)."""

    options: TunnelOptions


class Asked(NamedTuple):
    """The server wants an answer inside the session: `OpenVPNClient.answer`."""

    challenge: Challenge


class Said(NamedTuple):
    """A line for the user."""

    text: str


class Ended(NamedTuple):
    """It is over."""

    reason: str
    fatal: bool
    """True if to try again is of no use."""
    challenge: Challenge | None = None
    """A question whose answer is the next attempt's password."""
    pause: float = 0.0
    """Seconds that the server asks to wait before the next attempt."""
    keeps_remote: bool = False
    """True if the next attempt should be at the same place."""
    refuses_token: bool = False
    """True if it is the token of an earlier login that is not accepted, so that the password may be."""


Event = Connected | Updated | Asked | Said | Ended
"""One of these."""
