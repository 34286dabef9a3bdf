"""What of a profile may be shown: everything but what opens a door."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlunsplit

from tunflow.errors import LocalError
from tunflow.protocols.registry import parse_server
from tunflow.urls import NotAURL, parse_url

HIDDEN = "(hidden)"
FREE_TABLES = frozenset({"provider_configuration"})
"""Tables whose meaning only a provider knows: any text in them may be a secret."""


def redacted(value: Any, hide_text: bool = False) -> Any:
    """A profile's data with no password, token or key in it."""
    if isinstance(value, Mapping):
        return {key: redacted(each, hide_text or key in FREE_TABLES) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(each, hide_text) for each in value]
    if not isinstance(value, str):
        return value
    return HIDDEN if hide_text else redacted_link(value) if "://" in value else value


def redacted_link(link: str) -> str:
    """A link without its user, password and query."""
    try:
        return parse_server(link).label
    except LocalError:
        pass
    try:
        parts = parse_url(link)
    except NotAURL:
        return HIDDEN
    return urlunsplit((parts.scheme, parts.where, parts.path, HIDDEN if parts.query else "", ""))
