"""A client's UDP flow behind a content filter: each datagram is shown until the filter has said its last word.

Datagrams to the far side are judged; those that come back pass while the flow does (the filter of a QUIC or a DNS flow
decides by what the client says).
"""

from __future__ import annotations

from collections.abc import Callable

from tunflow.contained import Contained
from tunflow.dataplane.decision import DatagramCase, Refuse
from tunflow.dataplane.filtering.session import FilterSession
from tunflow.endpoint import Buffer
from tunflow.loop.reactor import Timer
from tunflow.sniff.quic import LONG_HEADER, LONGEST_LOOK, QUIC_PORT, may_open
from tunflow.stack.udp import DatagramOwner, UDPRun

HELD = 64
"""Datagrams held of a flow that is paused; more are dropped, as a full queue would."""

PAUSE = 10.0
"""Seconds after which a paused UDP flow is refused (NEFilterDataProvider: UDP is dropped if not resumed in 10 s)."""


class FilteredDatagrams(Contained):
    """Owns a flow until the filter needs to see no more of it. `go_on` has the case decided: somebody serves the flow
    then, or it is called again."""

    def __init__(self, case: DatagramCase, session: FilterSession, go_on: Callable[[], None]) -> None:
        self._case = case
        self._go_on = go_on
        self._flow = flow = case.udp
        self._session = session
        self._held: list[UDPRun] = []
        self.behind: DatagramOwner | None = None
        """Who gets what passes."""
        self._timer: Timer | None = None
        self._bytes_in_before = flow.mapping.bytes_in
        self._bytes_out = 0
        """Of datagrams that passed here."""
        self._opened_at: int | None = None
        """What the flow had sent when it was given away, to go on unseen; None while it passes here."""
        self._watch_pause()
        session.changed, session.count = self._changed, self._count

    def send(self, run: UDPRun) -> None:
        """Datagrams from the client."""
        session = self._session
        if session.only_openings and not session.paused and self.behind is not None and not self._may_open(run):
            self._bytes_out += sum(map(len, run.payloads))
            self.behind.send(run)
            return
        passed: list[Buffer] = []
        held = None
        for payload in run.datagrams():
            if session.judge_datagram(payload):
                passed.append(payload)
            elif session.paused:
                held = self._hold(held, payload, run)
            elif session.refused:
                break
        self._watch_pause()
        if passed:
            self._bytes_out += sum(map(len, passed))
            self._session.has_begun = True
            self._pass_on(passed, run)
        self._settle()

    def close(self) -> None:
        """The client's socket is gone."""
        self._held.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._session.close()

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"filtered udp {self._flow.mapping.client} -> {self._flow.target}"

    def cut(self) -> None:
        """As `Contained.cut`: what was not judged does not pass."""
        self._session.refused = True
        self._case.context.forget_client(self._flow.mapping)

    def note_end(self) -> None:
        """The flow may be forgotten: by its client's silence, or for newer ones."""
        flow = self._flow
        if flow.mapping.flows.get(flow.key) is not flow:
            self.close()

    def judge_again(self) -> None:
        """The filter's rules changed."""
        self._session.again()

    def _may_open(self, run: UDPRun) -> bool:
        return _may_open(run, self._flow.target.port != QUIC_PORT)

    def _hold(self, held: UDPRun | None, payload: Buffer, like: UDPRun) -> UDPRun:
        """Keep a datagram, if there is room."""
        if held is None:
            held = UDPRun(self._flow, 0, like.may_fragment)
            self._held.append(held)
        if sum(len(run.payloads) for run in self._held) < HELD:
            held.payloads.append(payload)
        return held

    def _pass_on(self, payloads: list[Buffer], like: UDPRun) -> None:
        run = UDPRun(self._flow, 0, like.may_fragment)
        run.payloads += payloads
        if self.behind is None:
            self._case.run = run
            self._go_on()
        if self.behind is not None:
            self.behind.send(run)

    def give_to(self, owner: DatagramOwner | None) -> None:
        """Have `owner` serve the flow: through here, as long as the filter watches."""
        self.behind = owner
        if not self._session.open:
            self._stay()
        elif owner is not None:
            self._give_away(owner)

    def _stay(self) -> None:
        """Be shown the flow's datagrams."""
        flow = self._flow
        if self._opened_at is not None:
            self._bytes_out += flow.bytes_out - self._opened_at
            self._opened_at = None
        if flow.filter is not self:
            self.behind = flow.user  # somebody may have decided otherwise meanwhile
        flow.user = flow.filter = self

    def _give_away(self, owner: DatagramOwner) -> None:
        """Be shown none any more."""
        if self._opened_at is None:
            self._opened_at = self._flow.bytes_out
        self._flow.user, self._flow.filter = owner, None

    def _count(self) -> tuple[int, int]:
        """Bytes to the client and from it. What came is the socket's, whoever sent it."""
        flow = self._flow
        unseen = 0 if self._opened_at is None else flow.bytes_out - self._opened_at
        return flow.mapping.bytes_in - self._bytes_in_before, self._bytes_out + unseen

    def _changed(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._session.open and self._flow.user is self and self.behind is not None:
            self._give_away(self.behind)
        elif not self._session.open:
            self._stay()
        held, self._held = self._held, []
        for run in held:
            self.send(run)
        self._settle()

    def _settle(self) -> None:
        if self._session.refused:
            self._flow.filter = None
            self._case.give(Refuse.RESET)

    def _watch_pause(self) -> None:
        if self._session.paused and self._timer is None:
            self._timer = self._case.context.reactor.call_later(PAUSE, self._too_long)

    def _too_long(self) -> None:
        self._timer = None
        if self._session.paused:
            self._session.refused = True
            self._settle()


def _may_open(run: UDPRun, anywhere: bool) -> bool:
    """Return True if a datagram of the run may open a connection."""
    step = run.gso_size
    for payload in run.payloads:
        if not payload or (step and max(payload[::step]) < LONG_HEADER):
            continue
        for at in range(0, len(payload), step or len(payload)):
            if payload[at] >= LONG_HEADER and may_open(payload[at : at + LONGEST_LOOK], anywhere):
                return True
    return False
