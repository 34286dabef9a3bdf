"""The content filter's extension points: NEFilterProvider, NEFilterDataProvider and NEFilterControlProvider.

The data provider sees flows and their bytes and says what may pass; its handlers are plain methods that answer at once
(what takes time answers `pause` and calls `resume_flow` later). The control provider sees no content; it may take its
time, and changes the rules. A handler that raises, or does not return, is followed by the profile's `on_failure`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from tunflow.errors import LocalError
from tunflow.providers.filter_flow import FilterFlow, FilterReport
from tunflow.providers.filter_verdicts import (
    FILTER_FLOW_BYTES_MAX,
    ControlVerdict,
    DataVerdict,
    NewFlowVerdict,
    RemediationVerdict,
)
from tunflow.providers.network_rule import TrafficDirection
from tunflow.providers.provider import Provider
from tunflow.providers.stop_reason import ProviderStopReason

if TYPE_CHECKING:
    from tunflow.providers.filter_settings import FilterProviderConfiguration, FilterSettings


_PASS = DataVerdict.data(pass_bytes=FILTER_FLOW_BYTES_MAX, peek_bytes=FILTER_FLOW_BYTES_MAX)
"""The rest of one direction; the other one is judged on."""


class FilterHost(Protocol):
    """What runs a filter and does for it what it asks."""

    configuration: FilterProviderConfiguration

    def resume(self, flow: FilterFlow, verdict: NewFlowVerdict | DataVerdict) -> None:
        """Go on with a flow that was paused. Raises LocalError."""

    def update(self, flow: FilterFlow, verdict: DataVerdict, direction: TrafficDirection) -> None:
        """Change what was said of a flow. Raises LocalError."""

    def rules_changed(self) -> None:
        """Judge open flows again."""

    async def apply_settings(self, settings: FilterSettings | None) -> None:
        """Rules that need not be asked about."""


class FilterProvider(Provider):
    """NEFilterProvider."""

    _filter_host: FilterHost | None = None

    def bind_filter(self, host: FilterHost) -> None:
        """For whoever runs this: judge the flows of `host` from now on."""
        self._filter_host = host

    @property
    def _filter(self) -> FilterHost:
        if self._filter_host is None:
            raise LocalError(f"{type(self).__name__} is not running: tunflow starts it, then this can be used")
        return self._filter_host

    async def start_filter(self) -> None:
        """Get ready; what it raises is why there is no filter, and `on_failure` says what becomes of flows."""

    async def stop_filter(self, reason: ProviderStopReason) -> None:
        """No more flows."""

    @property
    def filter_configuration(self) -> FilterProviderConfiguration:
        """What the profile says for this filter."""
        return self._filter.configuration

    def handle_report(self, report: FilterReport) -> None:
        """About a flow whose verdict said `should_report`: that verdict, later ones, and its end with the bytes that
        passed; and its bytes now and then, if the verdict about the new flow asked for statistics."""


class FilterDataProvider(FilterProvider):
    """NEFilterDataProvider."""

    finds_urls = False
    """True if it sets the `url` of flows itself; else that is done from the first bytes that it is shown."""

    hears_ends = True
    """True if the `…_complete` methods are also called where every byte of their direction has passed."""

    def handle_new_flow(self, flow: FilterFlow) -> NewFlowVerdict:
        """A flow begins; nothing of it has passed."""
        raise NotImplementedError(f"{type(self).__name__} has no handle_new_flow")

    def handle_outbound_data(self, flow: FilterFlow, offset: int, data: bytes) -> DataVerdict:  # noqa: ARG002
        """Bytes from the client; `offset` is the place of the first in its stream. A UDP flow's are one datagram's."""
        return DataVerdict.allow()

    def handle_inbound_data(self, flow: FilterFlow, offset: int, data: bytes) -> DataVerdict:  # noqa: ARG002
        """Bytes to the client."""
        return DataVerdict.allow()

    def handle_outbound_data_complete(self, flow: FilterFlow) -> DataVerdict:  # noqa: ARG002
        """The client has sent all: the last word about what has not passed yet."""
        return _PASS

    def handle_inbound_data_complete(self, flow: FilterFlow) -> DataVerdict:  # noqa: ARG002
        """The far side has sent all."""
        return _PASS

    def handle_remediation(self, flow: FilterFlow) -> RemediationVerdict:  # noqa: ARG002
        """A user pressed the button on the page of a flow that was ended by `remediate(None, …)`.

        After `allow` the browser asks for the page again, as a new flow: `handle_new_flow` should know by then.
        """
        return RemediationVerdict.drop()

    def handle_rules_changed(self) -> None:
        """The control provider changed the rules. Open flows are judged again after this."""

    def rules_changed(self) -> None:
        """The provider's own rules are other ones now: have open flows judged again. A control provider's are told by
        its `notify_rules_changed`."""
        self._filter.rules_changed()

    async def apply_settings(self, settings: FilterSettings | None) -> None:
        """Rules that decide without asking; None for none. Raises LocalError."""
        await self._filter.apply_settings(settings)

    def resume_flow(self, flow: FilterFlow, verdict: NewFlowVerdict | DataVerdict) -> None:
        """Answer for a flow that was paused, as the handler that paused it would have. Raises LocalError."""
        self._filter.resume(flow, verdict)

    def update_flow(self, flow: FilterFlow, verdict: DataVerdict, direction: TrafficDirection) -> None:
        """Change a filtered flow's verdict (allow, drop or data) at any time. Raises LocalError."""
        self._filter.update(flow, verdict, direction)


class FilterControlProvider(FilterProvider):
    """NEFilterControlProvider."""

    remediation_map: Mapping[str, Mapping[str, str]] = {}
    """`{"urls": {key: URL}, "button_texts": {key: text}}`. In a URL NE_FLOW_URL, NE_FLOW_HOSTNAME, NE_USERNAME and
    NE_ORGANIZATION are replaced."""

    url_append_string_map: Mapping[str, str] = {}
    """What to add to URLs, by key: `safe=active` for a search engine."""

    async def handle_new_flow(self, flow: FilterFlow) -> ControlVerdict:  # noqa: ARG002
        """The data provider needs rules for a flow."""
        return ControlVerdict.drop()

    async def handle_remediation(self, flow: FilterFlow) -> ControlVerdict:  # noqa: ARG002
        """The data provider needs rules for a user's wish."""
        return ControlVerdict.drop()

    def notify_rules_changed(self) -> None:
        """Tell the data provider, and have open flows judged again."""
        self._filter.rules_changed()
