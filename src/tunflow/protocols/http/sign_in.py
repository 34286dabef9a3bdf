"""Checks that a client of ours shows the user name and password that it must.

Read first: RFC 7617 §2 (Basic). Rules: both are compared whatever the first says, so that the time tells nothing.
"""

from __future__ import annotations

import hmac
from base64 import b64decode

Known = tuple[str, str]
"""User name and password."""


def is_known(known: Known, user: bytes, password: bytes) -> bool:
    """Return True if they are the ones in `known`."""
    return hmac.compare_digest(user, known[0].encode()) & hmac.compare_digest(password, known[1].encode())


def is_known_basic(known: Known, value: bytes) -> bool:
    """Return True if the value of a Proxy-Authorization header shows what is in `known`."""
    scheme, _, code = value.strip().partition(b" ")
    if scheme.lower() != b"basic":
        return False
    try:
        user, _, password = b64decode(code.strip()).partition(b":")
    except ValueError:
        return False
    return is_known(known, user, password)
