"""The content filter of a driver: every flow passes here before anything else decides about it."""

from __future__ import annotations

from collections.abc import Callable

from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.decision import DatagramCase, Refuse, StreamCase
from tunflow.dataplane.filtering.connection import FilteredConnection
from tunflow.dataplane.filtering.datagrams import FilteredDatagrams
from tunflow.dataplane.filtering.remediations import Remediations
from tunflow.dataplane.filtering.session import FilterSession, Verdict
from tunflow.errors import LocalError, RemoteError
from tunflow.flow import FlowInfo, HardwareFinder
from tunflow.loop.reactor import Timer
from tunflow.providers.blame import ProviderHung, describe
from tunflow.providers.filter_flow import FilterFlow, FilterReport
from tunflow.providers.filter_provider import FilterControlProvider, FilterDataProvider
from tunflow.providers.filter_settings import FilterAction, FilterProviderConfiguration, FilterSettings
from tunflow.providers.filter_verdicts import Action, ControlVerdict, DataVerdict, NewFlowVerdict, RemediationVerdict
from tunflow.providers.network_rule import TrafficDirection
from tunflow.stack.tcp.connection import Connection

SWEEP = 5.0
"""Seconds between two looks for flows that are over."""

TICK = 0.5
"""Seconds between two looks at the flows of which reports are wanted."""

MANY = 256
"""Flows remembered from which on those that are over are looked for at once."""

Page = Callable[[FilterFlow, Verdict | RemediationVerdict], bytes | None]
"""What a client is shown when its flow is refused; None for a reset."""


class FlowFilter:
    """Runs a data provider, and a control provider if there is one, on the flows of a device.

    `on_failure_pass`: whether flows pass that the provider fails to judge. `page` makes block pages; `may_ping` judges
    pings, of which providers hear nothing; `find_hardware` tells the devices of a LAN by their hardware addresses,
    where there is one behind this host.
    """

    def __init__(
        self,
        context: FlowContext,
        provider: FilterDataProvider,
        configuration: FilterProviderConfiguration,
        *,
        on_failure_pass: bool = False,
        control: FilterControlProvider | None = None,
        page: Page | None = None,
        may_ping: Callable[[FilterFlow], bool] | None = None,
        find_hardware: HardwareFinder | None = None,
    ) -> None:
        self.provider = provider
        self.configuration = configuration
        self.control = control
        self._context = context
        self._find_hardware = find_hardware
        self.on_failure_pass = on_failure_pass
        self._page = page
        self._may_ping = may_ping
        self.remediations = Remediations(self, lambda: context.reactor.now)
        self._settings: FilterSettings | None = None
        self._flows: dict[FilterFlow, tuple[FilterSession, FilteredConnection | FilteredDatagrams]] = {}
        self._sweeper: Timer | None = None
        self._watched: set[FilterSession] = set()
        """Those of which reports are wanted."""
        self._look_at = MANY
        self._ready = True
        self._trouble: str | None = None
        provider.bind_filter(self)
        if control is not None:
            control.bind_filter(self)

    @property
    def flows(self) -> int:
        """How many flows are remembered."""
        return len(self._flows)

    @property
    def watched(self) -> int:
        """Of how many flows reports are wanted."""
        return len(self._watched)

    # What the driver asks.

    def open_stream(self, case: StreamCase, go_on: Callable[[], None]) -> None:
        """A new TCP flow: refuse it, hold it, or let it go on."""
        info, connection = case.flow, case.connection
        if self._settings is not None and self._decided(info) is FilterAction.ALLOW:
            go_on()
            return
        session = self._session(info)
        if session.refused and session.page is None:
            case.give(Refuse.RESET)
            session.close()
            return
        if session.open and self.remediations.awaits(session.flow):
            session.look_first()
        assert isinstance(connection, Connection)  # nobody has had it before
        filtered = FilteredConnection(self._context, connection, session)
        self._keep(session, filtered)  # also when it may pass: the rules can change
        if session.refused:
            filtered.show_page()
            return
        if not session.open:
            case.connection = filtered
        if session.paused:
            filtered.route = go_on
        else:
            session.has_begun = True
            go_on()

    def open_datagrams(self, case: DatagramCase, go_on: Callable[[], None]) -> None:
        """A new UDP flow: refuse it, let it go on, or have its datagrams shown."""
        if self._decided(case.flow) is FilterAction.ALLOW:
            go_on()
            return
        session = self._session(case.flow)
        if session.refused:
            session.close()
            case.give(Refuse.RESET)
            return
        owner = FilteredDatagrams(case, session, go_on)
        self._keep(session, owner)
        case.udp.user = case.udp.filter = owner

    def may_ping(self, ping: FlowInfo) -> bool:
        """Return True if a client may ping an address."""
        if self._trouble is not None:
            return self.on_failure_pass
        return self._ready and (self._may_ping is None or self._may_ping(FilterFlow(ping, self._find_hardware)))

    # The provider's life.

    def hold(self) -> None:
        """The provider is not ready: flows wait for `begin` or `provider_failed`."""
        self._ready = False

    def begin(self) -> None:
        """It is ready: flows that waited are judged."""
        self._ready, self._trouble = True, None
        self._judge_waiting()

    def provider_failed(self, why: str) -> None:
        """It will not be ready: `on_failure` says what becomes of flows."""
        self._ready, self._trouble = True, why
        self._judge_waiting()

    def let_go(self) -> None:
        """The filter is taken away: what it holds goes on."""
        for session, _ in list(self._flows.values()):
            if not session.open and not session.refused:
                self._context.reactor.contained(session.resume, DataVerdict.allow())

    def _judge_waiting(self) -> None:
        for session, owner in list(self._flows.values()):
            if session.paused:
                self._context.reactor.contained(owner.judge_again)

    # What sessions ask.

    def new_flow(self, flow: FilterFlow) -> NewFlowVerdict:
        """What the provider says of a flow. Raises RemoteError where there is none that could."""
        if self._trouble is not None:
            raise RemoteError(self._trouble)
        return self.provider.handle_new_flow(flow) if self._ready else NewFlowVerdict.pause()

    def failed(self, flow: FilterFlow, error: BaseException) -> bool:
        """Log a failure of the provider, once for each cause. Return True if `on_failure` lets the flow pass."""
        what = "passes" if self.on_failure_pass else "is refused"
        self.tell(error, f"the filter failed and {flow} {what}")
        return self.on_failure_pass

    def ask_control(self, session: FilterSession) -> None:
        """The control provider decides, in its own time."""
        control = self.control
        if control is None:
            self._context.log.tell("filter rules", "the filter needs rules and has no control provider: refused")
            self._context.reactor.call_soon(lambda: session.resume(DataVerdict.drop()))
            return
        control.create_task(self._ask_control(control, session), name="handle_new_flow")

    async def _ask_control(self, control: FilterControlProvider, session: FilterSession) -> None:
        try:
            verdict = await control.handle_new_flow(session.flow)
            if not isinstance(verdict, ControlVerdict):
                raise TypeError(f"handle_new_flow answered {verdict!r:.80}: expected a ControlVerdict")
        except (Exception, ProviderHung) as error:
            verdict = ControlVerdict.allow() if self.failed(session.flow, error) else ControlVerdict.drop()
        if not session.paused:
            return  # it is over, or somebody else has said what becomes of it
        if verdict.update_rules_first:
            self._tell_rules_changed()
        if verdict.action is Action.UPDATE_RULES:
            session.again()
        else:
            session.resume(DataVerdict.allow() if verdict.action is Action.ALLOW else DataVerdict.drop())

    def tell(self, error: BaseException, what: str) -> None:
        """A failure of a provider, once for each cause."""
        self._context.log.tell(f"filter {error!r:.200}", f"{what}: {describe(error)}")

    def appended(self, key: str | None) -> str:
        """The control provider's string for a key. Raises LocalError."""
        if self.control is None:
            raise LocalError(f"a verdict names {key!r} of url_append_string_map, and there is no control provider")
        found = self.control.url_append_string_map.get(key) if key is not None else None
        if found is None:
            raise LocalError(f"a verdict names {key!r}, and url_append_string_map has no such key")
        return found

    def page(self, flow: FilterFlow, verdict: Verdict | RemediationVerdict) -> bytes | None:
        """What the client is shown."""
        return self._page(flow, verdict) if self._page is not None else None

    def report(self, report: FilterReport) -> None:
        """Both providers hear of it."""
        for provider in (self.provider, self.control):
            if provider is not None:
                try:
                    provider.handle_report(report)
                except (Exception, ProviderHung) as error:
                    self._context.log.tell(f"report {error!r:.200}", f"handle_report failed: {describe(error)}")

    def watch(self, session: FilterSession) -> None:
        """Its end is looked for more often than others', and its bytes are reported."""
        if not self._watched:
            self._context.reactor.call_later(TICK, self._tick)
        self._watched.add(session)

    def _tick(self) -> None:
        now = self._context.reactor.now
        for session in list(self._watched):
            found = self._flows.get(session.flow)
            if found is not None:
                self._context.reactor.contained(found[1].note_end)
            if session in self._watched:
                self._context.reactor.contained(session.report_statistics, now)
        if self._watched:
            self._context.reactor.call_later(TICK, self._tick)

    def ended(self, session: FilterSession) -> None:
        """The flow is over."""
        self._watched.discard(session)
        self._flows.pop(session.flow, None)

    # What providers ask.

    def resume(self, flow: FilterFlow, verdict: NewFlowVerdict | DataVerdict) -> None:
        """Go on with a paused flow. Raises LocalError."""
        session = self._find(flow)
        if not session.paused:
            raise LocalError(f"resume_flow: {flow} is not paused")
        if verdict.action is Action.DATA and not session.is_watched:
            raise LocalError(f"resume_flow: {flow} was paused before its data: answer with a NewFlowVerdict")
        session.resume(verdict)

    def update(self, flow: FilterFlow, verdict: DataVerdict, direction: TrafficDirection) -> None:
        """Change what was said of a flow. Raises LocalError."""
        session = self._find(flow)
        if verdict.action is Action.DATA:
            window = session.incoming if direction is TrafficDirection.INBOUND else session.outgoing
            if window is None:
                raise LocalError(f"update_flow: {flow} is not filtered in that direction")
            window.apply(verdict)
            session.changed()
        elif verdict.action in {Action.ALLOW, Action.DROP}:
            session.resume(verdict)
        else:
            raise LocalError("update_flow takes allow, drop or data")

    def rules_changed(self) -> None:
        """Judge open flows again."""
        self._tell_rules_changed()
        for _, owner in list(self._flows.values()):
            self._context.reactor.contained(owner.judge_again)

    async def apply_settings(self, settings: FilterSettings | None) -> None:
        """Rules that decide without asking."""
        self._settings = settings

    def _tell_rules_changed(self) -> None:
        try:
            self.provider.handle_rules_changed()
        except (Exception, ProviderHung) as error:
            self._context.log.tell(f"rules {error!r:.200}", f"handle_rules_changed failed: {describe(error)}")

    # How it works.

    def _decided(self, info: FlowInfo) -> FilterAction:
        """What the settings say before anybody is asked."""
        settings = self._settings
        if settings is None:
            return FilterAction.FILTER_DATA
        for rule in settings.rules:
            if rule.network_rule.matches(info.protocol, info.target, info.hostname):
                return rule.action
        return settings.default_action

    def _session(self, info: FlowInfo) -> FilterSession:
        session = FilterSession(self, FilterFlow(info, self._find_hardware))
        if self._settings is not None and self._decided(info) is FilterAction.DROP:
            session.conclude(NewFlowVerdict.drop())
        else:
            session.begin()
        return session

    def _keep(self, session: FilterSession, owner: FilteredConnection | FilteredDatagrams) -> None:
        self._flows[session.flow] = (session, owner)
        if len(self._flows) >= self._look_at:
            self.forget_ended()
        if self._sweeper is None or self._sweeper.call is None:
            self._sweep_later()

    def _sweep(self) -> None:
        """Flows that went on without the filter end without its hearing of it."""
        try:
            self.forget_ended()
        finally:
            self._sweep_later()

    def _sweep_later(self) -> None:
        if self._flows and (self._sweeper is None or self._sweeper.call is None):
            self._sweeper = self._context.reactor.call_later(SWEEP, self._sweep)

    def forget_ended(self) -> None:
        """So that no more than twice the open flows are remembered."""
        for _, owner in list(self._flows.values()):
            self._context.reactor.contained(owner.note_end)
        self._look_at = max(MANY, 2 * len(self._flows))

    def _find(self, flow: FilterFlow) -> FilterSession:
        found = self._flows.get(flow)
        if found is None:
            raise LocalError(f"{flow} is over")
        return found[0]
