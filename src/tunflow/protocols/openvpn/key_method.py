"""Key method 2: the first message inside TLS, each way: random bytes, options, and from a client its credentials.

Strings stand behind 16 bits of length that count a closing NUL.
Read first: openvpn-rfc, "Key method 2"; "IV_PROTO".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntFlag

from tunflow.errors import BadPacket
from tunflow.protocols.openvpn.key_derivation import KeySource

LARGEST_TEXT = 8192
"""Bytes of any one string."""
_METHOD = 2
_LENGTH = struct.Struct("!H")
_PRE_MASTER, _RANDOM = 48, 32


class Abilities(IntFlag):
    """IV_PROTO: what an end can do."""

    DATA_V2 = 1 << 1
    REQUEST_PUSH = 1 << 2
    TLS_EXPORT = 1 << 3
    AUTH_PENDING = 1 << 4
    CONTROL_EXIT = 1 << 7
    AUTH_FAILED_TEMPORARY = 1 << 8
    DYNAMIC_TLS_CRYPT = 1 << 9
    EPOCH_DATA = 1 << 10
    DNS_OPTION = 1 << 11
    PUSH_UPDATE = 1 << 12


@dataclass(frozen=True, slots=True)
class KeyMessage:
    """One end's message."""

    source: KeySource
    options: str
    username: str = ""
    password: str = field(default="", repr=False)
    peer_info: Mapping[str, str] = field(default_factory=dict)

    def pack(self) -> bytes:
        """As it is sent inside TLS."""
        source = self.source
        pieces = [bytes(4), bytes([_METHOD]), source.pre_master, source.random1, source.random2, _string(self.options)]
        pieces += [_string(self.username), _string(self.password)]
        if self.peer_info:
            pieces.append(_string("".join(f"{key}={value}\n" for key, value in self.peer_info.items())))
        return b"".join(pieces)


def key_message_untrusted(data: bytes, *, from_client: bool) -> KeyMessage:
    """The message in a record. Raises BadPacket."""
    at = 5 + (_PRE_MASTER if from_client else 0)
    if len(data) < at + 2 * _RANDOM or data[4] & 0x0F != _METHOD:
        raise BadPacket("not a message of key method 2")
    pre_master = data[5:at]
    random1, random2 = data[at : at + _RANDOM], data[at + _RANDOM : at + 2 * _RANDOM]
    options, at = _string_untrusted(data, at + 2 * _RANDOM)
    texts = []
    for _ in range(3):
        text, at = _string_untrusted(data, at) if at < len(data) else ("", at)
        texts.append(text)
    info = dict(line.partition("=")[::2] for line in texts[2].splitlines() if "=" in line)
    return KeyMessage(KeySource(pre_master, random1, random2), options, texts[0], texts[1], info)


def abilities_of(peer_info: Mapping[str, str]) -> Abilities:
    """IV_PROTO in a peer's words; none when it is not there or no number."""
    text = peer_info.get("IV_PROTO", "")
    return Abilities(int(text)) if text.isascii() and text.isdigit() and len(text) < 10 else Abilities(0)


def ciphers_of(peer_info: Mapping[str, str]) -> Sequence[str]:
    """IV_CIPHERS in a peer's words."""
    return [name for name in peer_info.get("IV_CIPHERS", "").upper().split(":") if name]


def _string(text: str) -> bytes:
    if not text:
        return b"\0\0"
    data = text.encode() + b"\0"
    return _LENGTH.pack(len(data)) + data


def _string_untrusted(data: bytes, at: int) -> tuple[str, int]:
    if len(data) < at + 2:
        raise BadPacket("a string without its length")
    size = _LENGTH.unpack_from(data, at)[0]
    end = at + 2 + size
    if end > len(data) or size > LARGEST_TEXT:
        raise BadPacket("a string longer than its message")
    return data[at + 2 : end].partition(b"\0")[0].decode(errors="replace"), end
