"""What the API tells of: the dataplane of a device, or a local port. One face for both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tunflow.dataplane.statistics import Statistics
from tunflow.loop.sockets import UNMARKED, SocketOptions

if TYPE_CHECKING:  # what makes them is there where they are; a local port needs no dataplane, nor pydantic
    from tunflow.dataplane.rule_policy import RulePolicy
    from tunflow.inbound.listen import ListenServer
    from tunflow.loop.reactor import Reactor
    from tunflow.names.name_server import NameServer
    from tunflow.profiles.profile import Profile
    from tunflow.protocols.contract import Outbound
    from tunflow.tunnel.assemble import Dataplane
    from tunflow.tunnel.filtering import Filtering


class Served(Protocol):
    """Something that carries flows. To be asked in the loop's thread."""

    inbound: str
    """How flows come in, in Clash's words."""

    @property
    def port(self) -> int:
        """Where a local proxy listens; 0 for none."""

    @property
    def default(self) -> Outbound:
        """Where flows go that nothing else decides about."""

    @property
    def rules(self) -> RulePolicy | None:
        """What decides about flows; None for one way out for all."""

    @property
    def profile(self) -> Profile | None:
        """What it was made of; None for servers alone."""

    @property
    def names(self) -> NameServer | None:
        """What answers names; None for nothing."""

    @property
    def filtering(self) -> Filtering | None:
        """What judges flows; None where nothing is filtered."""

    @property
    def reactor(self) -> Reactor:
        """The loop that carries them."""

    @property
    def sockets(self) -> SocketOptions:
        """Of what is opened for them."""

    @property
    def descriptors(self) -> int:
        """How many flows hold, now."""

    def statistics(self) -> Statistics:
        """What was counted so far."""


class ServedDevice:
    """As `Served`: the packets of a device."""

    inbound = "Tun"
    port = 0

    def __init__(self, dataplane: Dataplane) -> None:
        self._dataplane = dataplane
        self._context = dataplane.driver.context

    @property
    def default(self) -> Outbound:
        """As `Served.default`."""
        return self._dataplane.default

    @property
    def rules(self) -> RulePolicy | None:
        """As `Served.rules`."""
        return self._dataplane.rules

    @property
    def profile(self) -> Profile | None:
        """As `Served.profile`."""
        return self._dataplane.plan.profile

    @property
    def names(self) -> NameServer | None:
        """As `Served.names`."""
        from tunflow.dataplane.served_names import ServedNames  # noqa: PLC0415 - there already, where there is a device

        stage = self._dataplane.driver.admission.names
        return stage.server if isinstance(stage, ServedNames) else None

    @property
    def filtering(self) -> Filtering | None:
        """As `Served.filtering`."""
        return self._dataplane.filtering

    @property
    def reactor(self) -> Reactor:
        """As `Served.reactor`."""
        return self._context.reactor

    @property
    def sockets(self) -> SocketOptions:
        """As `Served.sockets`."""
        return self._context.sockets

    @property
    def descriptors(self) -> int:
        """As `Served.descriptors`."""
        return len(self._context.slots)

    def statistics(self) -> Statistics:
        """As `Served.statistics`."""
        return self._dataplane.driver.final_statistics()


class ServedPort:
    """As `Served`: the clients of a local proxy port, which all have one way out."""

    inbound = "Mixed"
    rules = None
    profile = None
    names = None
    filtering = None
    sockets = UNMARKED

    def __init__(self, server: ListenServer, reactor: Reactor, default: Outbound) -> None:
        self._server = server
        self._reactor = reactor
        self._default = default

    @property
    def port(self) -> int:
        """As `Served.port`."""
        return self._server.addresses[0].port

    @property
    def default(self) -> Outbound:
        """As `Served.default`."""
        return self._default

    @property
    def reactor(self) -> Reactor:
        """As `Served.reactor`."""
        return self._reactor

    @property
    def descriptors(self) -> int:
        """As `Served.descriptors`."""
        return self._server.shared.budget.used

    def statistics(self) -> Statistics:
        """As `Served.statistics`."""
        counters = self._server.shared.counters
        return Statistics(
            tcp_flows=counters.streams,
            tcp_failed=counters.refused,
            tcp_bytes_up=counters.stream_bytes_up,
            tcp_bytes_down=counters.stream_bytes_down,
            udp_flows=counters.associations,
            udp_bytes_up=counters.datagram_bytes_up,
            udp_bytes_down=counters.datagram_bytes_down,
            internal_errors=self._reactor.internal_errors,
        )
