"""The pages that blocked clients of a profile's filter are shown: why, and where one may ask for access."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol
from urllib.parse import quote

from tunflow.dataplane.filtering.session import Verdict
from tunflow.filter.judge import Cause, Ruling
from tunflow.filter.page import PageFacts, block_page
from tunflow.filter.page_text import PageText, text_for
from tunflow.profiles.sections.filter import FilterSection
from tunflow.providers.content_filter import HTTP_PORTS
from tunflow.providers.filter_flow import FilterFlow
from tunflow.providers.filter_provider import FilterControlProvider
from tunflow.providers.filter_verdicts import Action, RemediationVerdict

_WAYS_TO_ASK = ("https://", "http://", "mailto:")

Offer = Callable[[FilterFlow, str], str | None]
"""Makes a button for a flow's page that leads back to a URL; the path to post to, or None for no button."""


class Explained(Protocol):
    """Who knows why the built-in filter refused a flow."""

    def ruling(self, flow: FilterFlow) -> Ruling:
        """Why."""


class BlockPages:
    """Makes pages. What a reload changes is given to `use`."""

    def __init__(
        self,
        section: FilterSection,
        template: str,
        tell: Callable[[str], None],
        content: Explained | None,
        control: FilterControlProvider | None,
    ) -> None:
        """`content` is the built-in filter; None where the user has one of his own, with `control` beside it."""
        self._tell = tell
        self._content = content
        self._control = control
        self._missing: set[str] = set()
        """Keys of the remediation map that were told of."""
        self.use(section, template)

    def use(self, section: FilterSection, template: str) -> None:
        """Make pages by a profile's filter and a template from now on."""
        self._section, self._template = section, template

    def page(self, flow: FilterFlow, verdict: Verdict | RemediationVerdict, offer: Offer) -> bytes | None:
        """What a client that speaks HTTP is shown; None for all others."""
        if flow.url is None and (
            flow.remote_endpoint.port not in HTTP_PORTS or flow.socket_protocol == socket.IPPROTO_UDP
        ):
            return None
        host = flow.remote_hostname or flow.remote_endpoint.host_text
        url = flow.url or f"http://{host}/"
        host = url.partition("://")[2].partition("/")[0]
        words = text_for(flow.accepted_languages)
        link, button = self._way_to_ask(words, host, url), None
        if self._content is not None:
            ruling = self._content.ruling(flow)
            reason, why = self._reason(words, ruling), ruling.why
        elif isinstance(verdict, RemediationVerdict):
            reason, why, ruling = words.refused, "handle_remediation", Ruling(True, "")
        elif verdict.action is not Action.REMEDIATE:
            return None
        else:
            reason, why, ruling = words.causes[Cause.FILTER], self._section.provider or "", Ruling(True, "")
            text = self._map("button_texts", verdict.button_text_key) or words.ask
            if verdict.url_key is not None:
                target = self._link(verdict.url_key, host, url)
                link = None if target is None else (target, text)
            else:
                path = offer(flow, url)
                button = None if path is None else (path, text)
        how = self._section.how_to_ask
        return block_page(
            self._template,
            words,
            PageFacts(host, url, why, reason, ruling.category),
            how_to_ask="" if how.startswith(_WAYS_TO_ASK) else how,
            link=link,
            button=button,
        )

    def _reason(self, words: PageText, ruling: Ruling) -> str:
        """Why, for who sees the page."""
        reason = words.causes[ruling.cause or Cause.UNREADABLE].format(list=ruling.list)
        section = next((each for each in self._section.lists if each.name == ruling.list), None)
        if section is None or section.schedule is None:
            return reason
        hours = self._section.schedules[section.schedule]
        days = ", ".join(words.until.join(map(words.weekday, each.split("-"))) for each in hours.weekdays)
        said = words.hours.format(days=days, start=hours.start, end=hours.end)
        return f"{reason} {said}"

    def _way_to_ask(self, words: PageText, host: str, url: str) -> tuple[str, str] | None:
        """The address that `how_to_ask` is, if it is one, told of the page, and what stands on the button there."""
        address = self._section.how_to_ask
        if not address.startswith(_WAYS_TO_ASK):
            return None
        if address.startswith("mailto:"):
            mark = "&" if "?" in address else "?"
            address += f"{mark}subject={quote(words.title.format(host=host))}&body={quote(url)}"
        return address, words.ask

    def _link(self, key: str, host: str, url: str) -> str | None:
        """The URL where a user may ask for access."""
        target = self._map("urls", key)
        if target is None:
            return None
        said = {"NE_FLOW_URL": url, "NE_FLOW_HOSTNAME": host, "NE_USERNAME": self._section.username or "",
                "NE_ORGANIZATION": self._section.organization or ""}  # fmt: skip
        for name, value in said.items():
            target = target.replace(name, quote(value, safe=""))
        return target

    def _map(self, kind: str, key: str | None) -> str | None:
        """What the control provider's remediation map has under a key; that it has nothing is told."""
        if key is None:
            return None
        found = self._control.remediation_map.get(kind, {}).get(key) if self._control is not None else None
        if found is None and key not in self._missing:
            self._missing.add(key)
            who = "there is no control provider" if self._control is None else "its remediation_map has no such key"
            self._tell(f"filter: a verdict names {key!r} of {kind}, and {who}")
        return found
