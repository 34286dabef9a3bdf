"""The driver's UDP half: who serves a client's datagrams, and how answers reach it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from tunflow.dataplane.decision import Carry, DatagramOwner, Decision, Refuse
from tunflow.dataplane.udp.client_socket import RefusedFlow, UDPSocket, WaitingFlow
from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.flow import UDP, FlowInfo
from tunflow.outbound.dialer import Blocked, NoDatagrams
from tunflow.outbound.dialers import Dialer
from tunflow.stack.icmp import Reason
from tunflow.stack.udp import UDPFlow, UDPMapping, UDPRun

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
        holder = flow.user
        filtered = holder if hasattr(holder, "give_to") else None  # a content filter stands before whoever serves it
        waiting = filtered.next if filtered is not None else holder
        if isinstance(waiting, WaitingFlow):
            runs = [*waiting.runs, *runs]
        flow.user = None
        owner = self._decide(flow, decision)
        if filtered is not None:
            filtered.give_to(owner)
        if owner is not None:
            for run in runs:
                owner.send(run)

    def route(self, info: FlowInfo, flow: UDPFlow, run: UDPRun) -> DatagramOwner | None:
        """Have the policy, if there is one, say what becomes of a flow; who serves it."""
        driver = self._driver
        if driver.policy is None:
            return self._carry(flow, driver.dialer, flow.target)
        decision = driver.policy.datagrams(info, run)
        if decision is not None:
            return self._decide(flow, decision)
        waiting = flow.user = WaitingFlow()
        return waiting

    def refuse(self, flow: UDPFlow, how: Refuse) -> DatagramOwner:
        """Let nothing of a flow through."""
        refused = flow.user = RefusedFlow(self._driver, _TOLD[how])
        return refused

    def own(self, flow: UDPFlow, owner: DatagramOwner, whole_socket: bool = False) -> DatagramOwner:
        """Give a flow to an owner, which hears of the end of the client's socket."""
        flow.user = owner
        socket = self._socket(flow)
        socket.owners.append(owner)
        if whole_socket:
            socket.owner = owner
        return owner

    def deliver(self, mapping: UDPMapping, source: Endpoint, payloads: Sequence[Buffer], gso_size: int = 0) -> None:
        """Bring a client's socket one datagram from `source`, or several in one packet (`UDPTable.datagrams`).

        A source that no packet can name (a host name, the other address family) is dropped and counted.
        """
        driver = self._driver
        try:
            packet = driver.stack.udp.datagrams(mapping, source, payloads, gso_size, driver.reactor.now)
        except BadPacket:
            driver.statistics.udp_dropped += len(payloads)
            return
        driver.statistics.udp_bytes_down += sum(map(len, payloads))
        driver.stack.outgoing.append(packet)

    def _own(self, flow: UDPFlow, run: UDPRun) -> DatagramOwner | None:
        """Who serves a flow that nobody owns yet; None when nobody does: its datagrams are dropped, or answered."""
        driver = self._driver
        target = flow.target
        assert isinstance(target.host, bytes)
        names, hostname = driver.name_server, None
        if names is not None:
            if target.port == DNS_PORT:
                return self._decide(flow, names.hand)
            client = flow.mapping.client.host
            assert isinstance(client, bytes)
            hostname = names.name_of(client, target.host)
            if names.blocks(target, hostname):
                return self._decide(flow, Refuse.RESET)
        if driver.is_inside(target.host):
            return self._own_inside(flow, run)
        socket = self._socket(flow)
        if socket.owner is not None:
            flow.user = socket.owner
            return socket.owner
        info = FlowInfo(UDP, flow.mapping.client, target, hostname, driver.find_process)
        if driver.filter is not None:
            return driver.filter.own_datagrams(info, flow, run)
        return self.route(info, flow, run)

    def _own_inside(self, flow: UDPFlow, run: UDPRun) -> DatagramOwner | None:
        """A flow to one of the tunnel's own addresses, where only names are served."""
        driver = self._driver
        names = driver.names
        if flow.target.port != DNS_PORT or names is None:
            driver.undelivered(run, Reason.PORT)
            return None
        queries = [bytes(query) for query in run.datagrams()]
        driver.statistics.dns_queries += len(queries)
        if driver.dns is None:
            return self._carry(flow, driver.dialer, names.resolver)
        for query in queries:
            driver.dns.query(query, self._reply(flow))
        return None

    def _reply(self, flow: UDPFlow) -> Callable[[Buffer], None]:
        return lambda message: self.deliver(flow.mapping, flow.target, (message,))

    def _decide(self, flow: UDPFlow, decision: Decision) -> DatagramOwner | None:
        if isinstance(decision, Carry):
            return self._carry(flow, decision.dialer, decision.target)
        if isinstance(decision, Refuse):
            return self.refuse(flow, decision)
        assert decision.datagrams is not None, "datagrams were handed to an owner of streams"
        return self.own(flow, decision.datagrams(self._driver, flow), decision.whole_socket)

    def _carry(self, flow: UDPFlow, dialer: Dialer, target: Endpoint) -> DatagramOwner | None:
        names = self._driver.name_server
        if names is not None:
            waiting = flow.user = WaitingFlow()
            outside = names.outside(target, dialer, lambda found: self._resolved(flow, waiting, dialer, found))
            if outside is None:
                return cast("DatagramOwner | None", flow.user)
            flow.user = None
            target = outside
        try:
            carried = flow.user = self._socket(flow).carried(dialer, target, flow.target)
        except NoDatagrams:
            return RefusedFlow(self._driver, Reason.PORT)  # so that QUIC falls back to TCP at once
        except Blocked:
            return RefusedFlow(self._driver, Reason.ADMIN_PROHIBITED)
        except OSError as error:
            self._driver.statistics.udp_dropped += 1
            self._driver.tell_full(error)
            return None
        return carried

    def _resolved(self, flow: UDPFlow, waiting: WaitingFlow, dialer: Dialer, target: Endpoint | None) -> None:
        """The address of a flow's target is known now, or that there is none."""
        holder = flow.user
        filtered = holder if hasattr(holder, "give_to") else None
        if (filtered.next if filtered is not None else holder) is not waiting:
            return  # somebody decided otherwise meanwhile
        flow.user = None
        if target is None:
            owner: DatagramOwner | None = RefusedFlow(self._driver, Reason.HOST)
            flow.user = owner
        else:
            owner = self._carry(flow, dialer, target)
        if filtered is not None:
            filtered.give_to(owner)
        if owner is not None:
            for run in waiting.runs:
                owner.send(run)

    def _socket(self, flow: UDPFlow) -> UDPSocket:
        mapping = flow.mapping
        if mapping.user is None:
            mapping.user = UDPSocket(self._driver, mapping)
        return cast(UDPSocket, mapping.user)
