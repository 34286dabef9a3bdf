"""The built-in content filter, on the public extension point: it finds out what a flow is, and asks a `Judge`.

- A name that is known before the first byte (from a DNS answer, a fake address) is judged then, and so is the address.
  Where an address was told for several names, a flow is refused by them only if each of them is.
- TLS is judged by its ClientHello, and by the second if a server asks for one; HTTP/1 by every request on the
  connection, QUIC by its first packets; on any port.
- HTTP/2 without TLS is refused: no browser speaks it, and its names are compressed.
- A flow whose server spoke first is no HTTP.
- What goes to port 53 past the tunnel's name server is a flow like any; where names must be allowed, a query's must be.
- Whatever else a flow carries passes, unless only allowed hosts may: then a flow without a name is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

from tunflow.dns.messages import parse_query_untrusted
from tunflow.dns.names import text_of
from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket
from tunflow.filter.judge import (
    NAMELESS,
    NOT_ALLOWED,
    PASSES,
    Cause,
    Door,
    Forged,
    Judge,
    Ruling,
    Subject,
    host_text,
    is_address,
    unreadable,
)
from tunflow.flow import TCP, UDP
from tunflow.providers.filter_flow import FilterFlow, FilterReport, ReportAction, ReportEvent
from tunflow.providers.filter_provider import FilterDataProvider
from tunflow.providers.filter_verdicts import FILTER_FLOW_BYTES_MAX, DataVerdict, NewFlowVerdict
from tunflow.sniff import tls
from tunflow.sniff.http import HTTPRequest, HTTPRequests, may_be_request
from tunflow.sniff.quic import QUIC_PORT, FlowSniffer, Unreadable, may_open

HTTP_PORTS = frozenset({80, 8000, 8008, 8080, 8888})
DNS_PORT = 53
REMEMBERED = 8
"""Names of earlier QUIC connections of a flow, for when the rules change."""

ALIASES = 4096
"""Names that are remembered to be aliases of blocked ones."""

_ALLOW = DataVerdict.allow()
_WATCH, _WATCH_AND_TELL = (
    NewFlowVerdict.filter_data(
        filter_inbound=False, peek_inbound_bytes=0, filter_outbound=True, peek_outbound_bytes=1, should_report=told
    )
    for told in (False, True)
)
_ANY_TIME = datetime.fromtimestamp(0, UTC)
"""For judges that have no schedules."""

_H2 = b"PRI * HTTP/2.0\r\n"

Clock = Callable[[], datetime]
Record = Callable[[FilterFlow, Ruling, str | None], None]
"""Told of each ruling, with the URL or host that it is about."""


class _Watched:
    """What is known of a flow while it is watched. One is made for each flow, and most set few of these."""

    http: HTTPRequests | None = None
    quic: FlowSniffer | None = None
    behind: tls.BehindHello | None = None
    """Set while a second TLS hello may come."""
    name: str | None = None
    """The host that its first bytes named."""
    earlier: tuple[str, ...] = ()
    """Those of QUIC connections that it opened before."""
    is_known: bool = False
    """True if the last word was said: nothing that follows would tell more."""
    ruling: Ruling = PASSES
    """Why it is refused."""
    passed: tuple[Judge, tuple[str, ...], tuple[str, ...], Ruling] | None = None
    """Who let its last request pass, for which hosts and looked-up names, by which ruling; None where URLs count."""
    verdict: DataVerdict = _ALLOW
    """What was said of the bytes that had it."""


class ContentFilter(FilterDataProvider):
    """See the module. `judge` may be replaced at any time; `clock` gives the time with its zone."""

    finds_urls = True
    hears_ends = False

    def __init__(self, judge: Judge, clock: Clock, record: Record) -> None:
        self.judge = judge
        self.record = record
        self.forged = Forged.PASS
        """What becomes of flows that name a host which their client was not told to have that address."""
        self.aliases: dict[str, tuple[str, ...]] = {}
        """Of names that were found to be aliases of blocked ones: those, as they were written."""
        self.ended: Callable[[FilterReport], None] | None = None
        """Told of the end of each flow that passed; None when nobody wants to know."""
        self._clock = clock

    def handle_new_flow(self, flow: FilterFlow) -> NewFlowVerdict:
        """By name and address; what needs a closer look is watched."""
        known: _Watched | None = flow.state
        watched = flow.state = known or _Watched()
        ruling = self._judge_endpoint(flow)
        if known is not None and not ruling.blocked:  # judged again: by what its bytes told, too
            ruling = self._judge_known(flow, known)
        is_udp = flow.socket_protocol == 17
        if ruling.blocked:
            self._note(flow, ruling, flow.url or watched.name or flow.remote_hostname)
            if not is_udp and flow.remote_endpoint.port in HTTP_PORTS:
                return NewFlowVerdict.remediate(None, None)
            return NewFlowVerdict.drop()
        by_address = is_udp and flow.remote_endpoint.port not in {DNS_PORT, QUIC_PORT}
        if by_address and self.judge.only_allowed and ruling is PASSES:
            self._note(flow, NOT_ALLOWED, flow.remote_hostname)
            return NewFlowVerdict.drop()
        if watched.is_known and not is_udp:
            return NewFlowVerdict.allow(should_report=self.ended is not None)
        return _WATCH if self.ended is None else _WATCH_AND_TELL

    def may_ping(self, ping: FilterFlow) -> bool:
        """Return True if a client may ping an address, by it and the names that the client knows for it."""
        ruling = self._judge_endpoint(ping)
        if ruling is PASSES and self.judge.only_allowed:
            ruling = NOT_ALLOWED
        if ruling.blocked:
            self.record(ping, ruling, ping.remote_hostname)
        return not ruling.blocked

    def handle_report(self, report: FilterReport) -> None:
        """Pass the ends on."""
        if self.ended is not None and report.event is ReportEvent.FLOW_CLOSED and report.action is ReportAction.ALLOW:
            self.ended(report)

    @staticmethod
    def ruling(flow: FilterFlow) -> Ruling:
        """Why a flow was refused; that it passes where it was not."""
        watched: _Watched | None = flow.state
        return watched.ruling if watched is not None else PASSES

    def handle_outbound_data(self, flow: FilterFlow, offset: int, data: bytes) -> DataVerdict:
        """The client's bytes, until they say what the flow is."""
        watched: _Watched = flow.state
        http = watched.http
        if http is not None:
            passed = watched.passed
            if (
                passed is None
                or data != http.again
                or passed[0] is not self.judge
                or passed[2] != flow.remote_hostnames
            ):
                return self._look_at_http(flow, http, data)
            self.record(flow, passed[3], flow.url)  # the same request as before
            return watched.verdict
        if flow.socket_protocol == 17:
            return self._look_at_quic(flow, watched, data)
        if watched.behind is not None:
            return self._look_behind_hello(flow, watched.behind, data)
        if data[0] in tls.RECORD_TYPES and offset == 0:
            return self._look_at_tls(flow, data)
        if data[0] >= tls.V2_LENGTH and offset == 0 and Door.RAW_IP in self.judge.doors:
            return self._look_at_nameless(flow, data)
        if _H2.startswith(data[: len(_H2)]):
            if len(data) < len(_H2):
                return DataVerdict.data(pass_bytes=0, peek_bytes=len(_H2))
            return self._refuse(flow, unreadable("HTTP/2 without TLS, whose names cannot be read"), None)
        watched.http = HTTPRequests()
        return self._look_at_http(flow, watched.http, data)

    def handle_outbound_data_complete(self, flow: FilterFlow) -> DataVerdict:
        """What waits will never be whole."""
        watched: _Watched = flow.state
        http = watched.http
        if watched.behind is not None:
            return _ALLOW
        if http is not None and http.is_cut and not (flow.url is None and flow.server_spoke_first):
            return self._refuse(flow, unreadable("an HTTP request that is not whole"), flow.url)
        return self._unknown(flow) if flow.url is None else _ALLOW

    # What a flow is.

    def _look_at_tls(self, flow: FilterFlow, data: bytes) -> DataVerdict:
        try:
            found = tls.first_hello_untrusted(data)
        except tls.NotTLS:
            return self._unknown(flow)
        except BadPacket as error:
            return self._refuse(flow, unreadable(f"a TLS hello that cannot be judged: {error}"), None)
        if found is None:
            return DataVerdict.data(pass_bytes=0, peek_bytes=len(data) + 1)
        hello, end = found
        verdict = self._name_heard(flow, hello)
        if verdict is not _ALLOW or not hello.may_be_repeated:
            return verdict
        watched: _Watched = flow.state
        watched.behind = tls.BehindHello(hello)
        return self._look_behind_hello(flow, watched.behind, data, end)

    def _look_behind_hello(
        self, flow: FilterFlow, machine: tls.BehindHello, data: bytes, start: int = 0
    ) -> DataVerdict:
        """The bytes behind a hello that passed, which begin at `start`."""
        try:
            step = machine.look_untrusted(data, start)
        except BadPacket as error:
            return self._refuse(flow, unreadable(f"a TLS hello that cannot be judged: {error}"), None)
        if not step.is_over:
            return _go_on(step.passed, max(len(data) - step.passed, 0) + 1)
        watched: _Watched = flow.state
        watched.behind = None
        first, hello = machine.first, step.hello
        if hello is None or (hello.server_name == first.server_name and hello.is_encrypted == first.is_encrypted):
            return _ALLOW
        return self._name_heard(flow, hello)

    def _look_at_nameless(self, flow: FilterFlow, data: bytes) -> DataVerdict:
        """What may be a hello in the form of SSL 2."""
        is_hello = tls.is_v2_hello_untrusted(data)
        if is_hello is None:
            return DataVerdict.data(pass_bytes=0, peek_bytes=len(data) + 1)
        closed = self.judge.closes(Door.RAW_IP, "TLS without a name") if is_hello else None
        return self._refuse(flow, closed, None) if closed is not None else self._unknown(flow)

    def _look_at_quic(self, flow: FilterFlow, watched: _Watched, data: bytes) -> DataVerdict:
        """A datagram. Those that open no connection pass, and the flow is watched on: a name may follow."""
        port = flow.remote_endpoint.port
        if not may_open(data, anywhere=port != QUIC_PORT):
            return self._watch_on(flow) if port != DNS_PORT else self._look_at_query(flow, data)
        closed = self.judge.closes(Door.QUIC, "QUIC")
        if closed is not None:
            return self._refuse(flow, closed, flow.remote_hostname)
        if watched.quic is None:
            watched.quic = FlowSniffer()
        try:
            hello = watched.quic.receive_untrusted(data)
        except Unreadable as error:
            return self._refuse(flow, unreadable(f"QUIC that cannot be judged: {error}"), None)
        except BadPacket:
            return self._watch_on(flow)  # a later packet, or one whose version asks which there are
        if hello is None:
            # It passes although its name is not known yet: a server answers nothing before it has all of it.
            return DataVerdict.data(pass_bytes=len(data), peek_bytes=1)
        return self._name_heard(flow, hello)

    def _look_at_query(self, flow: FilterFlow, data: bytes) -> DataVerdict:
        """A datagram to somebody else's resolver: of each query the name counts, where names must be allowed."""
        if not self.judge.only_allowed:
            return self._watch_on(flow)
        try:
            name = text_of(parse_query_untrusted(data).name).lower()
        except BadPacket:
            return self._refuse(flow, NOT_ALLOWED, flow.remote_hostname)
        ruling = self._judge_host(flow, name, None)
        self.record(flow, ruling, name)
        return DataVerdict.data(pass_bytes=0 if ruling.blocked else len(data), peek_bytes=1)

    def _watch_on(self, flow: FilterFlow) -> DataVerdict:
        needs_name = self.judge.only_allowed and flow.remote_endpoint.port == QUIC_PORT
        if needs_name and not flow.remote_hostnames and flow.state.name is None:
            return self._unknown(flow)
        return DataVerdict.allow(but_new_connections=True)

    def _name_heard(self, flow: FilterFlow, hello: tls.ClientHello) -> DataVerdict:
        watched: _Watched = flow.state
        if watched.name is not None and watched.name != hello.server_name:
            watched.earlier = (*watched.earlier[1 - REMEMBERED :], watched.name)
        watched.name, watched.is_known = hello.server_name, True
        if hello.is_encrypted and (hello.server_name is None or hello.server_name not in flow.remote_hostnames):
            # Browsers pretend to it always (RFC 9849, GREASE), under the name that they looked up; whoever does encrypt
            # shows the name of his provider's front instead. The keys for it are kept from DNS answers.
            closed = self.judge.closes(Door.ECH, "the real name may be encrypted")
            if closed is not None:
                return self._refuse(flow, closed, hello.server_name)
        if hello.server_name is None:
            closed = self.judge.closes(Door.RAW_IP, "TLS to a bare address")
            return self._refuse(flow, closed, None) if closed is not None else self._unknown(flow)
        ruling = self._judge_host(flow, hello.server_name, None)
        if not ruling.blocked:
            ruling = self._forged(flow, hello.server_name) or ruling
        return (
            self._refuse(flow, ruling, hello.server_name)
            if ruling.blocked
            else self._pass(flow, ruling, hello.server_name)
        )

    def _forged(self, flow: FilterFlow, name: str) -> Ruling | None:
        """The ruling about a flow that names a host, if that one has another address; None if it has this one."""
        if self.forged is Forged.PASS or name in flow.remote_hostnames or is_address(name):
            return None
        why = f"the name {name} was not looked up for this address"
        return Ruling(self.forged is Forged.REFUSE, why, cause=Cause.FORGED)

    def _look_at_http(self, flow: FilterFlow, machine: HTTPRequests, data: bytes) -> DataVerdict:
        try:
            step = machine.look_untrusted(data)
        except BadPacket as error:
            if flow.url is None and (flow.server_spoke_first or not may_be_request(data)):
                return self._unknown(flow)
            return self._refuse(flow, unreadable(f"an HTTP request that cannot be judged: {error}"), flow.url)
        for request in step.requests:
            refused = self._judge_request(flow, request)
            if refused is not None:
                return refused
        watched: _Watched = flow.state
        if step.passed >= FILTER_FLOW_BYTES_MAX:
            watched.is_known = True
            return _ALLOW
        watched.verdict = verdict = _go_on(step.passed, step.peek)
        return verdict

    def _judge_request(self, flow: FilterFlow, request: HTTPRequest) -> DataVerdict | None:
        """None when it may pass."""
        names = flow.remote_hostnames
        hosts = request.hosts or (names[:1] or (_text(flow.remote_endpoint),))
        flow.url = url = request.url_of(hosts[0], flow.remote_endpoint.port)
        watched, judge = flow.state, self.judge
        before = watched.passed
        if before is not None and before[0] is judge and before[1] == hosts and before[2] == names:
            self.record(flow, before[3], url)
            return None
        watched.name = hosts[0]
        closed = judge.closes(Door.RAW_IP, "HTTP to a bare address") if judge.doors else None
        if closed is not None and all(map(is_address, hosts)):
            return self._refuse(flow, closed, url, page=True)
        for host in hosts:
            by_url = judge.looks_at_urls
            ruling = self._judge_url(flow, request, host, url) if by_url else self._judge_host(flow, host, url)
            if ruling.blocked:
                return self._refuse(flow, ruling, url, page=True)
        if names and not any(name in hosts for name in names):
            # A server that has no such site may show one that was looked up.
            others = [self._judge_url(flow, request, name, url) for name in names]
            if all(other.blocked for other in others):
                return self._refuse(flow, others[0], url, page=True)
        if self.forged is not Forged.PASS:
            forged = next(filter(None, (self._forged(flow, host) for host in hosts)), None)
            if forged is not None and forged.blocked:
                return self._refuse(flow, forged, url, page=True)
            ruling = forged or ruling
        if not (judge.looks_at_urls or judge.looks_at_flows or self.aliases):
            watched.passed = judge, hosts, names, ruling
        self.record(flow, ruling, url)
        return None

    def _judge_url(self, flow: FilterFlow, request: HTTPRequest, host: str, url: str) -> Ruling:
        """A request, should `host` be who is meant; `url` is how its URL is written."""
        urls = request.urls_of(host, flow.remote_endpoint.port) if self.judge.looks_at_urls else (url,)
        for each in urls:
            ruling = self._judge_host(flow, host, each)
            if ruling.blocked:
                break
        return ruling

    def _unknown(self, flow: FilterFlow) -> DataVerdict:
        """Nothing that tells a name: what was said of the address stands, unless a name is needed."""
        if self.judge.only_allowed and not flow.remote_hostnames:
            return self._refuse(flow, NAMELESS, None)
        flow.state.is_known = True
        return self._pass(flow, PASSES, flow.remote_hostname)

    # Judging.

    def _judge_known(self, flow: FilterFlow, known: _Watched) -> Ruling:
        """By the name that its bytes told before, and what is needed of flows that told none."""
        for name in known.earlier:
            ruling = self._judge_host(flow, name, None)
            if ruling.blocked:
                return ruling
        if known.name is not None:
            return self._judge_host(flow, known.name, flow.url)
        if known.is_known and self.judge.only_allowed and not flow.remote_hostnames:
            return NAMELESS
        return PASSES

    def _judge_endpoint(self, flow: FilterFlow) -> Ruling:
        """By the names that are known beforehand, of which one that may pass is enough, and by the address."""
        ruling = PASSES
        for name in flow.remote_hostnames:
            found = self._judge_host(flow, name, None)
            if not found.blocked:
                ruling = found
                break
            ruling = ruling if ruling.blocked else found
        if ruling is not PASSES:
            return ruling
        address = self._judge_host(flow, _text(flow.remote_endpoint), None)
        if address.blocked and address.list is None and self.judge.only_allowed:
            return PASSES  # the name that its first bytes tell may be allowed
        return address

    def note_aliases(self, name: str, others: tuple[str, ...]) -> None:
        """Flows to `name` are judged by the blocked names that it stands for, too."""
        while len(self.aliases) >= ALIASES:
            del self.aliases[next(iter(self.aliases))]
        self.aliases[name] = others

    def _judge_host(self, flow: FilterFlow, host: str, url: str | None) -> Ruling:
        """As `_judge_name`; of an alias also by what it stands for, unless a list allows it by its own name."""
        judge = self.judge
        is_alike = not judge.looks_at_flows and (url is None or not judge.looks_at_urls)
        known = judge.rulings.get(host) if is_alike else None
        ruling = self._judge_name(flow, host, url, is_alike=is_alike) if known is None else known
        if self.aliases and ruling is PASSES:
            for other in self.aliases.get(host, ()):
                found = self._judge_name(flow, other, None, is_alike=False)
                if found.blocked and found.list is not None:
                    return found
        return ruling

    def _judge_name(self, flow: FilterFlow, host: str, url: str | None, *, is_alike: bool) -> Ruling:
        """By the name alone; `is_alike`: the ruling is the same for each flow to it, and remembered."""
        judge = self.judge
        try:
            name = host_text(host)
        except ValueError:
            return unreadable(f"{host[:80]!r} is not a host name")
        address, port = flow.remote_endpoint
        client = flow.local_endpoint.host
        ruling = judge.judge(
            Subject(
                name,
                port,
                UDP if flow.socket_protocol == 17 else TCP,
                url,
                address if isinstance(address, bytes) else None,
                flow.process if judge.needs_process else None,
                client if isinstance(client, bytes) else None,
                flow.source_hardware_address if judge.needs_hardware else None,
            ),
            self._clock() if judge.needs_time else _ANY_TIME,
        )
        if is_alike:
            judge.remember(host, ruling)
        return ruling

    def _note(self, flow: FilterFlow, ruling: Ruling, what: str | None) -> None:
        flow.state.ruling = ruling
        self.record(flow, ruling, what)

    def _refuse(self, flow: FilterFlow, ruling: Ruling, what: str | None, page: bool = False) -> DataVerdict:
        self._note(flow, ruling, what)
        return DataVerdict.remediate(None, None) if page else DataVerdict.drop()

    def _pass(self, flow: FilterFlow, ruling: Ruling, what: str | None) -> DataVerdict:
        self.record(flow, ruling, what)
        return DataVerdict.allow(but_new_connections=True) if flow.socket_protocol == 17 else _ALLOW


@lru_cache(maxsize=4096)
def _go_on(passed: int, peek: int) -> DataVerdict:
    return DataVerdict.data(pass_bytes=passed, peek_bytes=peek)


@lru_cache(maxsize=4096)
def _text(end: Endpoint) -> str:
    return end.host_text
