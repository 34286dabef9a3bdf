"""What server and client say to each other after the keys: strings that end with NUL.

Read first: openvpn-rfc, "Control channel messages"; openvpn's management-notes, "Challenge/Response".
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import replace
from typing import NamedTuple

from tunflow.errors import BadPacket
from tunflow.protocols.openvpn.tunnel_options import TunnelOptions, apply_untrusted, split_option

LARGEST_PUSH = 256 * 1024
"""Bytes of one push reply with all its continuations."""


class Challenge(NamedTuple):
    """A question for the user."""

    text: str
    echo: bool
    """True if the answer may be seen while it is typed."""
    needs_answer: bool
    state: str = ""
    """What goes back beside the answer to a dynamic challenge; "" for one that is answered inside the session."""
    username: str = ""


def messages_untrusted(record: bytes) -> list[str]:
    """The strings in a record; bytes that are no text are replaced."""
    return [part.decode(errors="replace") for part in record.split(b"\0") if part]


class PushReply:
    """A push reply that may come in several messages."""

    def __init__(self, before: TunnelOptions, ignored: tuple[tuple[str, str], ...] = ()) -> None:
        """`before` is what the configuration says; `ignored` are its `pull-filter`s: (action, prefix)."""
        self._before = before
        self._filters = ignored
        self._texts: list[str] = []
        self._size = 0

    def add_untrusted(self, message: str) -> TunnelOptions | None:
        """Take a `PUSH_REPLY,…`; what it makes of the tunnel once it is whole. Raises BadPacket."""
        self._size += len(message)
        if self._size > LARGEST_PUSH:
            raise BadPacket("a push reply that does not end")
        more = False
        for text in _options(message)[1:]:
            if text.startswith("push-continuation"):
                more = text.split()[-1] == "2"
            else:
                self._texts.append(text)
        if more:
            return None
        texts, self._texts, self._size = self._texts, [], 0
        options = self._before
        for text in texts:
            options = self._applied_untrusted(options, text)
        return options

    def _applied_untrusted(self, options: TunnelOptions, text: str) -> TunnelOptions:
        for action, prefix in self._filters:
            if text.startswith(prefix):
                if action == "accept":
                    break
                if action == "ignore":
                    return options
                raise BadPacket(f"{text[:60]}: a pull-filter rejects it")
        words = split_option(text)
        return apply_untrusted(options, words) if words else options


def push_update_untrusted(options: TunnelOptions, message: str) -> TunnelOptions:
    """The tunnel after a `PUSH_UPDATE,…`: each option there replaces what it said before, `-option` takes it away,
    `?option` need not be known. Raises BadPacket."""
    cleared: set[str] = set()
    for text in _options(message)[1:]:
        words = split_option(text)
        if not words or words[0] == "push-continuation":
            continue
        name = words[0].lstrip("-?")
        if name in _REPLACED and name not in cleared:
            options = _without(options, name)
            cleared.add(name)
        if not words[0].startswith("-"):
            options = apply_untrusted(options, [name, *words[1:]])
    return options


_REPLACED = {"route", "route-ipv6", "dns", "dhcp-option", "redirect-gateway", "ifconfig", "ifconfig-ipv6", "tun-mtu"}


def _without(options: TunnelOptions, name: str) -> TunnelOptions:
    default = TunnelOptions()
    if name in {"route", "route-ipv6"}:
        version = 6 if name == "route-ipv6" else 4
        return replace(
            options,
            included=tuple(each for each in options.included if each.version != version),
            excluded=tuple(each for each in options.excluded if each.version != version),
        )
    values = {
        "dns": {"dns": default.dns, "search": default.search, "match": default.match},
        "dhcp-option": {"dns": default.dns, "search": default.search},
        "redirect-gateway": {"redirect4": False, "redirect6": False},
        "ifconfig": {"local4": None, "second4": None},
        "ifconfig-ipv6": {"address6": None},
        "tun-mtu": {"mtu": 0},
    }[name]
    return replace(options, **values)  # type: ignore[arg-type]


def dynamic_challenge_untrusted(reason: str) -> Challenge | None:
    """The challenge in `AUTH_FAILED,CRV1:flags:state:user:text`; None for any other reason. Raises BadPacket."""
    if not reason.startswith("CRV1:"):
        return None
    parts = reason.split(":", 4)
    if len(parts) < 5:
        raise BadPacket("a challenge without its text")
    flags = parts[1].split(",")
    try:
        user = b64decode(parts[3], validate=True).decode()
    except ValueError:
        raise BadPacket("a challenge for a user's name that is not base64") from None
    return Challenge(parts[4], "E" in flags, "R" in flags, parts[2], user)


def pending_challenge_untrusted(message: str) -> Challenge | None:
    """The challenge in `INFO_PRE,CR_TEXT:flags:text`; None for any other message."""
    head, separator, rest = message.partition("CR_TEXT:")
    if not separator or head not in {"INFO_PRE,", "INFO,"}:
        return None
    flags, _, text = rest.partition(":")
    return Challenge(text, "E" in flags.split(","), "R" in flags.split(","))


def dynamic_answer(challenge: Challenge, answer: str) -> str:
    """The password that answers a dynamic challenge."""
    return f"CRV1::{challenge.state}::{answer}"


def static_answer(password: str, answer: str) -> str:
    """The password that holds the answer to a static challenge too."""
    return f"SCRV1:{b64encode(password.encode()).decode()}:{b64encode(answer.encode()).decode()}"


def pending_answer(answer: str) -> str:
    """The message that answers a challenge inside the session."""
    return f"CR_RESPONSE,{b64encode(answer.encode()).decode()}"


def pending_seconds_untrusted(message: str) -> float:
    """How long `AUTH_PENDING,timeout n` lets the user take; 0 when it does not say."""
    for word in _options(message)[1:]:
        key, _, value = word.partition(" ")
        if key == "timeout" and value.isascii() and value.isdigit() and len(value) < 7:
            return float(value)
    return 0.0


def _options(message: str) -> list[str]:
    """The parts between commas; a backslash before one keeps it in its part."""
    parts, part, escaped = [], "", False
    for character in message:
        if escaped:
            part += character if character in ",\\" else "\\" + character
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == ",":
            parts.append(part)
            part = ""
        else:
            part += character
    return [*parts, part]
