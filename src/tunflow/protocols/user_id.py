"""A user's id as VLESS, VMess and TUIC have it: a UUID (RFC 9562 §4)."""

from __future__ import annotations

import re
from uuid import UUID

from tunflow.errors import LocalError

_FORM = re.compile(r"[0-9a-f]{8}(-?)[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


def user_id(text: str) -> UUID:
    """The id, also where it is written without hyphens. Raises LocalError, which does not repeat the text.

    Python's own reader takes `0x`, `_`, braces and every alphabet's digits, which no server does.
    """
    if not _FORM.fullmatch(text):
        raise LocalError("the user id is no UUID, as in 01234567-89ab-cdef-0123-456789abcdef")
    return UUID(text)
