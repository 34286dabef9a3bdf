"""The name server of a tunnel: what answers what clients send to port 53, whomever they mean or in a scope.

It joins the resolver (`dns.resolver`, without I/O) to the loop: upstreams with their sockets below, the driver above.
Port 53 is bound nowhere: queries are taken out of the packet path and answered with the addresses swapped. Replacing
its configuration keeps the cache and the fake addresses; lookups under way end as they began.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from tunflow.contained import Lost
from tunflow.dns import replies
from tunflow.dns.answers import (
    AAAA,
    HTTPS,
    NO_SUCH_NAME,
    SVCB,
    A,
    addresses_untrusted,
    lifetime,
    parse_answer_untrusted,
)
from tunflow.dns.cache import Cache
from tunflow.dns.config import BOOTSTRAP, DNSConfig, FakeIP
from tunflow.dns.fake_ip import FakeIPMap
from tunflow.dns.local_answers import FAKE_TTL
from tunflow.dns.lookup import Finished, PendingQuery
from tunflow.dns.messages import SERVER_FAILURE, Query, failure
from tunflow.dns.questions import ClientQuery, question
from tunflow.dns.resolver import Resolver
from tunflow.dns.resolver_plan import ResolverPlan
from tunflow.dns.seen_names import MOST_NAMES
from tunflow.dns.upstream import DIRECT
from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket, LocalError
from tunflow.flow import TCP, FlowInfo
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import SocketOptions
from tunflow.loop.trouble import Trouble, seen
from tunflow.names.exchange import Cancel, Ended, Heard, Upstreams
from tunflow.names.fake_ip_file import FakeIPFile
from tunflow.names.following_resolver import FollowingResolver
from tunflow.names.group import ResolverGroup
from tunflow.names.judged_answers import AliasPatience, AwaitedAliases, judged, leads_to_refused
from tunflow.names.rules import NO_RULES, MadeAnswer, NameRules, Unresolved
from tunflow.names.upstreams import make_upstream
from tunflow.outbound.chain import goes_direct
from tunflow.protocols.contract import Outbound

_A_FLOW = Lost("a flow to a name")

LINGER = 10.0
"""Seconds that replaced resolvers keep their sockets."""

DialerFor = Callable[[str], Outbound]
"""The dialer, at this moment, for a server's or group's name, `direct` or `tunnel`. Raises LocalError."""


class NameServer:
    """See the module's rules. Raises LocalError for a configuration that cannot work.

    `finished` is told of every lookup that ends, with the outcome in words; without it the log is told of failures.
    """

    def __init__(
        self,
        reactor: Reactor,
        config: DNSConfig,
        dialer_for: DialerFor,
        sockets: SocketOptions,
        log: CauseLog,
        finished: Finished | None = None,
    ) -> None:
        self.config = config
        self.trouble: Trouble | None = None
        """Why names cannot be looked up, if that is so; one broken domain is not enough."""
        self._reactor = reactor
        self._sockets = sockets
        self._log = log
        self._fake_file: FakeIPFile | None = None
        fake = self._fake_map(config.fake_ip) if config.fake_ip is not None else None
        self._groups = self._make_groups(config, dialer_for)
        cache = Cache(config.cache_entries, config.cache_size, config.stale)
        self.resolver = Resolver(self, self._plan(config), cache, fake, finished=finished or self._finished)
        reactor.add_deadline(self.resolver.next_timeout, self.resolver.handle_timeout)
        self._rules = NO_RULES
        self._patience = AliasPatience()
        self._asked_as: dict[str, dict[str, None]] = {}
        """Names that were answered with another's addresses, by that one, the latest last."""

    # For the driver.

    def use_rules(self, rules: NameRules) -> None:
        """Answer by a content filter's rules from now on; `NO_RULES` for none."""
        self._rules = rules

    def query(
        self,
        query: ClientQuery,
        flow: FlowInfo,
        reply: Callable[[bytes], None],
        gone: Callable[[], None] | None = None,
    ) -> None:
        """Answer a client's query: at once, later or never (then `gone` is called)."""
        client, rules = flow.client.host, self._rules
        assert isinstance(client, bytes)
        other: str | None = None
        made = rules.answers(query.name, query.query.kind, flow) if rules.answers is not None else None
        if made is not None and not made.alias:
            reply(self._made(query, client, made))
            return
        if made is not None:
            other = made.alias
        elif rules is not NO_RULES:
            if rules.refuses is not None and rules.refuses(query.name, flow):
                reply(replies.nothing(query.query, NO_SUCH_NAME))
                return
            if rules.hides_services and query.query.kind in {HTTPS, SVCB}:
                reply(replies.nothing(query.query))
                return
            other = rules.instead(query.name) if rules.instead is not None else None
        if other is None:
            other = self.resolver.plan.aliases.get(query.name)
        if other is not None:
            if query.query.kind not in {A, AAAA}:
                reply(replies.nothing(query.query))  # an HTTPS record has addresses too (RFC 9460 §7.3)
                return
            self._note_stand_in(query.name, other)
            query, reply = _asked_instead(query.query, other, reply)
        if rules.refuses_answer is not None:
            reply = judged(query, flow, reply, rules)
            if rules.judges_aliases is not None and rules.judges_aliases(query.name, flow):
                self._answer_by_aliases(query, flow, reply, rules, gone)
                return
        self.resolver.query(query, client, flow.protocol == TCP, reply, self._reactor.now, gone)

    def _answer_by_aliases(
        self,
        query: ClientQuery,
        flow: FlowInfo,
        reply: Callable[[bytes], None],
        rules: NameRules,
        gone: Callable[[], None] | None,
    ) -> None:
        """Answer a query; where that would be with fake addresses, once it is known what the name is an alias of."""
        client, resolver, is_tcp = flow.client.host, self.resolver, flow.protocol == TCP
        assert isinstance(client, bytes)

        def answer() -> None:
            resolver.query(query, client, is_tcp, reply, self._reactor.now, gone)

        if not resolver.fakes(query):
            answer()
            return
        try:
            asked = question(query.name, A)
        except LocalError:  # what a client's packet made of a name
            answer()
            return
        awaited = AwaitedAliases(self._reactor, self._patience, query, flow, reply, rules, answer)
        resolver.look_up(asked, awaited.heard, self._reactor.now)

    def _made(self, query: ClientQuery, client: bytes, made: MadeAnswer) -> bytes:
        """The answer to a client's query that a content filter's rules make."""
        if made.code and made.code != NO_SUCH_NAME:
            return failure(query.query, made.code)
        if not made.records:
            return replies.nothing(query.query, made.code)
        addresses = tuple(data for kind, data in made.records if kind == query.query.kind and kind in {A, AAAA})
        if addresses:
            self.resolver.seen.told(client, query.name, addresses, self._reactor.now)
        return replies.records(query.query, made.records, replies.NEGATIVE_TTL)

    def names_of(self, client: bytes, address: bytes) -> tuple[str, ...]:
        """The names that a client may mean by an address (both packed), the likeliest first, as far as answers tell."""
        fake = self.resolver.fake
        if fake is not None and address in fake:
            name = fake.name_of(address)
            names: tuple[str, ...] = () if name is None else (name,)
        else:
            names = self.resolver.seen.names_of(client, address, self._reactor.now)
        if self._asked_as:
            names += tuple(each for name in names for each in reversed(self._asked_as.get(name, {})))
        return names

    def _note_stand_in(self, name: str, other: str) -> None:
        """A client means `name` by the addresses of `other`, too."""
        names = self._asked_as.setdefault(other, {})
        names.pop(name, None)
        names[name] = None
        if len(names) > MOST_NAMES:
            del names[next(iter(names))]
        while len(self._asked_as) > MOST_NAMES:
            del self._asked_as[next(iter(self._asked_as))]

    def serves(self, address: bytes) -> bool:
        """Return True if queries to a packed address are answered here."""
        scope = self.config.scope
        return scope is None or scope(address)

    def is_fake(self, address: bytes) -> bool:
        """Return True if a packed address is one of ours, which nobody outside knows."""
        return self.resolver.fake is not None and address in self.resolver.fake

    def blocks(self, target: Endpoint, hostname: str | None) -> bool:
        """Return True if a flow is encrypted DNS that is to stay out."""
        if not self.config.block_encrypted:
            return False
        resolvers = self.config.resolvers
        return resolvers.is_encrypted_dns(target.host, target.port) or (
            hostname is not None and resolvers.is_encrypted_dns(hostname, target.port)
        )

    def outside(self, target: Endpoint, dialer: Outbound) -> Endpoint | Unresolved | None:
        """Return where a flow to `target` really goes: the name behind a fake address, or what to look up where
        `dialer` takes no names; None for a fake address whose name is forgotten."""
        host = target.host
        if isinstance(host, bytes):
            if not self.is_fake(host):
                return target
            assert self.resolver.fake is not None
            name = self.resolver.fake.name_of(host)
            if name is None:  # a client kept it for longer than we remember
                return None
            is_ipv6 = len(host) == 16
        else:
            name, is_ipv6 = host, False
        return Unresolved(name, is_ipv6) if goes_direct(dialer) else Endpoint(name, target.port)

    def resolve(
        self,
        name: str,
        then: Callable[[Sequence[bytes]], None],
        ipv6_first: bool = False,
        flow: FlowInfo | None = None,
    ) -> None:
        """The real addresses of a name, of the other family if it has none of the first; `then` is called once.

        None are found for a flow whose content filter refuses what the name is an alias of.
        """
        kinds = [AAAA, A] if ipv6_first else [A, AAAA]

        def ask() -> None:
            kind = kinds.pop(0)
            try:
                message = question(name, kind)
            except LocalError:  # what a client's packet made of a name
                then([])
                return
            self.resolver.look_up(message, answered, self._reactor.now)

        def answered(message: bytes | None) -> None:
            found: list[bytes] = []
            if message is not None and flow is not None and leads_to_refused(name, message, flow, self._rules, A):
                then([])
                return
            if message is not None:
                try:
                    found = addresses_untrusted(parse_answer_untrusted(message))
                except BadPacket:
                    found = []
            if found or not kinds:
                try:
                    then(found)
                except Exception as error:  # those who have asked the same are not to be kept from their answers
                    self._reactor.contain(error, _A_FLOW)
            else:
                ask()

        ask()

    # Configuration.

    def reconfigure(self, config: DNSConfig, dialer_for: DialerFor) -> None:
        """Take another configuration. Raises LocalError, and then nothing has changed.

        The pools of fake addresses cannot change while clients hold some.
        """
        groups = self._make_groups(config, dialer_for)
        if config.fake_ip is not None and self.resolver.fake is None:
            self.resolver.fake = self._fake_map(config.fake_ip)
        before, self._groups = self._groups, groups
        self.config = config
        self.resolver.plan = self._plan(config)
        # Lookups under way hold on to their sockets; the longest of them is over by then.
        self._reactor.call_later(LINGER, lambda: _close(before))

    def reconnect(self) -> None:
        """The network has changed: connections to resolvers are dialled anew, and names judged anew."""
        self.resolver.plan.selector.network_changed()
        for group in self._groups.values():
            group.reconnect()

    def close(self) -> None:
        """Give everything back, without a word to clients that wait."""
        self.resolver.close()
        _close(self._groups)
        if self._fake_file is not None:
            self._fake_file.close()

    def _fake_map(self, config: FakeIP) -> FakeIPMap:
        """The map as configured, with what its file remembers. Raises LocalError."""
        fake = FakeIPMap(config.pool4, config.pool6, config.names)
        if config.file is not None:
            self._fake_file = FakeIPFile(
                config.file, fake, self._reactor, lambda line: self._log.tell("fake-IP file", line)
            )
        return fake

    def _plan(self, config: DNSConfig) -> ResolverPlan:
        plan = replace(config.plan, gives_fake=config.fake_ip is not None)
        return replace(plan, hidden=config.resolvers.has) if config.block_encrypted else plan

    def _make_groups(self, config: DNSConfig, dialer_for: DialerFor) -> dict[str, Upstreams]:
        made: dict[str, Upstreams] = {}
        direct_needs_address = BOOTSTRAP not in config.groups
        for name, group in config.groups.items():
            if not group.upstreams:
                raise LocalError(f"dns: the group {name} has no resolver")
            members: list[Upstreams] = []
            for upstream in group.upstreams:
                via = upstream.via or group.via
                named = isinstance(upstream.target.host, str)
                if named and via == DIRECT and (direct_needs_address or name == BOOTSTRAP):
                    host = upstream.target.host_text
                    raise LocalError(
                        f"dns: the resolver {upstream.label} is asked directly, so its address is needed: write "
                        f"{upstream.transport}://{host}@ADDRESS, or give bootstrap resolvers"
                    )
                dialer_for(via)  # whether there is one
                dialer = partial(dialer_for, via)
                made_one = make_upstream(
                    self._reactor,
                    upstream,
                    dialer,
                    self._sockets,
                    secrets.randbits,
                    self._bootstrap if named and via == DIRECT else None,
                    group.mutation,
                )
                members.append(FollowingResolver(made_one, dialer))
            made[name] = ResolverGroup(self._reactor, name, members, group.race)
        return made

    # For the resolver.

    def ask(self, group: str, query: bytes, heard: Heard, ended: Ended) -> Cancel:
        """As `dns.lookup.Asker.ask`."""
        return self._groups[group].ask(query, heard, ended)

    def _bootstrap(self, name: str, then: Callable[[bytes | None], None]) -> None:
        """The address of a resolver that is asked directly."""

        def heard(message: bytes, _label: str, _now: float) -> None:
            try:
                found = addresses_untrusted(parse_answer_untrusted(message))
            except BadPacket:
                found = []
            cancel()
            then(found[0] if found else None)

        cancel = self._groups[BOOTSTRAP].ask(question(name, A), heard, lambda _why, _now: then(None))

    def _finished(self, lookup: PendingQuery, outcome: str) -> None:
        if lookup.selection.chosen is None:
            why = next((step.why for step in reversed(lookup.selection.steps)), outcome)
            self._log.tell(f"dns {why}", f"names cannot be looked up: {lookup.name}: {why}")
            self.trouble = seen(self.trouble, f"names cannot be looked up: {why}", self._reactor.now, sure=False)
        else:
            self.trouble = None


def _asked_instead(
    query: Query, other: str, reply: Callable[[bytes], None]
) -> tuple[ClientQuery, Callable[[bytes], None]]:
    """Return what is asked about another name, and who makes the client's answer of what comes."""

    def answered(made: bytes) -> None:
        try:
            answer = parse_answer_untrusted(made)
            found = addresses_untrusted(answer)
        except BadPacket:
            reply(failure(query, SERVER_FAILURE))
            return
        reply(replies.addresses(query, found, lifetime(answer) or FAKE_TTL))

    return ClientQuery.of_untrusted(question(other, query.kind)), answered


def _close(groups: Mapping[str, Upstreams]) -> None:
    for group in groups.values():
        group.close()
