"""The name server as a step of admission: it answers what goes to port 53 of the addresses in its scope."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tunflow.dataplane.decision import DatagramCase, Decision, Delegate, Refuse, StreamCase
from tunflow.endpoint import Endpoint
from tunflow.flow import FlowInfo
from tunflow.loop.trouble import Trouble
from tunflow.names.name_server import NameServer
from tunflow.names.queries import DatagramQueries, StreamQueries
from tunflow.names.rules import NameRules, Unresolved
from tunflow.protocols.contract import Outbound

DNS_PORT = 53


class ServedNames:
    """As `admission.NameStage`."""

    def __init__(self, server: NameServer) -> None:
        self.server = server
        self._hand = Delegate(self._stream, self._datagrams)

    def admit(self, flow: FlowInfo) -> Decision | None:
        """Take queries, and refuse encrypted DNS that is to stay out."""
        server, target = self.server, flow.target
        client, address = flow.client.host, target.host
        assert isinstance(client, bytes)
        assert isinstance(address, bytes)
        if target.port == DNS_PORT and server.serves(address):
            return self._hand
        flow.hostnames = names = server.names_of(client, address)
        flow.hostname = names[0] if names else None
        flow.is_fake = server.is_fake(address)
        return Refuse.RESET if server.blocks(target, flow.hostname) else None

    def outside(self, target: Endpoint, dialer: Outbound) -> Endpoint | Unresolved | None:
        """As `NameServer.outside`."""
        return self.server.outside(target, dialer)

    def resolve(
        self,
        name: str,
        then: Callable[[Sequence[bytes]], None],
        ipv6_first: bool = False,
        flow: FlowInfo | None = None,
    ) -> None:
        """As `NameServer.resolve`."""
        self.server.resolve(name, then, ipv6_first, flow)

    def is_fake(self, address: bytes) -> bool:
        """As `NameServer.is_fake`."""
        return self.server.is_fake(address)

    def use_rules(self, rules: NameRules) -> bool:
        """As `NameServer.use_rules`."""
        self.server.use_rules(rules)
        return True

    @property
    def trouble(self) -> Trouble | None:
        """As `NameServer.trouble`."""
        return self.server.trouble

    def reconnect(self) -> None:
        """As `NameServer.reconnect`."""
        self.server.reconnect()

    def close(self) -> None:
        """As `NameServer.close`."""
        self.server.close()

    def _stream(self, case: StreamCase) -> StreamQueries:
        return StreamQueries(self.server, case.context, case.connection, case.flow)

    def _datagrams(self, case: DatagramCase) -> DatagramQueries:
        return DatagramQueries(self.server, case.context, case.udp, case.flow)
