"""What users ask of a filter: the buttons on its pages, and who says what becomes of a wish (handleRemediation).

A page whose verdict named no URL has a button that posts to a path of the refused site itself, with a token in it that
nobody can guess: so no other page can press it, and it needs no address of ours. The filter finds it at the front of
the client's next connections, whatever its rules say of the site.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import NamedTuple, Protocol

from tunflow.endpoint import Endpoint
from tunflow.filter.page import ASK_PATH, asked_token, see_other
from tunflow.providers.blame import ProviderHung
from tunflow.providers.filter_flow import FilterFlow
from tunflow.providers.filter_provider import FilterControlProvider, FilterDataProvider
from tunflow.providers.filter_verdicts import (
    Action,
    ControlVerdict,
    DataVerdict,
    NewFlowVerdict,
    RemediationVerdict,
)

OFFERS = 256
"""Buttons that work at a time; the oldest makes room."""

LIFE = 600.0
"""Seconds for which a button works."""

Say = Callable[[bytes], None]


class _Offer(NamedTuple):
    flow: FilterFlow
    url: str
    until: float


class AskedFilter(Protocol):
    """The filter that users ask."""

    @property
    def provider(self) -> FilterDataProvider:
        """Who is asked first."""

    @property
    def control(self) -> FilterControlProvider | None:
        """Who is asked then."""

    def page(self, flow: FilterFlow, verdict: NewFlowVerdict | DataVerdict | RemediationVerdict) -> bytes | None:
        """What a client is shown when its flow is refused."""

    def tell(self, error: BaseException, what: str) -> None:
        """A failure of a provider."""

    def rules_changed(self) -> None:
        """Judge open flows again."""


class Remediations:
    """The open offers of one filter; `now` is the reactor's clock."""

    def __init__(self, filters: AskedFilter, now: Callable[[], float]) -> None:
        self._filter = filters
        self._now = now
        self._offers: dict[str, _Offer] = {}
        self._ends: dict[tuple[object, Endpoint], int] = {}
        """How many offers there are for a client's address and a target."""

    @property
    def offers(self) -> int:
        """How many buttons are remembered."""
        return len(self._offers)

    def offer(self, flow: FilterFlow, url: str) -> str | None:
        """The path to which a page's button posts; None when the provider has no answer for it."""
        if type(self._filter.provider).handle_remediation is FilterDataProvider.handle_remediation:
            return None
        for token in list(self._offers):
            if len(self._offers) < OFFERS and self._offers[token].until > self._now():
                break
            self._drop(token)
        token = secrets.token_hex(16)
        self._offers[token] = _Offer(flow, url, self._now() + LIFE)
        ends = _ends(flow)
        self._ends[ends] = self._ends.get(ends, 0) + 1
        return ASK_PATH + token

    def awaits(self, flow: FilterFlow) -> bool:
        """Return True if a button may be pressed on a new flow."""
        return bool(self._ends) and _ends(flow) in self._ends

    def is_asked(self, request: bytes) -> bool:
        """Return True if a request presses a button that works."""
        token = asked_token(request)
        return token is not None and token in self._offers

    def ask(self, request: bytes, say: Say) -> bool:
        """Have the provider answer a request that presses a button. Return False for others. `say` is called once."""
        token = asked_token(request)
        offer = self._offers.get(token) if token is not None else None
        if token is None or offer is None or offer.until <= self._now():
            return False
        control = self._filter.control
        try:
            verdict = self._filter.provider.handle_remediation(offer.flow)
            if not isinstance(verdict, RemediationVerdict):
                raise TypeError(f"handle_remediation answered {verdict!r:.80}: expected a RemediationVerdict")
            if verdict.action is not Action.NEED_RULES:
                self._answer(token, offer, verdict.action is Action.ALLOW, say)
            elif control is None:
                raise TypeError("handle_remediation needs rules, and there is no control provider")
            else:
                control.create_task(self._ask_control(token, offer, say), name="handle_remediation")
        except (Exception, ProviderHung) as error:
            self._failed(token, offer, error, say)
        return True

    async def _ask_control(self, token: str, offer: _Offer, say: Say) -> None:
        control = self._filter.control
        assert control is not None
        try:
            verdict = await control.handle_remediation(offer.flow)
            if not isinstance(verdict, ControlVerdict):
                raise TypeError(f"handle_remediation answered {verdict!r:.80}: expected a ControlVerdict")
        except (Exception, ProviderHung) as error:
            self._failed(token, offer, error, say)
            return
        if verdict.update_rules_first:
            self._filter.rules_changed()
        self._answer(token, offer, verdict.action is not Action.DROP, say)

    def _answer(self, token: str, offer: _Offer, allowed: bool, say: Say) -> None:
        """Granted: the browser asks again, and the filter says what becomes of that."""
        self._drop(token)
        if allowed:
            say(see_other(offer.url))
        else:
            say(self._filter.page(offer.flow, RemediationVerdict.drop()) or b"")

    def _failed(self, token: str, offer: _Offer, error: BaseException, say: Say) -> None:
        """A wish is never granted by a failure, whatever `on_failure` says."""
        self._filter.tell(error, f"the filter failed to answer a wish about {offer.flow}, which stays refused")
        self._answer(token, offer, False, say)

    def _drop(self, token: str) -> None:
        offer = self._offers.pop(token, None)
        if offer is not None:
            ends = _ends(offer.flow)
            self._ends[ends] -= 1
            if not self._ends[ends]:
                del self._ends[ends]


def _ends(flow: FilterFlow) -> tuple[object, Endpoint]:
    return flow.local_endpoint.host, flow.remote_endpoint
