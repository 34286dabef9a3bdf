"""A login page in the way to the network (a captive portal), and by what it is told. Pure.

Whoever asks for a page that is known to say nothing gets something else: a redirect, a page, a demand to log in. Or
the network says itself that it has a login page (DHCP option 114, IPv6 router advertisements), and where to ask
whether it is in the way. Or its resolver has one answer for every name, which is an address of its own.

Read first: RFC 8910 (the option), RFC 8908 (the API and its JSON), RFC 6585 §6 (status 511).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum

from tunflow.addresses import ip_address
from tunflow.errors import BadPacket
from tunflow.single_values import json_value
from tunflow.urls import NotAURL, parse_web_address

CAPTIVE = "captive"
"""What `tunflow status` says of a tunnel that waits for a login."""

WEB_PORTS = (80, 443, 8080, 8443)
"""Where login pages live that do not say otherwise."""

_SUCCESS = ("success", "networkmanager is online")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LONGEST_URL = 2048


class PortalSign(Enum):
    """How a login page was noticed."""

    OPTION = "the network says so"
    ANSWER = "it answered for another page"
    NAMES = "it says that every name is its own"


@dataclass(frozen=True, slots=True)
class Portal:
    """A login page that is in the way."""

    url: str
    """Where it is, or what is answered by it: http:// or https://."""
    sign: PortalSign

    @property
    def line(self) -> str:
        """For people, and what to do."""
        return f"this network wants a login first ({self.url}): tunflow portal opens its page, and nothing else"


@dataclass(frozen=True, slots=True)
class PageAnswer:
    """What a web server answered; header names in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def is_clean(answer: PageAnswer) -> bool:
    """Return True if that is what a page of `tunnel.portal_probes` says where nothing is in the way."""
    if answer.status == 204:
        return True
    text = answer.body.decode("ascii", "replace").strip().lower()
    return answer.status == 200 and (text.startswith(_SUCCESS) or "<title>success</title>" in text)


def portal_of(url: str, answer: PageAnswer) -> Portal | None:
    """The login page that answered for `url`; None where nothing is in the way, or nobody knows."""
    if is_clean(answer):
        return None
    if answer.status in _REDIRECTS:
        target = redirect_untrusted(url, answer)
        return None if target is None else Portal(target, PortalSign.ANSWER)
    return Portal(url, PortalSign.ANSWER) if answer.status in {200, 401, 403, 511} else None


def redirect_untrusted(url: str, answer: PageAnswer) -> str | None:
    """Where an answer to `url` leads to; None for nowhere. Relative ones too (RFC 9110 §10.2.2)."""
    target = answer.headers.get("location", "")
    if answer.status not in _REDIRECTS or not 0 < len(target) <= _LONGEST_URL:
        return None
    with suppress(NotAURL):
        base = parse_web_address(url)
        root = f"{base.scheme}://{base.where}"
        if target.startswith("//"):
            target = f"{base.scheme}:{target}"
        elif target.startswith("/"):
            target = root + target
        elif "://" not in target:
            target = f"{root}{base.path.rpartition('/')[0]}/{target}"
        parse_web_address(target.partition("#")[0])
        return target
    return None


def portal_of_api_untrusted(body: bytes) -> str | None:
    """The login page's address that a network's API names while it is in the way; None if it is not; "" for no address.

    Raises BadPacket (RFC 8908 §5: `captive` is required, `user-portal-url` is not).
    """
    try:
        said = json_value(body)
    except ValueError:
        raise BadPacket("not JSON") from None
    if not isinstance(said, dict) or not isinstance(said.get("captive"), bool):
        raise BadPacket("no `captive` that is true or false")
    if not said["captive"]:
        return None
    url = said.get("user-portal-url", "")
    with suppress(NotAURL):
        if isinstance(url, str) and url:
            parse_web_address(url.partition("#")[0])
            return url
    return ""


def all_point_home(answers: Mapping[str, Sequence[str]]) -> bool:
    """Return True if names that have nothing to do with each other (two at least) have one and the same address, and
    that is one of a private network."""
    found = [set(addresses) for addresses in answers.values()]
    if len(found) < 2 or any(each != found[0] for each in found) or not found[0]:
        return False
    with suppress(ValueError):
        return all(ip_address(text).is_private for text in found[0])
    return False
