"""One flow under a content filter: asks the provider, takes its verdicts, and follows `on_failure` where there is none.

A session knows no bytes of its own: `FilteredConnection` and `FilteredDatagrams` hold them, and ask it how many may go.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from socket import IPPROTO_UDP
from typing import Protocol, TypeVar

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket, LocalError
from tunflow.filter.page import begins_to_ask
from tunflow.filter.url_append import URLAppender
from tunflow.providers.blame import ProviderHung
from tunflow.providers.filter_flow import FilterFlow, FilterReport, ReportAction, ReportEvent
from tunflow.providers.filter_provider import FilterDataProvider
from tunflow.providers.filter_verdicts import (
    FILTER_FLOW_BYTES_MAX,
    Action,
    DataVerdict,
    NewFlowVerdict,
    RemediationVerdict,
    StatisticsReportFrequency,
)
from tunflow.providers.filter_window import FilterWindow
from tunflow.sniff.http import Ambiguous, HTTPRequests, accepted_languages_untrusted
from tunflow.sniff.quic import LONG_HEADER
from tunflow.sniff.tls import RECORD_TYPES

STATISTICS_PERIODS = {
    StatisticsReportFrequency.NONE: 0.0,
    StatisticsReportFrequency.LOW: 5.0,
    StatisticsReportFrequency.MEDIUM: 1.0,
    StatisticsReportFrequency.HIGH: 0.5,
}
"""Seconds (NEFilterReportFrequency)."""

Verdict = NewFlowVerdict | DataVerdict
_V = TypeVar("_V")


class Wishes(Protocol):
    """The buttons on a filter's pages."""

    def awaits(self, flow: FilterFlow) -> bool:
        """Return True if a button may be pressed on a new flow."""

    def is_asked(self, request: bytes) -> bool:
        """Return True if a request presses a button that works."""

    def ask(self, request: bytes, say: Callable[[bytes], None]) -> bool:
        """Have a request that presses a button answered. Return False for others. `say` is called once."""


class Keeper(Protocol):
    """What the sessions of a filter share."""

    provider: FilterDataProvider

    def new_flow(self, flow: FilterFlow) -> NewFlowVerdict:
        """What the provider says of a new flow; a pause while it has not started yet. Raises what it raises."""

    def failed(self, flow: FilterFlow, error: BaseException) -> bool:
        """Log that the provider raised or did not answer. Return True if the flow may pass all the same."""

    def ask_control(self, session: FilterSession) -> None:
        """The provider wants the control provider to decide; it calls `session.conclude` when it has."""

    @property
    def remediations(self) -> Wishes:
        """The buttons on its pages."""

    def appended(self, key: str | None) -> str:
        """The string to append to URLs under a key of the control provider's map. Raises LocalError."""

    def page(self, flow: FilterFlow, verdict: Verdict | RemediationVerdict) -> bytes | None:
        """What a client that speaks HTTP is shown when the flow is refused; None for a reset."""

    def report(self, report: FilterReport) -> None:
        """Pass a report on."""

    def watch(self, session: FilterSession) -> None:
        """Reports of the session are wanted: of its end, and now and then of its bytes."""

    def ended(self, session: FilterSession) -> None:
        """The session is over."""


class FilterSession:
    """See the module."""

    __slots__ = (
        "_is_awaited", "_keeper", "_offset", "_outcome", "_reporting", "_statistics_period", "_verdict", "appender",
        "changed", "count", "flow", "has_begun", "incoming", "only_openings", "open", "outgoing", "page", "paused",
        "refused", "statistics_due",
    )  # fmt: skip

    def __init__(self, keeper: Keeper, flow: FilterFlow) -> None:
        self._keeper = keeper
        self.flow = flow
        self.outgoing: FilterWindow | None = None
        self.incoming: FilterWindow | None = None
        self.open = False
        """True if everything passes, both ways, unseen."""
        self.only_openings = False
        """True if of its datagrams only those are shown that may open a QUIC connection."""
        self.refused = False
        self.page: bytes | None = None
        """For a refused flow: what its client is shown first."""
        self.paused = False
        self.changed: Callable[[], None] = _nothing
        """Called when a verdict came from outside a call of ours."""
        self.count: Callable[[], tuple[int, int]] = _none
        """Tells how many bytes have passed to the client, and from it."""
        self.statistics_due: float | None = None
        """When the next statistics are to be reported, by the keeper's clock; None for never."""
        self._statistics_period = 0.0
        self._offset = 0
        """Bytes of datagrams that the provider was shown and let pass."""
        self.has_begun = False
        """True if anything of the flow has passed or may have."""
        self.appender: URLAppender | None = None
        """What is to be added to the client's requests."""
        self._is_awaited = False
        """True if a button may be pressed on it."""
        self._reporting = False
        self._outcome = ReportAction.ALLOW
        self._verdict: Verdict | None = None
        """The one that refused."""

    def begin(self) -> None:
        """Ask about the new flow."""
        verdict: Verdict
        try:
            verdict = self._keeper.new_flow(self.flow)
            if not isinstance(verdict, NewFlowVerdict):
                _verdict("handle_new_flow", verdict, NewFlowVerdict)
        except (Exception, ProviderHung) as error:
            verdict = self._failed(error)
        self.conclude(verdict)

    def conclude(self, verdict: Verdict) -> None:
        """Take a verdict about the whole flow."""
        action = verdict.action
        self.paused = False
        if (
            verdict.should_report
            or self._statistics_period
            or (isinstance(verdict, NewFlowVerdict) and verdict.statistics_report_frequency)
        ):
            self._note_wishes(verdict)
        if action is Action.FILTER_DATA and isinstance(verdict, NewFlowVerdict):
            self._watch(verdict)
        elif action is Action.URL_APPEND and self.flow.socket_protocol != IPPROTO_UDP and not self.has_begun:
            self._append(verdict)
        elif action is Action.ALLOW or action is Action.URL_APPEND:
            # Only what shows a flow's datagrams can go on showing some.
            self.only_openings = self.outgoing is not None and _shows_openings(self.flow, verdict)
            self.open = not self.only_openings and self.appender is None
            if self.appender is not None and self.outgoing is not None:
                self.outgoing.open = True  # unseen, but not yet all taken
        elif action is Action.DROP or action is Action.REMEDIATE:
            self.refused, self._outcome, self._verdict = True, _REPORTED[action], verdict
            self.page = self._keeper.page(self.flow, verdict)
        elif action is Action.PAUSE:
            self.paused = True
        elif action is Action.NEED_RULES:
            self.paused = True
            self._keeper.ask_control(self)
        if self._reporting and action in _REPORTED:
            event = ReportEvent.NEW_FLOW if isinstance(verdict, NewFlowVerdict) else ReportEvent.DATA_DECISION
            self._keeper.report(FilterReport(self.flow, _REPORTED[action], event))

    @property
    def is_watched(self) -> bool:
        """True if a direction of it is shown to the provider."""
        return self.outgoing is not None or self.incoming is not None

    def resume(self, verdict: Verdict) -> None:
        """Go on after a pause, as if the handler that paused had said so."""
        if isinstance(verdict, DataVerdict) and verdict.action is Action.DATA:
            self.paused = False
            for window in (self.outgoing, self.incoming):
                if window is not None and window.paused:
                    window.apply(verdict)
        else:
            for window in (self.outgoing, self.incoming):
                if window is not None:
                    window.paused = False
            self.conclude(verdict)
        self.changed()

    def again(self) -> None:
        """The rules changed: the flow is judged as if it were new, and what has passed stays passed."""
        if self.refused:
            return
        if self.open:
            self.outgoing = self.incoming = None  # what has passed since was not counted
        for window in (self.outgoing, self.incoming):
            if window is not None:
                window.paused = False
        self.open = self.paused = self.only_openings = False
        self.begin()
        if self.has_begun:
            self.page = None  # nobody asks now: a page would stand in the middle of something else
        self.changed()

    def look_first(self) -> None:
        """Before the flow passes unseen: look whether its client presses a button on one of our pages."""
        self.open, self._is_awaited = False, True
        self.outgoing = FilterWindow(self._look_for_button, DataVerdict.allow, 1)

    def _append(self, verdict: Verdict) -> None:
        """Let the flow pass, with a string behind each URL that it asks for."""
        try:
            self.appender = URLAppender(self._keeper.appended(verdict.url_key))
        except LocalError as error:
            self.conclude(self._failed(error))
            return
        self._is_awaited = self._keeper.remediations.awaits(self.flow)
        self.outgoing = FilterWindow(self._look_for_urls, self._urls_over, 1)

    def _look_for_urls(self, offset: int, data: bytes) -> DataVerdict:
        """Only HTTP is changed; whatever else a flow is passes."""
        button = None if offset else self._find_button(data)
        if button is not None:
            return button
        assert self.appender is not None
        try:
            step = self.appender.look_untrusted(offset, data)
        except Ambiguous:
            return DataVerdict.drop()  # what the string would be behind is for the server to say
        except BadPacket:
            if offset:
                return DataVerdict.drop()
            self.appender = None
            return DataVerdict.allow()
        return DataVerdict.data(pass_bytes=step.passed, peek_bytes=step.peek)

    def _urls_over(self) -> DataVerdict:
        is_cut = self.appender is not None and self.appender.is_cut
        return DataVerdict.drop() if is_cut else DataVerdict.allow()

    def answer(self, request: bytes, say: Callable[[bytes], None]) -> bool:
        """Have a refused flow's client hear something on its request; `say` is called once.

        Return False if that takes a while."""
        if self._keeper.remediations.ask(request, say):
            return False
        flow = self.flow
        url = None
        if flow.url is None or not self._keeper.provider.finds_urls:
            url = _url_untrusted(flow, request)
            flow.url = url or flow.url
        flow.accepted_languages = accepted_languages_untrusted(request)
        if self._verdict is not None and (url is not None or flow.accepted_languages):
            self.page = self._keeper.page(flow, self._verdict) or self.page
        say(self.page or b"")
        return True

    def _look_for_button(self, _: int, data: bytes) -> DataVerdict:
        return self._find_button(data) or DataVerdict.allow()

    def _find_button(self, data: bytes) -> DataVerdict | None:
        """What to do with first bytes that press a button, or may begin to; None for others."""
        if not self._is_awaited:
            return None
        if begins_to_ask(data):
            return DataVerdict.data(pass_bytes=0, peek_bytes=len(data) + 1)
        return self._pressed(data)

    def _pressed(self, data: bytes) -> DataVerdict | None:
        """The verdict about a flow whose client presses a button; None for others."""
        if not self._keeper.remediations.is_asked(data):
            return None
        self.flow.url = _url_untrusted(self.flow, data)
        return DataVerdict.remediate(None, None)

    def _show_outgoing(self, offset: int, data: bytes) -> DataVerdict:
        """The client's first bytes are looked at for a button and a URL before the provider sees them."""
        provider, flow = self._keeper.provider, self.flow
        if not offset:
            button = self._find_button(data) if self._is_awaited else None
            if button is not None:
                return button
            if not provider.finds_urls and data[0] not in RECORD_TYPES:
                flow.url = _url_untrusted(flow, data)
        if flow.server_spoke_first is None:
            flow.server_spoke_first = self.count()[0] > 0
        found = provider.handle_outbound_data(flow, offset, data)
        return found if isinstance(found, DataVerdict) else _verdict("handle_outbound_data", found, DataVerdict)

    def _outgoing_complete(self) -> DataVerdict:
        provider = self._keeper.provider
        return _data("handle_outbound_data_complete", provider.handle_outbound_data_complete(self.flow))

    def _show_incoming(self, offset: int, data: bytes) -> DataVerdict:
        return _data("handle_inbound_data", self._keeper.provider.handle_inbound_data(self.flow, offset, data))

    def _incoming_complete(self) -> DataVerdict:
        provider = self._keeper.provider
        return _data("handle_inbound_data_complete", provider.handle_inbound_data_complete(self.flow))

    def judge_datagram(self, payload: Buffer) -> bool:
        """Return True if a client's datagram may go; else the session is paused, refused, or said to drop it."""
        if self.paused or self.refused:
            return False
        if self.open or self.outgoing is None or (self.only_openings and not (payload and payload[0] >= LONG_HEADER)):
            return True
        provider = self._keeper.provider
        try:
            verdict = _data(
                "handle_outbound_data", provider.handle_outbound_data(self.flow, self._offset, bytes(payload))
            )
        except (Exception, ProviderHung) as error:
            verdict = self._failed(error)
        if verdict.action is not Action.DATA:
            self.conclude(verdict)
            return self.open or self.only_openings
        if verdict.pass_bytes == FILTER_FLOW_BYTES_MAX:
            self.outgoing = None
        if verdict.pass_bytes:
            self._offset += len(payload)
        return verdict.pass_bytes > 0

    def close(self) -> None:
        """The flow is over."""
        if self._reporting:
            self._keeper.report(FilterReport(self.flow, self._outcome, ReportEvent.FLOW_CLOSED, *self.count()))
        self._keeper.ended(self)
        # Else each would hold the other until the collector comes, which costs as much as a tenth of a connection.
        self.changed, self.count = _nothing, _none
        if self.outgoing is not None:
            self.outgoing.close()
        if self.incoming is not None:
            self.incoming.close()

    def report_statistics(self, now: float) -> None:
        """Report the bytes so far, if that is due."""
        if self.statistics_due is not None and now >= self.statistics_due:
            self.statistics_due = now + self._statistics_period
            action = ReportAction.ALLOW if self.open else ReportAction.FILTER_DATA
            self._keeper.report(FilterReport(self.flow, action, ReportEvent.STATISTICS, *self.count()))

    def _note_wishes(self, verdict: Verdict) -> None:
        """Which reports a verdict asks for."""
        before = self._reporting or self._statistics_period
        self._reporting = self._reporting or verdict.should_report
        if isinstance(verdict, NewFlowVerdict):
            self._statistics_period = STATISTICS_PERIODS[verdict.statistics_report_frequency]
            self.statistics_due = 0.0 if self._statistics_period else None
        if not before and (self._reporting or self._statistics_period):
            self._keeper.watch(self)

    def judge(self, window: FilterWindow | None, waiting: Sequence[Buffer], size: int, ended: bool) -> int:
        """How many of the bytes that wait in a direction may go; `window` is `outgoing` or `incoming`."""
        if self.open or (window is None and not self.paused and not self.refused):
            return size
        if window is None or self.paused or self.refused:
            return 0
        if window.free > size and not ended:
            return window.pass_on(size)  # the middle of something long that was judged
        verdict: DataVerdict | None
        try:
            passed, verdict = window.judge(waiting, size, ended)
        except (Exception, ProviderHung) as error:
            passed, verdict = 0, self._failed(error)
        if verdict is not None:
            self.conclude(verdict)
            if self.open:
                return size
        return passed

    def _watch(self, verdict: NewFlowVerdict) -> None:
        """Show the directions that the verdict wants to see; the others pass."""
        if verdict.filter_outbound and self.outgoing is None:
            self._is_awaited = self._keeper.remediations.awaits(self.flow)
            self.outgoing = FilterWindow(
                self._show_outgoing,
                self._outgoing_complete,
                verdict.peek_outbound_bytes,
                self._keeper.provider.hears_ends,
            )
        if verdict.filter_inbound and self.incoming is None:
            self.incoming = FilterWindow(
                self._show_incoming,
                self._incoming_complete,
                verdict.peek_inbound_bytes,
                self._keeper.provider.hears_ends,
            )
        self.open = self.outgoing is None and self.incoming is None

    def _failed(self, error: BaseException) -> DataVerdict:
        """What `on_failure` says where the provider fails."""
        return DataVerdict.allow() if self._keeper.failed(self.flow, error) else DataVerdict.drop()


_REPORTED = {
    Action.ALLOW: ReportAction.ALLOW,
    Action.DROP: ReportAction.DROP,
    Action.REMEDIATE: ReportAction.REMEDIATE,
    Action.FILTER_DATA: ReportAction.FILTER_DATA,
}


def _url_untrusted(flow: FilterFlow, data: bytes) -> str | None:
    """The URL of an HTTP request at the start of a stream; None when there is none, or not whole yet."""
    try:
        requests = HTTPRequests().look_untrusted(data).requests
    except BadPacket:
        return None
    if not requests:
        return None
    first, end = requests[0], flow.remote_endpoint
    return first.url_of((first.hosts or (flow.remote_hostname or end.host_text,))[0], end.port)


def _shows_openings(flow: FilterFlow, verdict: Verdict) -> bool:
    return isinstance(verdict, DataVerdict) and verdict.but_new_connections and flow.socket_protocol == IPPROTO_UDP


def _verdict(method: str, found: object, kind: type[_V]) -> _V:
    """What a provider answered, if it is a verdict. Raises TypeError."""
    if not isinstance(found, kind):
        if inspect.iscoroutine(found):
            found.close()
        raise TypeError(f"{method} answered {found!r:.80}: expected a {kind.__name__}")
    return found


def _data(method: str, found: object) -> DataVerdict:
    return found if isinstance(found, DataVerdict) else _verdict(method, found, DataVerdict)


def _none() -> tuple[int, int]:
    return 0, 0


def _nothing() -> None:
    """Until somebody waits for a change."""
