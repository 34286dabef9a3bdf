"""Signatures of files that are fetched: minisign's, checked with a public key that somebody brought along.

Source: minisign's documentation (jedisct1.github.io/minisign, "Signature format"). A key is base64 of `Ed`, 8 bytes of
its number and the Ed25519 key (RFC 8032). A signature is four lines: a comment, base64 of the algorithm, the key's
number and the signature, a comment that is signed, and base64 of the signature of both. The algorithm `ED` signs the
file's BLAKE2b-512 (RFC 7693), `Ed` the file itself.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode
from dataclasses import dataclass

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from tunflow.errors import BadPacket
from tunflow.urls import parse_url

SUFFIX = ".minisig"
LARGEST_SIGNATURE = 4096
"""Bytes of a signature's file."""
_TRUSTED = "trusted comment: "


@dataclass(frozen=True, slots=True)
class MinisignKey:
    """A public key. Raises ValueError for text that is none."""

    number: bytes
    key: bytes

    @classmethod
    def of(cls, text: str) -> MinisignKey:
        """From base64, as `minisign -G` prints it. Raises ValueError."""
        try:
            data = b64decode(text, validate=True)
        except ValueError:
            data = b""
        if len(data) != 42 or data[:2] != b"Ed":
            raise ValueError("no minisign key")
        return cls(data[2:10], data[10:])

    def check_untrusted(self, content: bytes, signature: bytes) -> str:
        """Return the comment that is signed with the content. Raises BadPacket unless this key signed both."""
        algorithm, number, signed, comment, comment_signed = _parts_untrusted(signature)
        if number != self.number:
            raise BadPacket("it is signed by another key")
        verifier = VerifyKey(self.key)
        try:
            verifier.verify(hashlib.blake2b(content).digest() if algorithm == b"ED" else content, signed)
            verifier.verify(signed + comment.encode(), comment_signed)
        except (BadSignatureError, ValueError):
            raise BadPacket("the signature is not of this content") from None
        return comment


def signature_address(url: str) -> str:
    """Where the signature of what a URL holds is: beside it."""
    parts = parse_url(url)
    return url[: len(url) - len(parts.query) - 1] + f"{SUFFIX}?{parts.query}" if parts.query else f"{url}{SUFFIX}"


def _parts_untrusted(signature: bytes) -> tuple[bytes, bytes, bytes, str, bytes]:
    """Algorithm, the key's number, signature, comment, the comment's signature. Raises BadPacket."""
    if len(signature) > LARGEST_SIGNATURE:
        raise BadPacket("the signature is too long")
    try:
        lines = signature.decode().splitlines()
        first, last = (b64decode(lines[at], validate=True) for at in (1, 3))
        comment = lines[2]
    except (ValueError, IndexError):
        raise BadPacket("the signature is not minisign's") from None
    if len(first) != 74 or len(last) != 64 or first[:2] not in {b"Ed", b"ED"} or not comment.startswith(_TRUSTED):
        raise BadPacket("the signature is not minisign's")
    return first[:2], first[2:10], first[10:], comment.removeprefix(_TRUSTED), last
