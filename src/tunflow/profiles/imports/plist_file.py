"""A configuration profile's bytes made into its dictionary: a property list, plain or wrapped in a signature. Pure.

Entities are refused by plistlib, so nothing in XML grows; a signed one is CMS in DER (RFC 5652 §5.1), of which only the
content is taken here; `plist_signature` finds out who signed it.
"""

from __future__ import annotations

import plistlib
from typing import Any, NamedTuple
from xml.parsers.expat import ExpatError

from tunflow.errors import BadPacket
from tunflow.single_values import put

SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")
"""The object identifier 1.2.840.113549.1.7.2 in DER (RFC 5652 §5.1)."""
DATA = bytes.fromhex("06092a864886f70d010701")
"""1.2.840.113549.1.7.1 (RFC 5652 §4)."""
_SEQUENCE, _SET, _OCTETS, _OCTETS_IN_PARTS, _EXPLICIT = 0x30, 0x31, 0x04, 0x24, 0xA0
_DEEPEST = 8
_FAILURES = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError, ExpatError)
"""What plistlib raises for what is no property list (it documents InvalidFileException, a ValueError, alone)."""


class PlistFile(NamedTuple):
    """What was read."""

    content: dict[str, Any]
    is_signed: bool


class _Dictionary(dict[str, Any]):
    """Takes a key once: plistlib would take the last of its values. Raises TwoValues."""

    def __setitem__(self, key: str, value: Any) -> None:
        put(self, key, value)


def looks_like_mobileconfig(content: bytes) -> bool:
    """Return True if it looks like a configuration profile, signed or not."""
    if is_signed(content):
        return b"PayloadType" in content or b"bplist00" in content
    return content.startswith((b"bplist00", b"<?xml", b"\xef\xbb\xbf<?xml", b"<plist")) and b"PayloadType" in content


def is_signed(content: bytes) -> bool:
    """Return True if it is CMS signed data in DER."""
    return content[:1] == bytes([_SEQUENCE]) and SIGNED_DATA in content[:24]


def plist_file_untrusted(content: bytes) -> PlistFile:
    """A configuration profile's dictionary. Raises BadPacket."""
    signed = is_signed(content)
    try:
        data = plistlib.loads(_content_untrusted(content) if signed else content, dict_type=_Dictionary)
    except _FAILURES as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise BadPacket(f"is no property list: {reason[:120]}") from None
    if not isinstance(data, dict):
        raise BadPacket("is a property list, but no configuration profile: it is no dictionary")
    return PlistFile(data, signed)


def _content_untrusted(message: bytes) -> bytes:
    """What a signature is about (RFC 5652 §5.1, §5.2). Raises BadPacket."""
    tag, info, _ = _element(message, 0)
    _, oid, after = _element(info, 0)
    if tag != _SEQUENCE or not SIGNED_DATA.endswith(oid) or len(oid) != 9:
        raise BadPacket("is no signed data")
    _, explicit, _ = _element(info, after)
    _, signed, _ = _element(explicit, 0)
    _, _, at = _element(signed, 0)  # version
    _, _, at = _element(signed, at)  # digest algorithms
    _, inner, _ = _element(signed, at)
    _, oid, after = _element(inner, 0)
    if not DATA.endswith(oid) or after >= len(inner):
        raise BadPacket("is signed, and does not hold what was signed")
    tag, explicit, _ = _element(inner, after)
    if tag != _EXPLICIT:
        raise BadPacket("is signed, and does not hold what was signed")
    return _octets(explicit, 0)


def _octets(data: bytes, depth: int) -> bytes:
    """An octet string, in one part or in several. Raises BadPacket."""
    tag, value, _ = _element(data, 0)
    if tag == _OCTETS:
        return value
    if tag != _OCTETS_IN_PARTS or depth >= _DEEPEST:
        raise BadPacket("is signed, and what was signed is no octet string")
    parts, at = [], 0
    while at < len(value):
        part_tag, part, following = _element(value, at)
        parts.append(part if part_tag == _OCTETS else _octets(value[at:following], depth + 1))
        at = following
    return b"".join(parts)


def _element(data: bytes, at: int) -> tuple[int, bytes, int]:
    """The tag and content of a DER element, and where the next begins (ITU-T X.690 §8.1). Raises BadPacket."""
    if at + 2 > len(data):
        raise BadPacket("is signed, and cut off")
    size, start = data[at + 1], at + 2
    if size == 0x80:
        raise BadPacket("is signed in BER of an open length, which is not read: sign it again, or remove the signature")
    if size > 0x80:
        count = size & 0x7F
        start += count
        size = int.from_bytes(data[at + 2 : start], "big")
        if count > 4:
            raise BadPacket("is signed, with a length that no file has")
    end = start + size
    if end > len(data):
        raise BadPacket("is signed, and cut off")
    return data[at], data[start:end], end
