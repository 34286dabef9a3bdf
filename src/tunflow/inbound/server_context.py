"""What every part of a server shares: the loop, the log, the bounds, and what has been done so far."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self

from tunflow.endpoint import Endpoint
from tunflow.inbound.budget import DescriptorBudget
from tunflow.inbound.counters import Counters
from tunflow.inbound.local_addresses import LocalAddresses
from tunflow.inbound.pipe import READ_SIZE
from tunflow.inbound.resolver import InboundResolver
from tunflow.inbound.silent_peers import SilentPeers
from tunflow.inbound.unheard_servers import UnheardServers
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor

DESCRIPTORS = 1024
"""The usual soft limit of open files."""


class Newcomer(Protocol):
    """A connection that has not said what it wants."""

    def close(self) -> None:
        """Make room for another."""


@dataclass(frozen=True, slots=True)
class ServerContext:
    """One for each server."""

    reactor: Reactor
    rng: Callable[[int], bytes]
    log: CauseLog
    budget: DescriptorBudget
    resolver: InboundResolver
    silence: SilentPeers
    scratch: memoryview
    """To read in; what lies in it is gone when the next connection is served."""
    rewrite: Mapping[Endpoint, Endpoint]
    """Targets that are reached elsewhere."""
    off_limits: Container[bytes]
    """Packed addresses that are opened for no client, unless `rewrite` leads there."""
    counters: Counters
    unheard: UnheardServers
    kept: Container[Endpoint] = ()
    """Targets that are handed to nobody on the way: names that never leave."""
    newcomers: dict[Newcomer, float] = field(default_factory=dict)
    """Connections that do not know their target yet, and since when, oldest first."""

    @classmethod
    def on(
        cls,
        reactor: Reactor,
        log: Callable[[str], None],
        *,
        allow_local: bool,
        descriptors: int = DESCRIPTORS,
        rng: Callable[[int], bytes] = os.urandom,
        rewrite: Mapping[Endpoint, Endpoint] | None = None,
        kept: Container[Endpoint] = (),
    ) -> Self:
        """Return a fresh context.

        `descriptors` is how many files the process may have open. Without `allow_local` this host's own addresses, and
        those of its links, are off limits.
        """
        budget = DescriptorBudget(descriptors)
        scratch = memoryview(bytearray(READ_SIZE))
        told = CauseLog(log, lambda: reactor.now)
        counters = Counters()
        return cls(
            reactor=reactor,
            rng=rng,
            log=told,
            budget=budget,
            resolver=InboundResolver(reactor),
            silence=SilentPeers(reactor, budget, scratch),
            scratch=scratch,
            rewrite=rewrite or {},
            off_limits=() if allow_local else LocalAddresses(lambda: reactor.now),
            counters=counters,
            unheard=UnheardServers(reactor, told, counters),
            kept=kept,
        )

    def close(self) -> None:
        """Let go of silent peers and names, once all flows have ended."""
        self.silence.close()
        self.resolver.close()
