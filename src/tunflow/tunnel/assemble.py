"""A running tunnel out of a plan: the one place where context, names, admission, filter and driver are put together.

Whoever has a device and a plan calls `assemble`: `run`, `up`, `attach`, `tunflow.attach` and tests alike. What a reload
changes is changed by `Dataplane.use`, the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, BinaryIO, Protocol

from tunflow.dataplane.admission import Admission
from tunflow.dataplane.context import DESCRIPTORS, FlowContext
from tunflow.dataplane.decision import Policy
from tunflow.dataplane.driver import Driver
from tunflow.device import Device
from tunflow.flow import ProcessFinder
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import UNMARKED, SocketOptions
from tunflow.tunnel.outbounds import Outbounds
from tunflow.tunnel.plan import Plan
from tunflow.tunnel.process_filter import ProcessFilter
from tunflow.tunnel.tunnel_names import use_names

if TYPE_CHECKING:
    from tunflow.dataplane.flow_book import FlowBook
    from tunflow.dataplane.rule_policy import Routing, RulePolicy
    from tunflow.outbound.sessions import KeptSessions
    from tunflow.protocols.contract import Outbound
    from tunflow.tunnel.filtering import Filtering
    from tunflow.tunnel.list_refresh import ListRefresh


@dataclass(frozen=True, slots=True)
class ServingContext:
    """What the process gives a tunnel that runs in it."""

    reactor: Reactor
    say: Callable[[str], None]
    """Is told what goes on, in lines for people."""
    filter: ProcessFilter
    """Judges flows where a plan has a content filter."""
    sockets: SocketOptions = UNMARKED
    """Of what the tunnel opens."""
    descriptors: int = DESCRIPTORS
    """How many flows may have one at a time."""
    verbose: bool = False
    """True if every flow is told, too."""
    memory_limit: float = inf
    """Bytes that all flows together may buffer."""
    pcap: BinaryIO | None = None
    """Gets every packet of the device (pcapng)."""
    tells_statistics: bool = False
    """True if a summary is told at the end."""
    policy: Policy | None = None
    """Decides about flows instead of the plan's rules: a provider, or an embedding program."""
    find_process: ProcessFinder | None = None
    """Tells whose a flow is."""
    watcher: Watcher | None = None
    """Shows what becomes of flows."""
    warn: Callable[[str], None] | None = None
    """Is told what goes wrong with flows; `say` where it is None."""
    trace: Callable[[str], None] | None = None
    """Is told of every flow, if it is verbose; `say` where it is None."""


class Watcher(Protocol):
    """Shows a dataplane to somebody."""

    @property
    def book(self) -> FlowBook:
        """Where flows are written down."""

    def serve(self, dataplane: Dataplane | None) -> None:
        """Show this one from now on; None when it is closed."""

    def fetch_by(self, lists: ListRefresh) -> None:
        """Have lists fetched by this where somebody asks for it."""


class Dataplane:
    """The flows of one device, served as a plan says; made by `assemble`."""

    def __init__(self, driver: Driver, serving: ServingContext, plan: Plan) -> None:
        self.driver = driver
        self.plan = plan
        """What it serves by."""
        self._serving = serving
        self._rules: RulePolicy | None = None
        self._sessions: KeptSessions | None = None
        self._find_default: Callable[[], Outbound] = lambda: driver.admission.dialer

    @property
    def default(self) -> Outbound:
        """Where goes what nothing else decides about, as the groups choose now."""
        return self._find_default()

    @property
    def rules(self) -> RulePolicy | None:
        """What the plan's rules decide by; None where they decide nothing."""
        return self._rules

    @property
    def filtering(self) -> Filtering | None:
        """What judges flows; None where nothing is filtered."""
        return self._serving.filter.filtering

    def use(self, plan: Plan, outbounds: Outbounds) -> None:
        """Serve new flows as a plan says; those under way go on as they began. Raises LocalError."""
        admission = self.driver.admission
        self._sessions = outbounds.sessions
        outbounds.sessions.start(self._serving.reactor, self._serving.say, self._serving.sockets)
        self._use_rules(outbounds.routing)
        admission.use(outbounds.default, self._serving.policy or self._rules, outbounds.find_ping)
        self._find_default = outbounds.find_default
        use_names(self.driver, plan.names, outbounds.find_default, None if self._rules is None else self._rules.dialer)
        self._serving.filter.serve(self.driver, plan, is_watched=plan.provider is not None)
        self.plan = plan

    def _use_rules(self, routing: Routing | None) -> None:
        if routing is None:
            if self._rules is not None:
                self._rules.close()
            self._rules = None
        elif self._rules is not None:
            self._rules.reload(routing)  # what users chose in groups stays chosen
        else:
            from tunflow.dataplane.rule_policy import RulePolicy  # noqa: PLC0415 - nobody without rules waits for it

            self._rules = RulePolicy(routing, self.driver.context)

    def close(self) -> None:
        """Stop serving; flows end with the process. The device stays its owner's, and so does the filter."""
        if self._serving.tells_statistics:
            for line in self.driver.final_statistics().lines():
                self._serving.say(line)
        if self._serving.watcher is not None:
            self._serving.watcher.serve(None)
        if self._rules is not None:
            self._rules.close()
        self.driver.close()
        if self._sessions is not None:
            self._sessions.close()


def assemble(plan: Plan, outbounds: Outbounds, device: Device, serving: ServingContext) -> Dataplane:
    """Serve a device as a plan says, by its ways out. Raises LocalError, and then nothing is served."""
    if serving.pcap is not None:
        from tunflow.host.pcap_tee import PcapTee  # noqa: PLC0415 - which few need

        device = PcapTee(device, serving.pcap)
    reactor = serving.reactor
    context = FlowContext.on(
        reactor,
        device,
        CauseLog(serving.warn or serving.say, lambda: reactor.now),
        trace=(serving.trace or serving.say) if serving.verbose else None,
        descriptors=serving.descriptors,
        inside=plan.inside,
        sockets=serving.sockets,
        memory=serving.memory_limit,
        book=None if serving.watcher is None else serving.watcher.book,
    )
    admission = Admission(context, outbounds.default, policy=serving.policy, find_process=serving.find_process)
    made = Dataplane(Driver(context, admission), serving, plan)
    try:
        made.use(plan, outbounds)
    except BaseException:
        made.close()
        raise
    if serving.watcher is not None:
        serving.watcher.serve(made)
    return made
