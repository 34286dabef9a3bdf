"""Says that servers which take a local port's flows send nothing: so do those that cannot decrypt what they get."""

from __future__ import annotations

from tunflow.inbound.counters import Counters
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.outbound.silence import SENT_NOTHING, SILENCE, password_advice


class UnheardServers:
    """Hears of each flow that was handed to the servers of a port."""

    def __init__(self, reactor: Reactor, log: CauseLog, counters: Counters) -> None:
        self._reactor = reactor
        self._log = log
        self._counters = counters
        self._watched: set[str] = set()

    def asked(self, label: str) -> None:
        """A flow goes by servers, known by their label."""
        if label in self._watched or self._counters.stream_bytes_down:
            return
        self._watched.add(label)
        self._reactor.call_later(SILENCE, lambda: self._check(label))

    def _check(self, label: str) -> None:
        self._watched.discard(label)
        if self._counters.stream_bytes_up and not self._counters.stream_bytes_down:
            self._log.tell(f"unheard {label}", password_advice(label, SENT_NOTHING))
