"""What the server says after the keys, and what each message makes happen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tunflow.protocols.openvpn.control_message import (
    PushReply,
    dynamic_challenge_untrusted,
    messages_untrusted,
    pending_challenge_untrusted,
    pending_seconds_untrusted,
    push_update_untrusted,
)
from tunflow.protocols.openvpn.events import Asked, Connected, Ended, Event, Said, Updated
from tunflow.protocols.openvpn.settings import OpenVPNSettings
from tunflow.protocols.openvpn.tunnel_options import TunnelOptions

LONGEST_PENDING = 1800.0
"""Seconds that a server may let a user take."""
LONGEST_PAUSE = 3600.0


class ServerMessages:
    """The messages of one connection."""

    def __init__(self, settings: OpenVPNSettings) -> None:
        self.options = settings.tunnel
        self._settings = settings
        self._push = PushReply(settings.tunnel, self._filters())

    def _filters(self) -> tuple[tuple[str, str], ...]:
        filters = self._settings.pull_filters
        if self._settings.pulls_routes:
            return filters
        names = ("route", "redirect", "dhcp-option", "dns ", "block-ipv6")  # openvpn(8), route-nopull
        return (*filters, *(("ignore", name) for name in names))

    def credentials(self) -> tuple[str, str]:
        """Username and password for a key message: the token, once the server has given one, now or earlier."""
        settings, options = self._settings, self.options
        if options.auth_token:
            return options.auth_token_user or settings.token_user or settings.username, options.auth_token
        if settings.token:
            return settings.token_user or settings.username, settings.token
        return settings.username, settings.password

    def with_defaults(self, options: TunnelOptions, cipher: str, ping_restart: float) -> TunnelOptions:
        """The options with what nobody said."""
        restart = options.ping_restart or (0.0 if options.ping_exit or not self._settings.pull else ping_restart)
        return replace(options, cipher=cipher, ping_restart=restart)

    def take_untrusted(self, record: bytes, connected: bool) -> Iterator[Event | float]:
        """What the messages in a record make happen; a number is how many seconds more it may take to connect.

        Raises BadPacket for a message that makes no sense.
        """
        for message in messages_untrusted(record):
            event = self._event_untrusted(message, connected)
            if event is not None:
                yield event

    def _event_untrusted(self, message: str, connected: bool) -> Event | float | None:
        kind = message.partition(",")[0]
        if kind == "PUSH_REPLY":
            if connected:  # again, as our request had crossed it; or another token, after a renegotiation
                return self._new_token_untrusted(message)
            options = self._push.add_untrusted(message)
            return None if options is None else Connected(options, "")
        if kind == "PUSH_UPDATE":
            if not connected:
                return None
            self.options = push_update_untrusted(self.options, message)
            return Updated(self.options)
        if kind == "AUTH_FAILED":
            return self._refused_untrusted(message.partition(",")[2])
        if kind == "AUTH_PENDING":
            return min(pending_seconds_untrusted(message) or self._settings.hand_window, LONGEST_PENDING)
        if kind in {"INFO", "INFO_PRE"}:
            challenge = pending_challenge_untrusted(message)
            return Asked(challenge) if challenge else Said(f"the server says: {message.partition(',')[2][:300]}")
        if kind in {"RESTART", "HALT", "EXIT"}:
            reason = message.partition(",")[2][:300]
            what = "ends the connection" if kind == "HALT" else "restarts"
            return Ended(
                f"the server {what}{f': {reason}' if reason else ''}", kind == "HALT", None, 1.0, "[N]" not in reason
            )
        return Said(f"the server says {message[:100]!r}, which means nothing here")

    def _refused_untrusted(self, reason: str) -> Ended:
        """The server's AUTH_FAILED. Raises BadPacket."""
        challenge = dynamic_challenge_untrusted(reason)
        if challenge is not None:
            return Ended("the server asks a question", False, challenge, 0.0, True)
        if reason.startswith("TEMP"):
            flags, _, words = reason[4:].partition(":")
            pause = 5.0
            for flag in flags.strip("[]").split(","):
                key, _, value = flag.strip().partition(" ")
                if key == "backoff" and value.isascii() and value.isdigit() and len(value) < 7:
                    pause = min(float(value), LONGEST_PAUSE)
            return Ended(f"the server refuses for now{f': {words[:300]}' if words else ''}", False, None, pause, True)
        has_token = bool(self.options.auth_token or self._settings.token)
        said = f": {reason[:300]}" if reason else ": username, password or certificate"
        again = has_token or self._settings.retries_auth
        return Ended(f"the server refuses the login{said}", not again, None, 1.0, True, has_token)

    def _new_token_untrusted(self, message: str) -> Updated | None:
        """The options with the token that a server pushes to who is connected. Raises BadPacket."""
        options = PushReply(self.options, self._filters()).add_untrusted(message)
        if options is None or options.auth_token == self.options.auth_token:
            return None
        self.options = replace(self.options, auth_token=options.auth_token, auth_token_user=options.auth_token_user)
        return Updated(self.options)
