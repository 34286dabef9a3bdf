"""An OpenVPN configuration as what a profile says: its provider, and the text with the files that it names inside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunflow.errors import LocalError
from tunflow.protocols.openvpn.config_file import looks_like_openvpn
from tunflow.protocols.openvpn.inline import with_files_inline
from tunflow.protocols.openvpn.settings_reader import settings_from_file

PROVIDER = "openvpn"


def is_openvpn_file(content: bytes) -> bool:
    """Whether a file looks like a configuration of OpenVPN's."""
    return looks_like_openvpn(content)


def provider_of_file(content: bytes, name: str, read: Callable[[str], bytes]) -> dict[str, Any]:
    """The profile's keys for a configuration. `read` gives the files that it names. Raises LocalError with its line."""
    settings_from_file(content, name, read)
    config = with_files_inline(content.decode("utf-8-sig"), read)
    return {"provider": PROVIDER, "provider_configuration": {"name": name, "config": config}}


def read_file(path: Path) -> bytes:
    """A file that a configuration names. Raises LocalError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}") from None
