"""Which texts name a profile's file and which a saved profile. Cheap to import: commands that read none ask this."""

from __future__ import annotations

from pathlib import Path

SUFFIX = ".toml"
FOREIGN_SUFFIXES = (".yaml", ".yml", ".ovpn", ".conf", ".json", ".json5", ".txt")
"""Of files that other programs read. What such a file is, its content says."""


def is_file_name(text: str) -> bool:
    """Return True for a text with / or .toml in it, and for the name of another program's file that is there."""
    if "/" in text or text.endswith(SUFFIX):
        return True
    return text.endswith(FOREIGN_SUFFIXES) and Path(text).exists()
