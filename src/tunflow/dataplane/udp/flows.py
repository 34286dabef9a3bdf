"""The driver's UDP half: who serves a client's datagrams, and how answers reach it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from tunflow.dataplane.decision import Carry, Decision, Refuse
from tunflow.dataplane.udp.client_socket import RefusedFlow, UDPSocket, WaitingFlow
from tunflow.endpoint import Buffer, Endpoint
from tunflow.flow import UDP, FlowInfo
from tunflow.protocols.contract import Blocked, NoDatagrams, Outbound
from tunflow.stack.icmp import Reason
from tunflow.stack.udp import DatagramOwner, UDPFlow, UDPRun

if TYPE_CHECKING:
    from tunflow.dataplane.driver import Driver

DNS_PORT = 53
_TOLD = {Refuse.RESET: Reason.PORT, Refuse.PROHIBITED: Reason.ADMIN_PROHIBITED, Refuse.DROP: None}


class DatagramFlows:
    """Finds each flow's owner when its first datagrams come; later ones go straight there."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def send(self, run: UDPRun) -> None:
        """Datagrams from a client."""
        flow = run.flow
        owner: DatagramOwner | None = flow.user or self._own(flow, run)
        if owner is not None:
            owner.send(run)

    def decide(self, flow: UDPFlow, decision: Decision, runs: Sequence[UDPRun] = ()) -> None:
        """What becomes of a flow that waits, or whose owner gives it back with the `runs` that it kept."""
        waiting = flow.owner
        if isinstance(waiting, WaitingFlow):
            runs = [*waiting.runs, *runs]
        owner = self._decide(flow, decision)
        flow.give_to(owner)
        if owner is not None:
            for run in runs:
                owner.send(run)

    def route(self, info: FlowInfo, flow: UDPFlow, run: UDPRun) -> DatagramOwner | None:
        """Have the policy, if there is one, say what becomes of a flow; who serves it."""
        driver = self._driver
        if driver.policy is None:
            owner = self._carry(flow, driver.dialer, flow.target)
        else:
            decision = driver.policy.datagrams(info, run)
            owner = WaitingFlow() if decision is None else self._decide(flow, decision)
        flow.give_to(owner)
        return owner

    def refuse(self, flow: UDPFlow, how: Refuse) -> DatagramOwner:
        """Let nothing of a flow through, whoever stood before it."""
        refused = flow.user = self._refused(how)
        flow.filter = None
        return refused

    def own(self, flow: UDPFlow, owner: DatagramOwner, whole_socket: bool = False) -> DatagramOwner:
        """Have an owner hear of the end of the client's socket."""
        socket = self._socket(flow)
        socket.owners.append(owner)
        if whole_socket:
            socket.owner = owner
        return owner

    def _own(self, flow: UDPFlow, run: UDPRun) -> DatagramOwner | None:
        """Who serves a flow that nobody owns yet; None when nobody does: its datagrams are dropped, or answered."""
        driver = self._driver
        target = flow.target
        assert isinstance(target.host, bytes)
        names, hostname = driver.name_server, None
        if names is not None:
            if target.port == DNS_PORT:
                return self._placed(flow, self._decide(flow, names.hand))
            client = flow.mapping.client.host
            assert isinstance(client, bytes)
            hostname = names.name_of(client, target.host)
            if names.blocks(target, hostname):
                return self.refuse(flow, Refuse.RESET)
        if driver.answers_for(target):
            return self._placed(flow, self._own_inside(flow, run))
        socket = self._socket(flow)
        if socket.owner is not None:
            return self._placed(flow, socket.owner)
        info = FlowInfo(UDP, flow.mapping.client, target, hostname, driver.find_process)
        if driver.filter is not None:
            return driver.filter.own_datagrams(info, flow, run)
        return self.route(info, flow, run)

    @staticmethod
    def _placed(flow: UDPFlow, owner: DatagramOwner | None) -> DatagramOwner | None:
        flow.user = owner
        return owner

    def _own_inside(self, flow: UDPFlow, run: UDPRun) -> DatagramOwner | None:
        """A flow to an address that the tunnel answers for, where only names are served."""
        driver = self._driver
        names = driver.names
        if flow.target.port != DNS_PORT or names is None:
            driver.context.undelivered(run, Reason.PORT)
            return None
        queries = [bytes(query) for query in run.datagrams()]
        driver.statistics.dns_queries += len(queries)
        if driver.dns is None:
            return self._carry(flow, driver.dialer, names.resolver)
        for query in queries:
            driver.dns.query(query, self._reply(flow))
        return None

    def _reply(self, flow: UDPFlow) -> Callable[[Buffer], None]:
        return lambda message: self._driver.context.deliver(flow.mapping, flow.target, (message,))

    def _decide(self, flow: UDPFlow, decision: Decision) -> DatagramOwner | None:
        if isinstance(decision, Carry):
            return self._carry(flow, decision.dialer, decision.target)
        if isinstance(decision, Refuse):
            return self._refused(decision)
        assert decision.datagrams is not None, "datagrams were handed to an owner of streams"
        return self.own(flow, decision.datagrams(self._driver, flow), decision.whole_socket)

    def _refused(self, how: Refuse) -> RefusedFlow:
        return RefusedFlow(self._driver.context, _TOLD[how])

    def _carry(self, flow: UDPFlow, dialer: Outbound, target: Endpoint) -> DatagramOwner | None:
        names = self._driver.name_server
        if names is not None:
            waiting = WaitingFlow()
            flow.give_to(waiting)
            outside = names.outside(target, dialer, lambda found: self._resolved(flow, waiting, dialer, found))
            if outside is None:
                return flow.owner
            target = outside
        context = self._driver.context
        try:
            return self._socket(flow).carried(dialer, target, flow.target)
        except NoDatagrams:
            return RefusedFlow(context, Reason.PORT)  # so that QUIC falls back to TCP at once
        except Blocked:
            return RefusedFlow(context, Reason.ADMIN_PROHIBITED)
        except OSError as error:
            context.statistics.udp_dropped += 1
            self._driver.tell_full(error)
            return None

    def _resolved(self, flow: UDPFlow, waiting: WaitingFlow, dialer: Outbound, target: Endpoint | None) -> None:
        """The address of a flow's target is known now, or that there is none."""
        if flow.owner is not waiting:
            return  # somebody decided otherwise meanwhile
        if target is None:
            owner: DatagramOwner | None = RefusedFlow(self._driver.context, Reason.HOST)
        else:
            owner = self._carry(flow, dialer, target)
        flow.give_to(owner)
        if owner is not None:
            for run in waiting.runs:
                owner.send(run)

    def _socket(self, flow: UDPFlow) -> UDPSocket:
        mapping = flow.mapping
        if mapping.user is None:
            mapping.user = UDPSocket(self._driver.context, mapping)
        return cast(UDPSocket, mapping.user)
