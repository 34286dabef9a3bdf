"""What the API tells and does, as calls that run in the loop's thread: nothing else of a dataplane is touched by it."""

from __future__ import annotations

import os
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tunflow.api import shapes
from tunflow.api.flow_texts import FlowTexts
from tunflow.dns.questions import question
from tunflow.errors import LocalError
from tunflow.outbound.chain import goes_direct
from tunflow.outbound.delay_round import DelayRound
from tunflow.protocols.contract import Carries, Outbound
from tunflow.rules.domains import normalise
from tunflow.rules.health_question import HealthQuestion
from tunflow.rules.targets import PROXY

if TYPE_CHECKING:
    from tunflow.api.served import Served
    from tunflow.dataplane.flow_book import FlowBook
    from tunflow.dataplane.rule_policy import Routing, RulePolicy
    from tunflow.profiles.profile import Profile
    from tunflow.tunnel.filtering import Filtering
    from tunflow.tunnel.list_refresh import ListRefresh
    from tunflow.tunnel.rule_update import UpdateOutcome

_BUILT_IN = {"DIRECT": "Direct", "REJECT": "Reject", "REJECT-DROP": "RejectDrop"}
_PAGE = os.sysconf("SC_PAGE_SIZE")


class _Asked(NamedTuple):
    """Servers that are asked how they do, and how."""

    servers: list[str]
    way_of: Callable[[str], Outbound | None]
    question_of: Callable[[str], HealthQuestion]
    recall: Callable[[str, float | None], None]


class Unanswerable(LocalError):
    """A request that cannot be done; `status` is HTTP's."""

    def __init__(self, line: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(line)
        self.status = status


class TunnelFacts:
    """Of what is served now, if something is."""

    def __init__(self, book: FlowBook) -> None:
        self._book = book
        self._texts = FlowTexts()
        self._served: Served | None = None
        self._rounds: set[DelayRound] = set()
        self._delay: float | None = None
        """Of the one way out where there are no rules: seconds that its last answer took."""
        self._works = True
        self.lists: ListRefresh | None = None
        """Who fetches lists, if they are fetched here."""

    def serve(self, served: Served | None) -> None:
        """Tell of this from now on; None for nothing."""
        self._served = served
        if served is None:
            for each in self._rounds:
                each.close()
            self._rounds.clear()

    # What there is.

    def proxies(self) -> dict[str, dict[str, Any]]:
        """Groups, servers and built-in ways out, by name."""
        policy = self._policy
        if policy is None:
            outbound = self._default
            return {} if outbound is None else {PROXY: _server(PROXY, outbound, self._delay, self._works)}
        from tunflow.dataplane.decision import Refuse  # noqa: PLC0415 - there already, where there are rules

        routing = policy.routing
        health = routing.groups.health
        found: dict[str, dict[str, Any]] = {}
        delays = {name: health.delay(name) for name in routing.ways}
        for facts in routing.groups.facts():
            found[facts["name"]] = shapes.group(facts, delays)
        for name, way in routing.ways.items():
            if name in _BUILT_IN or isinstance(way, Refuse):
                found[name] = shapes.server(name, _BUILT_IN.get(name, "Reject"), True, None)
            else:
                found[name] = _server(name, way, delays[name], health.works(name))
        members = [{"name": name} for name in found]
        last = self.rules()[-1]["proxy"]
        everything = {"name": shapes.GLOBAL, "type": "select", "now": last, "members": members}
        found[shapes.GLOBAL] = shapes.group(everything, delays)
        return found

    def proxy(self, name: str) -> dict[str, Any]:
        """One of them. Raises Unanswerable."""
        found = self.proxies().get(name)
        if found is None:
            raise Unanswerable(f"no server or group is called {name}", HTTPStatus.NOT_FOUND)
        return found

    def rules(self) -> list[dict[str, Any]]:
        """The rules in their order, the default last."""
        policy = self._policy
        if policy is None:
            return [shapes.rule("MATCH", PROXY, 0)]
        table, default = policy.routing.table, policy.routing.default
        verdicts = [table.verdict(number) for number in range(len(table))]
        found = [shapes.rule(verdict.text, verdict.target, number) for number, verdict in enumerate(verdicts)]
        if found and found[-1]["type"] == "Match":
            return found
        return [*found, shapes.rule("MATCH", default.target, len(found))]

    def connections(self) -> str:
        """The flows of now, and the bytes of all that ever were, as JSON."""
        up, down = self.totals()
        return self._texts.connections(self._book.entries(), up, down, self.memory(), self._inbound)

    def totals(self) -> tuple[int, int]:
        """Bytes from clients and to clients so far."""
        if self._served is None:
            return 0, 0
        statistics = self._served.statistics()
        return (
            statistics.tcp_bytes_up + statistics.udp_bytes_up,
            statistics.tcp_bytes_down + statistics.udp_bytes_down,
        )

    def memory(self) -> int:
        """Bytes of this process that are in memory (proc(5), statm)."""
        try:
            return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
        except OSError:
            return 0

    def metrics(self) -> bytes:
        """Counts in Prometheus' text format."""
        from tunflow.api.metrics import exposition  # noqa: PLC0415 - for who scrapes

        return exposition(self._served, self.memory())

    # What can be done.

    def select(self, group: str, member: str) -> None:
        """Use a member in a group of the type select. Raises Unanswerable."""
        self.proxy(group)
        try:
            self._routing.groups.select(group, member)
        except LocalError as error:
            raise Unanswerable(str(error)) from None

    def cut(self, number: int | None = None) -> int:
        """End one flow, or all; how many."""
        return self._book.cut(number)

    def measure(self, name: str, url: str | None, done: Callable[[dict[str, float | None]], None]) -> None:
        """Ask a server, or the servers of a group, how long they take; `done` gets seconds by server. Raises
        Unanswerable."""
        served = self._require()
        servers, way_of, question_of, recall = self._asked(served, name)
        delays: dict[str, float | None] = {}
        rounds: list[DelayRound] = []

        def told(server: str, delay: float | None) -> None:
            delays[server] = delay
            recall(server, delay)
            if len(delays) == len(servers):
                self._rounds.difference_update(rounds)
                done(delays)

        if not servers:
            done({})
            return
        questions = question_of if url is None else lambda _: HealthQuestion(url)
        rounds.append(DelayRound(served.reactor, servers, way_of, questions, served.sockets, told))
        self._rounds.update(rounds)

    def _asked(self, served: Served, name: str) -> _Asked:
        """Who is asked how it does. Raises Unanswerable."""
        if served.rules is None and name == PROXY:
            return _Asked([name], lambda _: served.default, lambda _: HealthQuestion(), self._recall)
        from tunflow.dataplane.decision import Refuse  # noqa: PLC0415 - there already, where there are rules

        routing = self._routing
        if name in routing.groups:
            servers = [each for each in routing.groups.servers_of(name) if each not in _BUILT_IN]
        elif isinstance(routing.ways.get(name), Refuse) or name not in routing.ways:
            raise Unanswerable(f"no server or group is called {name}", HTTPStatus.NOT_FOUND)
        else:
            servers = [name]
        return _Asked(servers, routing.dialer, routing.groups.question, routing.groups.health.recall)

    def _recall(self, _: str, delay: float | None) -> None:
        self._delay, self._works = delay, delay is not None

    def query(self, name: str, kind: str, done: Callable[[bytes | None], None]) -> None:
        """Ask the name server for real answers about a name; `done` gets the message, None where nobody answers.

        Raises Unanswerable.
        """
        from tunflow.api.dns_json import record_type  # noqa: PLC0415 - for who looks a name up

        names = self._require().names
        if names is None:
            raise Unanswerable("nobody answers names here: the servers find them", HTTPStatus.NOT_FOUND)
        try:
            message = question(normalise(name), record_type(kind))
        except (LocalError, ValueError) as error:
            raise Unanswerable(str(error)) from None
        names.resolver.look_up(message, done, self._require().reactor.now)

    def forget_answers(self) -> None:
        """Ask for all names anew. Raises Unanswerable."""
        names = self._require().names
        if names is not None:
            names.resolver.cache.clear()

    # The filter.

    def filter(self) -> dict[str, Any]:
        """What it blocked lately, the newest first, as far as its log may tell; `add` is the list that hosts go to."""
        filtering = self._filtering
        if filtering is None:
            return {"enabled": False, "privacy": "none", "add": None, "events": []}
        from tunflow.tunnel.allow_list import allow_section  # noqa: PLC0415 - there already, where there is a filter

        added = None if filtering.content is None else allow_section(filtering.section)
        events = [dict(each) for each in reversed(filtering.log.recent)]
        add = None if added is None else added.name
        return {"enabled": True, "privacy": filtering.log.privacy, "add": add, "events": events}

    def allow(self, host: str) -> dict[str, Any]:
        """Add a host to the profile's list for that. Raises Unanswerable."""
        self._require()
        filtering = self._filtering
        if filtering is None:
            raise Unanswerable("nothing is filtered here: the profile has no [filter]")
        try:
            ruling = filtering.allow(host)
        except LocalError as error:
            raise Unanswerable(str(error)) from None
        return {"host": host, "why": ruling.why}

    def fetch(self, name: str, done: Callable[[UpdateOutcome], None]) -> None:
        """Fetch a list again; `done` gets what became of it. Raises Unanswerable."""
        self._require()
        if self.lists is None or not self.lists.fetch_now(name, done):
            raise Unanswerable(f"{name} is fetched by tunflow rules update, and used after tunflow reload")

    # Where it comes from.

    @property
    def profile(self) -> Profile | None:
        """What is served was made of this; None for servers alone."""
        return None if self._served is None else self._served.profile

    @property
    def port(self) -> int:
        """Where a local proxy listens; 0 for none."""
        return 0 if self._served is None else self._served.port

    @property
    def _inbound(self) -> str:
        return "Tun" if self._served is None else self._served.inbound

    @property
    def _policy(self) -> RulePolicy | None:
        return None if self._served is None else self._served.rules

    @property
    def _default(self) -> Outbound | None:
        return None if self._served is None else self._served.default

    @property
    def _filtering(self) -> Filtering | None:
        return None if self._served is None else self._served.filtering

    def _require(self) -> Served:
        if self._served is None:
            raise Unanswerable("no tunnel is up", HTTPStatus.SERVICE_UNAVAILABLE)
        return self._served

    @property
    def _routing(self) -> Routing:
        self._require()
        policy = self._policy
        if policy is None:
            raise Unanswerable("there are no groups: the servers came without a profile's rules")
        return policy.routing


def _server(name: str, way: Outbound, delay: float | None, works: bool) -> dict[str, Any]:
    kind = "Direct" if goes_direct(way) else way.label.partition("://")[0] or way.label
    return shapes.server(name, kind, Carries.DATAGRAMS in way.carries, delay, works)
