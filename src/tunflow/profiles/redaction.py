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
        if isinstance(subscription := value.get("subscription"), Mapping) and not hide_text:
            value = {**value, "subscription": {**subscription, "url": _host_only(str(subscription.get("url")))}}
        if isinstance(lists := value.get("server_lists"), Mapping) and not hide_text:
            shown = {
                name: {**each, "url": _host_only(str(each.get("url")))} if isinstance(each, Mapping) else each
                for name, each in lists.items()
            }
            value = {**value, "server_lists": shown}
        if isinstance(api := value.get("api"), Mapping) and "secret" in api and not hide_text:
            value = {**value, "api": {**api, "secret": HIDDEN}}
        found = {key: redacted(each, hide_text or key in FREE_TABLES) for key, each in value.items()}
        if isinstance(dns := value.get("dns"), Mapping) and not hide_text:
            found["dns"] = _resolvers_shown(dns)
        return found
    if isinstance(value, list | tuple):
        return [redacted(each, hide_text) for each in value]
    if not isinstance(value, str):
        return value
    return HIDDEN if hide_text else redacted_link(value) if "://" in value else value


def _resolvers_shown(value: Any) -> Any:
    """`[dns]` but for what stands behind `?`: a resolver's name and its way (`NAME@…#SERVER`) are no secrets."""
    if isinstance(value, Mapping):
        return {key: _resolvers_shown(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_resolvers_shown(each) for each in value]
    if not isinstance(value, str) or "://" not in value or "?" not in value:
        return value
    address, _, more = value.partition("?")
    return f"{address}?{HIDDEN}{more[more.index('#') :] if '#' in more else ''}"


def _host_only(address: str) -> str:
    """A subscription's address, whose path is often its key."""
    try:
        parts = parse_url(address)
    except NotAURL:
        return HIDDEN
    return f"{parts.scheme}://{parts.where}/{HIDDEN}"


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
