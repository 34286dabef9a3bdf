"""What an import says besides the profile that it makes."""

from __future__ import annotations

from typing import NamedTuple


class ImportNotice(NamedTuple):
    """One line about a source: where, and what. Neither holds a password."""

    place: str
    reason: str
    is_lost: bool = True
    """True if the profile means something else without it; else it is only said."""
