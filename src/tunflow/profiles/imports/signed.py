"""What was fetched is taken only if the right key signed it."""

from __future__ import annotations

from collections.abc import Callable

from tunflow.errors import BadPacket, RemoteError
from tunflow.profiles.imports.fetch import ServerReply
from tunflow.profiles.minisign import MinisignKey, signature_address


def check_signature(content: bytes, url: str, key: str, fetch: Callable[[str], ServerReply]) -> None:
    """Fetch the signature that is beside `url`, and check it with a minisign key. Raises RemoteError."""
    try:
        signature = fetch(signature_address(url)).content
    except RemoteError as error:
        raise RemoteError(f"its signature: {error}; what was there before stays") from None
    try:
        MinisignKey.of(key).check_untrusted(content, signature or b"")
    except BadPacket as error:
        raise RemoteError(f"{error}: it is not taken") from None
