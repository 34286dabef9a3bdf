"""The way out through Tor's SOCKS port, and Tor as a resolver.

Read first: Tor's socks-extensions. Its IsolateSOCKSAuth gives each user name and password circuits of their own.
"""

from __future__ import annotations

import hashlib

from tunflow.endpoint import Endpoint, endpoint
from tunflow.flow import FlowInfo
from tunflow.protocols.codec import StreamCodec
from tunflow.protocols.contract import NameQuestion, OutboundContext
from tunflow.protocols.server_outbound import ServerOutbound
from tunflow.protocols.socks import socks5
from tunflow.protocols.socks.client5 import Socks5Client
from tunflow.protocols.socks.socks5 import Credentials

ISOLATION_BYTES = 16
"""Random bytes of what tells Tor's circuits apart: nobody else's circuit is shared by accident."""


class TorOutbound(ServerOutbound):
    """As `contract.Outbound`; its `resolver` is Tor."""

    def __init__(
        self, label: str, host: str, port: int, context: OutboundContext, isolate: str | None, optimistic: bool
    ) -> None:
        is_by_program = isolate == "program"
        super().__init__(label, endpoint(host, port), context, self._ask, wants_flow=is_by_program)
        self._is_by_flow, self._is_by_program = isolate == "flow", is_by_program
        self._optimistic = optimistic
        self._random_bytes = context.random_bytes
        self._secret = context.random_bytes(ISOLATION_BYTES)
        self.resolver = self

    def resolve(self, name: str) -> NameQuestion:
        """As `NameSource.resolve`."""
        return self._question(socks5.RESOLVE, Endpoint(name, 0))

    def resolve_pointer(self, address: bytes) -> NameQuestion:
        """As `NameSource.resolve_pointer`."""
        return self._question(socks5.RESOLVE_PTR, Endpoint(address, 0))

    def _ask(self, target: Endpoint, flow: FlowInfo | None) -> StreamCodec:
        return Socks5Client(target, self._identity(flow), optimistic=self._optimistic)

    def _question(self, command: int, what: Endpoint) -> NameQuestion:
        asks = Socks5Client(what, self._identity(None), command=command)
        return NameQuestion(self.speaking(asks), lambda: asks.bound)

    def _identity(self, flow: FlowInfo | None) -> Credentials:
        if self._is_by_flow:
            who = self._random_bytes(ISOLATION_BYTES)
        elif self._is_by_program and flow is not None and flow.process is not None:
            program = flow.process.executable or flow.process.name or ""
            who = hashlib.blake2b(program.encode(), key=self._secret, digest_size=ISOLATION_BYTES).digest()
        else:
            who = self._secret
        return Credentials(who.hex().encode(), b"")
