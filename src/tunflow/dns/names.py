"""Domain names: as they stand in messages (labels with their lengths) and as people write them.

Rules: wire names here are uncompressed and end with the root label; text is lower case, without the last dot, with
`\\DDD` for what no host name has (RFC 1035 §5.1). Read first: RFC 1035 §3.1, §4.1.4 (compression), RFC 2181 §11.
"""

from __future__ import annotations

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket, LocalError
from tunflow.numbers import whole_number

MAX_NAME = 255
"""Bytes of a name on the wire (RFC 1035 §2.3.4)."""
MAX_LABEL = 63
MAX_JUMPS = 128
"""Compression pointers in one name: no name has more labels, and each pointer stands for one at least."""

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_*")


def name_untrusted(message: Buffer, at: int) -> bytes:
    """The name that starts at `at`, with its pointers followed. Raises BadPacket.

    A pointer must lead backwards, to before the label sequence that holds it (RFC 1035 §4.1.4: "a prior occurrence"):
    so there is no loop.
    """
    labels = bytearray()
    start = at
    jumps = 0
    while True:
        if at >= len(message):
            raise BadPacket("DNS name is cut off")
        length = message[at]
        if length == 0:
            labels.append(0)
            return bytes(labels)
        if length & 0xC0 == 0xC0:
            if at + 1 >= len(message):
                raise BadPacket("DNS name is cut off")
            target = (length & 0x3F) << 8 | message[at + 1]
            jumps += 1
            if target >= start or jumps > MAX_JUMPS:
                raise BadPacket("DNS compression pointer does not lead backwards")
            start = at = target
            continue
        if length & 0xC0:
            raise BadPacket(f"DNS label of type {length >> 6}")
        end = at + 1 + length
        if end > len(message):
            raise BadPacket("DNS name is cut off")
        labels += message[at:end]
        if len(labels) >= MAX_NAME:
            raise BadPacket("DNS name of more than 255 bytes")
        at = end


def text_of(name: bytes) -> str:
    """A wire name as people write it; the root is the empty text. Raises BadPacket for a name with a pointer in it."""
    labels: list[str] = []
    at = 0
    while name[at]:
        if name[at] > MAX_LABEL:
            raise BadPacket("DNS name with a pointer where none can be")
        end = at + 1 + name[at]
        label = name[at + 1 : end].lower()
        if _PLAIN.issuperset(label):
            labels.append(label.decode())
        else:
            labels.append("".join(chr(byte) if byte in _PLAIN else f"\\{byte:03}" for byte in label))
        at = end
    return ".".join(labels)


def wire_of(text: str) -> bytes:
    """The wire name of a host name, in lower case; other alphabets go as IDNA. Raises LocalError."""
    text = text.removesuffix(".")
    if not text:
        return b"\0"
    labels = bytearray()
    for label in text.lower().split("."):
        try:
            raw = label.encode("ascii") if label.isascii() else label.encode("idna")
        except UnicodeError as error:
            raise LocalError(f"{text!r} is no host name: {error}") from error
        if not 0 < len(raw) <= MAX_LABEL:
            raise LocalError(f"{text!r} is no host name: a label has 1 to 63 letters")
        labels.append(len(raw))
        labels += raw
    labels.append(0)
    if len(labels) > MAX_NAME:
        raise LocalError(f"{text!r} is no host name: it has more than 255 letters")
    return bytes(labels)


def reverse_address(name: bytes) -> bytes | None:
    """The packed address that a name under `in-addr.arpa` or `ip6.arpa` asks about (RFC 1035 §3.5, RFC 3596 §2.5)."""
    labels = text_of(name).split(".")
    try:
        if labels[-2:] == ["in-addr", "arpa"] and len(labels) == 6:
            return bytes(whole_number(label, 255) for label in reversed(labels[:4]))
        if labels[-2:] == ["ip6", "arpa"] and len(labels) == 34 and all(len(label) == 1 for label in labels[:32]):
            return bytes.fromhex("".join(reversed(labels[:32])))
    except ValueError:
        pass
    return None
