"""A profile's content filter on a driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tunflow.dataplane.driver import Driver
from tunflow.dataplane.filtering.flow_filter import FlowFilter
from tunflow.dataplane.filtering.session import Verdict
from tunflow.errors import LocalError
from tunflow.filter.judge import PASSES, Door, Forged, Judge, Ruling, Subject, asked_host_text, host_text
from tunflow.filter.page import DEFAULT
from tunflow.filter.query_answers import query_ruling
from tunflow.flow import FlowInfo, HardwareFinder
from tunflow.host.rights.open_file import OpenFile, open_file
from tunflow.names.rules import NO_RULES, MadeAnswer, NameRules
from tunflow.paths import parse_path
from tunflow.profiles.profile import Profile
from tunflow.profiles.sections.filter import FilterSection
from tunflow.profiles.sections.provider import object_of
from tunflow.providers.content_filter import ContentFilter
from tunflow.providers.filter_flow import FilterFlow
from tunflow.providers.filter_provider import FilterControlProvider, FilterDataProvider
from tunflow.providers.filter_settings import FilterProviderConfiguration
from tunflow.providers.filter_verdicts import RemediationVerdict
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.tunnel import rule_data
from tunflow.tunnel.allow_list import AllowList, allow_section
from tunflow.tunnel.block_pages import BlockPages
from tunflow.tunnel.filter_lists import make_judge, system_zone
from tunflow.tunnel.filter_log import FilterLog
from tunflow.tunnel.known_names import strict_modes

if TYPE_CHECKING:
    from tunflow.hosting.filter_life import FilterLife

COUNTED = 60.0
"""Seconds between two lines of counts in the log."""
ONE_LOOKUP = timedelta(seconds=2)
"""How long a client's queries for a name count as one in the log."""
MOST_LOOKUPS = 256
"""Look-ups that are remembered for that."""

Tell = Callable[[str], None]


class Filtering:
    """The filter of one tunnel: made from a profile, put on its driver, changed by a reload."""

    def __init__(self, profile: Profile, tell: Tell, opens: OpenFile = open_file) -> None:
        """Read the lists, or load the user's filter. Raises LocalError."""
        self._tell = tell
        self._opens = opens
        self._zone = system_zone()
        self._take(profile)
        self.content: ContentFilter | None = None
        self.flow_filter: FlowFilter | None = None
        self._find_hardware: HardwareFinder | None = None
        self.life: FilterLife | None = None
        """What starts and stops a filter of the user's own."""
        self._refused: dict[tuple[bytes | str, str, str], datetime] = {}
        """Clients and names of which it was logged that they are refused, why, and when."""
        self._provider: FilterDataProvider
        self._control: FilterControlProvider | None = None
        try:
            self._find_judge(profile)
        except BaseException:
            self.log.close()
            raise
        self._pages = BlockPages(self.section, self._template, tell, self.content, self._control)

    def _find_judge(self, profile: Profile) -> None:
        """Read the lists, or load the user's filter. Raises LocalError."""
        section = self.section
        if section.provider is None:
            judge = make_judge(section, self._base, self._tell, self._opens)
            self._provider = self.content = ContentFilter(judge, self._now, self.log.record)
            self._write_down()
            return
        self._provider = object_of(profile, ("filter", "provider"), section.provider, FilterDataProvider)
        if section.control_provider is not None:
            path = ("filter", "control_provider")
            self._control = object_of(profile, path, section.control_provider, FilterControlProvider)

    def _write_down(self) -> None:
        assert self.content is not None
        self.content.record = self.log.record
        self.content.ended = self.log.ended if self.log.tells_ends else None

    def _take(self, profile: Profile) -> None:
        """Everything of the profile but what judges. Raises LocalError, and nothing has changed."""
        assert profile.filter is not None
        section, base = profile.filter, _base(profile)
        template = _template(section, base, self._opens)
        log = FilterLog(log_path(section, base), section.privacy, self._now, self._tell, self._opens)
        self.section, self._base, self._template, self.log = section, base, template, log

    def serve(self, driver: Driver, find_hardware: HardwareFinder | None = None) -> None:
        """Judge the driver's flows, and its names. Raises LocalError."""
        section, context = self.section, driver.context
        self._find_hardware = find_hardware
        self.flow_filter = FlowFilter(
            context,
            self._provider,
            FilterProviderConfiguration(section.configuration, section.username, section.organization),
            on_failure_pass=section.on_failure == "open",
            control=self._control,
            page=self._page,
            may_ping=None if self.content is None else self.content.may_ping,
            find_hardware=find_hardware,
        )
        driver.admission.use_filter(self.flow_filter)
        if self.content is None:
            if self.life is None:
                providers = (*((self._control,) if self._control is not None else ()), self._provider)
                # Imported for filters of users' own only: they need asyncio.
                from tunflow.hosting.filter_life import FilterLife  # noqa: PLC0415

                self.life = FilterLife(providers, context.reactor, context.log, context.sockets)
            self.life.serve(self.flow_filter)
        self.serve_names(driver)
        context.reactor.call_later(COUNTED, partial(self._count, driver, self.flow_filter))

    def serve_names(self, driver: Driver) -> None:
        """Have the driver's name server say that blocked names do not exist, if the profile wants that."""
        judges = self.content is not None
        rules = NameRules(
            self.refuses_name if judges else None,
            self.refuses_answer if judges else None,
            self.judges_aliases if judges else None,
            strict_modes().strict_host if self.section.safe_search else None,
            judges and Door.ECH in self.section.doors,
            self.answers if judges else None,
        )
        served = driver.admission.use_name_rules(rules)
        needed = "safe_search" if self.section.safe_search else "forged" if self.section.forged == "refuse" else None
        if not served and needed is not None:
            raise LocalError(
                f"filter.{needed} is about names that are answered here, so it needs a name server: set [dns] mode to "
                "anything but off"
            )
        if self.content is not None:
            self.content.forged = Forged(self.section.forged) if served else Forged.PASS
            if not served and self._judge.looks_at_queries:
                self._tell(
                    "filter: rules with $dnsrewrite, $dnstype or hosts lines with addresses count for nothing: no "
                    "names are answered here (dns.mode is off)"
                )

    def can_become(self, profile: Profile) -> bool:
        """Return True if a reload changes it in place; else another is made."""
        section = profile.filter
        assert section is not None
        return section == self.section if self.content is None else section.provider is None

    def reload(self, profile: Profile) -> None:
        """Take another profile's lists; open flows are judged again. Raises LocalError, and nothing has changed."""
        if self.content is not None:
            assert profile.filter is not None
            judge = make_judge(profile.filter, _base(profile), self._tell, self._opens)
            before = self.log
            self._take(profile)
            self._pages.use(self.section, self._template)
            self.log.go_on_from(before)
            before.close()
            self.content.judge = judge
            self._write_down()
        if self.flow_filter is not None:
            self.flow_filter.on_failure_pass = self.section.on_failure == "open"
            self.flow_filter.rules_changed()

    def allow(self, host: str) -> Ruling:
        """Add a host to the list for that, and judge open flows again; what is said of it now.

        Raises LocalError, and then nothing has changed: also where it would be blocked all the same.
        """
        if self.content is None:
            raise LocalError("a filter of your own decides here: it has no lists")
        try:
            host = host_text(host)
        except ValueError as error:
            raise LocalError(f"{host[:80]!r} is no host: {error}") from None
        allowed, now = AllowList(self.section, self._base, self._opens), self._now()
        made = allowed.with_host(host)
        lists = tuple(replace(each, list=made) if each.list.name == made.name else each for each in self._judge.lists)
        judge = replace(self._judge, lists=lists)
        ruling = judge.judge(Subject(host, 443, "tcp"), now)
        if ruling.blocked:
            raise LocalError(f"{host} would be blocked all the same: {ruling.why}")
        if not allowed.names(host):
            allowed.append(host, now)
        self.content.judge = judge
        if self.flow_filter is not None:
            self.flow_filter.rules_changed()
        return ruling

    def answers(self, name: str, kind: int, flow: FlowInfo) -> MadeAnswer | None:
        """What a client's query for records of a type is answered with by the lists, in place of what there is."""
        if not self._judge.looks_at_queries:
            return None
        host = asked_host_text(name)
        if host is None:
            return None
        query, subject = self._asked(host, flow)
        found = query_ruling(self._judge, subject, kind, self._now())
        if found is None:
            return None
        self.log.record(query, found.ruling, name)
        return MadeAnswer(found.code, found.alias, found.records)

    def refuses_name(self, name: str, flow: FlowInfo) -> bool:
        """Return True if a client is to be told that a name does not exist.

        Return False where nobody knows whose query it is: the flow that follows is judged for itself, and by then its
        device is known. Return True for a name that no list allows, where only lists allow: it may have the address of
        a site that is allowed, and flows there would then count as its own. Return True for names of resolvers where
        encrypted DNS is closed: by some of them browsers ask whether they may use their own.
        """
        asked = self._ruling_of(name, flow)
        if asked is None:
            return False
        ruling, query, host = asked
        is_resolver = self._judge.resolvers.has(host)
        closed = self._judge.closes(Door.ENCRYPTED_DNS, "a resolver's name") if is_resolver else None
        if closed is not None:
            self._note_refused(query, closed, name)
            return True
        wanted = self.section.dns_answer == "nxdomain" and (ruling.list is not None or self._judge.only_allowed)
        if ruling.blocked and wanted:
            self._note_refused(query, ruling, name)
            return True
        return False

    def refuses_answer(self, name: str, led_to: Sequence[str], flow: FlowInfo) -> bool:
        """Return True if a client is to be told that a name does not exist: it is an alias of one that a list blocks.

        A list that allows the name itself is stronger. Flows to the name are judged by those aliases from then on.
        """
        asked = self._ruling_of(name, flow)
        if asked is None or asked[0] is not PASSES:
            return False
        found = [(each, other[0]) for each in led_to if (other := self._ruling_of(each, flow)) is not None]
        blocked = [(each, ruling) for each, ruling in found if ruling.blocked and ruling.list is not None]
        if not blocked:
            return False
        assert self.content is not None
        self.content.note_aliases(name, tuple(each for each, _ in blocked))
        if self.section.dns_answer != "nxdomain" and not flow.is_fake:
            return False
        (other_name, ruling), *_ = blocked
        self._note_refused(asked[1], ruling._replace(why=f"it is an alias of {other_name}: {ruling.why}"), name)
        return True

    def judges_aliases(self, name: str, flow: FlowInfo) -> bool:
        """Return True if a name may be refused for what it is an alias of: lists block, and none is about the name."""
        if all(each.allows for each in self._judge.lists):
            return False
        asked = self._ruling_of(name, flow)
        return asked is not None and asked[0] is PASSES

    def _note_refused(self, query: FilterFlow, ruling: Ruling, name: str) -> None:
        """Log that a client is told of no such name: once, where it asks for IPv4, IPv6 and HTTPS records."""
        said, now = (query.local_endpoint.host, name, ruling.why), self._now()
        before = self._refused.get(said)
        if before is not None and abs(now - before) < ONE_LOOKUP:
            return
        if len(self._refused) >= MOST_LOOKUPS:
            self._refused.clear()
        self._refused[said] = now
        self.log.record(query, ruling, name)

    @property
    def _judge(self) -> Judge:
        assert self.content is not None
        return self.content.judge

    def _ruling_of(self, name: str, flow: FlowInfo) -> tuple[Ruling, FilterFlow, str] | None:
        """What the lists say of a name that a client asks for, by which flow, and its normal form; None: the root."""
        host = asked_host_text(name)
        if host is None:
            return None
        query, subject = self._asked(host, flow)
        return self._judge.judge(subject, self._now(), strict=False), query, host

    def _asked(self, host: str, flow: FlowInfo) -> tuple[FilterFlow, Subject]:
        """A client's query for a host, as filters and lists see it."""
        client = flow.client.host if isinstance(flow.client.host, bytes) else None
        judge, query = self._judge, FilterFlow(flow, self._find_hardware)
        process = flow.process if judge.needs_process else None
        hardware = query.source_hardware_address if judge.needs_hardware else None
        return query, Subject(host, 443, "tcp", process=process, client=client, hardware=hardware)

    async def stop(self, reason: ProviderStopReason) -> None:
        """The tunnel is over: tell a filter of the user's own, and close the log."""
        if self.life is not None:
            await self.life.stop(reason)
        self.close()

    def close(self) -> None:
        """Write what the log still has to say."""
        self.log.close()

    def leave(self, driver: Driver) -> None:
        """Judge no more; what is held is let go, and open flows go on."""
        if self.flow_filter is not None:
            self.flow_filter.let_go()
        driver.admission.use_filter(None)
        driver.admission.use_name_rules(NO_RULES)
        if self.life is not None:
            self.life.leave(ProviderStopReason.CONFIGURATION_DISABLED)
        self.close()

    def _count(self, driver: Driver, served: FlowFilter) -> None:
        """Write the counts, as long as it is on that driver."""
        if driver.admission.filter is served is self.flow_filter:
            self.log.flush()
            driver.context.reactor.call_later(COUNTED, partial(self._count, driver, served))

    def _now(self) -> datetime:
        return datetime.now(self._zone)

    def _page(self, flow: FilterFlow, verdict: Verdict | RemediationVerdict) -> bytes | None:
        return self._pages.page(flow, verdict, self._offer)

    def _offer(self, flow: FilterFlow, url: str) -> str | None:
        return None if self.flow_filter is None else self.flow_filter.remediations.offer(flow, url)


def log_path(section: FilterSection, base: Path) -> Path:
    """Where a filter's log is."""
    if section.log is not None:
        return base / parse_path(section.log)
    return rule_data.directories()[0] / "filter.jsonl"


def _base(profile: Profile) -> Path:
    return Path(profile.file).parent if profile.file else Path()


def files(profile: Profile) -> frozenset[tuple[Path, bool]]:
    """What a profile's filter reads, and (True) what it appends to: the log, and the list for those who have the API's
    secret.
    """
    section = profile.filter
    if section is None or not section.enabled:
        return frozenset()
    base = _base(profile)
    found = [base / parse_path(name) for name in (section.page, *(each.file for each in section.lists)) if name]
    added = allow_section(section) if profile.api is not None and profile.api.secret is not None else None
    appended = [] if added is None or added.file is None else [base / parse_path(added.file)]
    if section.privacy != "none":
        appended.append(log_path(section, base))
    return frozenset((*((path, False) for path in found), *((path, True) for path in appended)))


def _template(section: FilterSection, base: Path, opens: OpenFile) -> str:
    if section.page is None:
        return DEFAULT
    path = base / parse_path(section.page)
    try:
        return rule_data.read(path, opens).decode()
    except (LocalError, UnicodeDecodeError) as error:
        raise LocalError(f"filter.page: {error if isinstance(error, LocalError) else f'{path}: {error}'}") from None


def change(
    driver: Driver,
    profile: Profile,
    before: Filtering | None,
    tell: Tell,
    opens: OpenFile = open_file,
    find_hardware: HardwareFinder | None = None,
) -> Filtering | None:
    """Have a driver's flows judged as a profile says, whoever judged them `before`, on this driver or an earlier one.

    Raises LocalError, and then nothing has changed.
    """
    wanted = profile.filter is not None and profile.filter.enabled
    if before is not None and wanted and before.can_become(profile):
        before.reload(profile)
        if driver.admission.filter is before.flow_filter:
            before.serve_names(driver)
        else:
            before.serve(driver, find_hardware)
        return before
    made = Filtering(profile, tell, opens) if wanted else None
    if before is not None:
        before.leave(driver)
    if made is not None:
        made.serve(driver, find_hardware)
    return made
