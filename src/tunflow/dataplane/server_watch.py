"""What is said about proxies that fail: once each, in words that help.

A proxy with a wrong password looks like a silent one, because a server does not answer what it cannot decrypt.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from tunflow.dataplane.statistics import Statistics
from tunflow.errors import BadPacket
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.loop.trouble import Trouble, seen
from tunflow.outbound.silence import SENT_NOTHING, SILENCE, password_advice
from tunflow.protocols.codec import ProxyRefused

MANY = 2
TOGETHER = 0.5
"""Seconds within which connections that are closed unheard are one sign: a program with eight uploads may end."""

_NAME_ADVICE = "it may not find that name; if others fail as well, check the password and method"


class ServerWatch:
    """Hears from the relays how their proxies behave, each known by its label."""

    def __init__(self, reactor: Reactor, log: CauseLog, statistics: Statistics) -> None:
        self._reactor = reactor
        self._log = log
        self._statistics = statistics
        self._answered: set[str] = set()
        """Those that sent something that decodes: password and method are right."""
        self._watched: dict[str, set[str | None]] = {}
        """By label, the names that flows were for since `SILENCE` began, None for an address; two say that there are
        many."""
        self._closed: dict[str, set[str | None]] = {}
        """By label, the names that flows were for which it closed since it was last heard."""
        self._spoken_to: set[str] = set()
        """Those that owe an answer before they carry anything."""
        self.troubles: dict[str, Trouble] = {}
        """By label, what failed the flows since one was last answered."""
        self._unreached: set[str] = set()
        """Those whose trouble is that they cannot be reached."""
        self._troubled: Callable[[str], None] | None = None

    def on_trouble(self, troubled: Callable[[str], None] | None) -> None:
        """Tell `troubled` of each flow that a proxy failed, from now on; None for nobody."""
        self._troubled = troubled

    def asked(self, label: str, name: str | None = None) -> None:
        """A flow goes through it, which is to find the target's `name` itself if one is given."""
        names = self._watched.get(label)
        if names is None:
            self._watched[label] = {name}
            statistics = self._statistics
            before = statistics.tcp_bytes_up, statistics.tcp_bytes_down
            self._reactor.call_later(SILENCE, lambda: self._check_silence(label, *before))
        elif len(names) < MANY:
            names.add(name)

    def answered(self, label: str) -> None:
        """It sent something that decodes."""
        self._answered.add(label)
        if self.troubles:
            self.troubles.pop(label, None)
            self._unreached.discard(label)
        if self._closed:
            self._closed.pop(label, None)

    def reachable(self) -> None:
        """A server took a connection just now: what was said of reaching it is over."""
        self.troubles = {label: trouble for label, trouble in self.troubles.items() if label not in self._unreached}
        self._unreached.clear()

    def spoken_to(self, label: str) -> None:
        """It was asked for something and will answer, if it understands."""
        self._spoken_to.add(label)

    def refused(self, label: str, refused: ProxyRefused) -> None:
        """It will not do as we ask. What it says of targets is the clients' to hear and not told here."""
        self.answered(label)
        if refused.refusal.is_servers_fault:
            line = f"the server {label} refuses: {refused}"
            self._trouble(label, line)
            self._log.tell(f"refused {label} {refused}", line)

    def failed(self, label: str, error: int, words: str | None = None) -> None:
        """It could not be reached; `words` say why, where the error does not."""
        if words is not None:  # which whoever keeps the session has told
            self._unreached.add(label)
            self._trouble(label, f"the server {label} cannot be used: {words}")
            return
        line = f"cannot reach the server {label}: {os.strerror(error)}"
        self._unreached.add(label)
        self._trouble(label, line)
        self._log.tell(f"proxy {label} {error}", f"{line}; check its address and port, and that it runs")

    def garbled(self, label: str, error: BadPacket, heard: bool) -> None:
        """It sent what does not decode."""
        advice = "the flow is reset" if heard else "check the password and method"
        line = f"the server {label} sent what cannot be read ({error}); {advice}"
        self._trouble(label, line, sure=not heard)
        self._log.tell(f"garbled {label} {error}", line)

    def closed_early(self, label: str) -> None:
        """It closed a connection before it had agreed to anything. What it answered before speaks for it."""
        if label not in self._answered:
            line = (
                f"the server {label} closed the connection before it had answered: check its port, and that it speaks "
                "this protocol, in TLS or not"
            )
            self._trouble(label, line, sure=False)
            self._log.tell(f"early {label}", line)

    def closed_unheard(self, label: str, name: str | None = None) -> None:
        """It closed a flow without a byte; `name` is the target's, where the server is to find it itself."""
        is_new = label not in self._answered
        names = self._closed.setdefault(label, set())
        if len(names) < MANY:
            names.add(name)
        only = _only(names)
        if only is not None:
            line = f"the server {label} closed connections to {only} without an answer: {_NAME_ADVICE}"
        else:
            line = f"the server {label} closed connections without an answer: check the password and method"
        before, sure = self.troubles.get(label), is_new and only is None
        if before is not None and not sure and self._reactor.now - before.last < TOGETHER:
            self.troubles[label] = before._replace(line=line)
        else:
            self._trouble(label, line, sure=sure)
        if is_new:
            self._advise(label, "closed a connection without an answer", only)

    def _trouble(self, label: str, line: str, *, sure: bool = True) -> None:
        self.troubles[label] = seen(self.troubles.get(label), line, self._reactor.now, sure=sure, server=label)
        if self._troubled is not None:
            self._troubled(label)

    def _check_silence(self, label: str, up: int, down: int) -> None:
        only = _only(self._watched.pop(label))
        if label in self._answered:
            # What it could decrypt once it may not any more: its password was changed, or the way there is cut.
            is_silent = self._statistics.tcp_bytes_up > up and self._statistics.tcp_bytes_down == down
        else:
            is_silent = bool(self._statistics.tcp_bytes_up or label in self._spoken_to)
        if not is_silent:
            return
        line = f"the server {label} {SENT_NOTHING}" + (
            f", all of them to {only}: {_NAME_ADVICE}" if only is not None else ""
        )
        self.troubles[label] = seen(self.troubles.get(label), line, self._reactor.now, server=label)
        if label not in self._answered:
            self._advise(label, SENT_NOTHING, only)

    def _advise(self, label: str, what: str, name: str | None) -> None:
        if name is not None:
            self._log.tell(f"unheard {label} {name}", f"the server {label} {what} for {name}: {_NAME_ADVICE}")
            return
        self._log.tell(f"unheard {label}", password_advice(label, what))


def _only(names: set[str | None]) -> str | None:
    """The name that all flows were for, if there is just one."""
    return next(iter(names)) if len(names) == 1 else None
