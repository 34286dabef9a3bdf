"""A file of a protocol's own (OpenVPN's, wg-quick's, anybody's) as what a profile says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunflow.errors import LocalError
from tunflow.profiles.server_keys import server_keys
from tunflow.profiles.server_link import ServerLink
from tunflow.protocols.registry import server_of_file


def keys_of_file(
    content: bytes, name: str, read: Callable[[str], bytes], expected: str | None = None
) -> dict[str, Any] | None:
    """The profile's keys for a file, as `registry.server_of_file`. Raises LocalError with its line."""
    server = server_of_file(content, name, read, expected)
    return None if server is None else server_keys([ServerLink(server.to_link(), server)])


def read_file(path: Path) -> bytes:
    """A file that another names. Raises LocalError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}") from None
