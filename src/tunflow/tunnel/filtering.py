"""A profile's content filter on a driver."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from tunflow.dataplane.driver import Driver
from tunflow.dataplane.filtering.flow_filter import FlowFilter
from tunflow.dataplane.filtering.session import Verdict
from tunflow.errors import LocalError
from tunflow.filter.judge import PASSES, Door, Ruling, Subject, host_text
from tunflow.filter.page import DEFAULT, HOW_TO_ASK, block_page
from tunflow.filter.safe_search import safe_host
from tunflow.flow import FlowInfo, HardwareFinder
from tunflow.host.rights.open_file import OpenFile, open_file
from tunflow.names.rules import NO_RULES, NameRules
from tunflow.profiles.profile import Profile
from tunflow.profiles.sections.filter import FilterSection
from tunflow.profiles.sections.provider import object_of
from tunflow.providers.content_filter import HTTP_PORTS, ContentFilter
from tunflow.providers.filter_flow import FilterFlow
from tunflow.providers.filter_provider import FilterControlProvider, FilterDataProvider
from tunflow.providers.filter_settings import FilterProviderConfiguration
from tunflow.providers.filter_verdicts import Action, RemediationVerdict
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.tunnel import rule_data
from tunflow.tunnel.filter_lists import make_judge, system_zone
from tunflow.tunnel.filter_log import FilterLog

if TYPE_CHECKING:
    from tunflow.hosting.filter_life import FilterLife

REQUEST_ACCESS = "Request Access"
"""NEFilterDataVerdict: the text of a button that has none."""

COUNTED = 60.0
"""Seconds between two lines of counts in the log."""

Tell = Callable[[str], None]


class Filtering:
    """The filter of one tunnel: made from a profile, put on its driver, changed by a reload."""

    def __init__(self, profile: Profile, tell: Tell, opens: OpenFile = open_file) -> None:
        """Read the lists, or load the user's filter. Raises LocalError."""
        self._tell = tell
        self._opens = opens
        self._missing: set[str] = set()
        """Keys of the remediation map that were told of."""
        self._zone = system_zone()
        self._take(profile)
        self.content: ContentFilter | None = None
        self.flow_filter: FlowFilter | None = None
        self._find_hardware: HardwareFinder | None = None
        self.life: FilterLife | None = None
        """What starts and stops a filter of the user's own."""
        self._provider: FilterDataProvider
        self._control: FilterControlProvider | None = None
        if self.section.provider is None:
            judge = make_judge(self.section, self._base, tell, opens)
            self._provider = self.content = ContentFilter(judge, self._now, self._record)
            self._ask_for_reports()
        else:
            self._provider = object_of(profile, ("filter", "provider"), self.section.provider, FilterDataProvider)
            if self.section.control_provider is not None:
                self._control = object_of(
                    profile, ("filter", "control_provider"), self.section.control_provider, FilterControlProvider
                )

    def _ask_for_reports(self) -> None:
        assert self.content is not None
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
        wanted = self.content is not None and self.section.dns_answer == "nxdomain"
        rules = NameRules(
            self.refuses_name if wanted else None,
            safe_host if self.section.safe_search else None,
            self.content is not None and Door.ECH in self.section.doors,
        )
        if not driver.admission.use_name_rules(rules) and self.section.safe_search:
            raise LocalError(
                "filter.safe_search answers names, so it needs a name server: set [dns] mode to fake, cache, tls://… "
                "or https://…"
            )

    def can_become(self, profile: Profile) -> bool:
        """Whether a reload changes it in place; else another is made."""
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
            before.close()
            self.content.judge = judge
            self._ask_for_reports()
        if self.flow_filter is not None:
            self.flow_filter.on_failure_pass = self.section.on_failure == "open"
            self.flow_filter.rules_changed()

    def refuses_name(self, name: str, flow: FlowInfo) -> bool:
        """Whether a name shall not exist for a client. Where nobody knows whose query it is, it shall: the flow that
        follows is judged for itself, and by then its device is known.

        Of what no list allows neither: it may have the address of a site that is allowed, and flows there would then
        count as its own."""
        assert self.content is not None
        try:
            host = host_text(name)
        except ValueError:
            return False  # `_dmarc.example.com` and the like: no host
        client = flow.client.host if isinstance(flow.client.host, bytes) else None
        judge, query = self.content.judge, FilterFlow(flow, self._find_hardware)
        process = flow.process if judge.needs_process else None
        hardware = query.source_hardware_address if judge.needs_hardware else None
        subject = Subject(host, 443, "tcp", process=process, client=client, hardware=hardware)
        ruling = judge.judge(subject, self._now(), strict=False)
        if ruling.blocked and (ruling.list is not None or judge.only_allowed):
            self.log.record(query, ruling, name)
            return True
        return False

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

    def _record(self, flow: FilterFlow, ruling: Ruling, what: str | None) -> None:
        self.log.record(flow, ruling, what)

    def _now(self) -> datetime:
        return datetime.now(self._zone)

    def _page(self, flow: FilterFlow, verdict: Verdict | RemediationVerdict) -> bytes | None:
        """What a client that speaks HTTP is shown; None for all others."""
        if flow.url is None and (
            flow.remote_endpoint.port not in HTTP_PORTS or flow.socket_protocol == socket.IPPROTO_UDP
        ):
            return None
        host = flow.remote_hostname or flow.remote_endpoint.host_text
        url = flow.url or f"http://{host}/"
        ruling, link, button = PASSES, None, None
        if self.content is not None:
            ruling = self.content.ruling(flow)
        elif isinstance(verdict, RemediationVerdict):
            ruling = Ruling(True, "Access was asked for, and not given.")
        elif verdict.action is not Action.REMEDIATE:
            return None
        else:
            ruling = Ruling(True, "The filter of this network does not let it pass.")
            text = self._map("button_texts", verdict.button_text_key) or REQUEST_ACCESS
            if verdict.url_key is not None:
                target = self._link(verdict.url_key, host, url)
                link = None if target is None else (target, text)
            elif self.flow_filter is not None:
                path = self.flow_filter.remediations.offer(flow, url)
                button = None if path is None else (path, text)
        return block_page(
            self._template,
            host=host,
            url=url,
            why=ruling.why,
            category=ruling.category,
            how_to_ask=self.section.how_to_ask or HOW_TO_ASK,
            link=link,
            button=button,
        )

    def _link(self, key: str, host: str, url: str) -> str | None:
        """The URL where a user may ask for access."""
        target = self._map("urls", key)
        if target is None:
            return None
        said = {"NE_FLOW_URL": url, "NE_FLOW_HOSTNAME": host, "NE_USERNAME": self.section.username or "",
                "NE_ORGANIZATION": self.section.organization or ""}  # fmt: skip
        for name, value in said.items():
            target = target.replace(name, quote(value, safe=""))
        return target

    def _map(self, kind: str, key: str | None) -> str | None:
        """What the control provider's remediation map has under a key; that it has nothing is told."""
        if key is None:
            return None
        found = self._control.remediation_map.get(kind, {}).get(key) if self._control is not None else None
        if found is None and key not in self._missing:
            self._missing.add(key)
            who = "there is no control provider" if self._control is None else "its remediation_map has no such key"
            self._tell(f"filter: a verdict names {key!r} of {kind}, and {who}")
        return found


def log_path(section: FilterSection, base: Path) -> Path:
    """Where a filter's log is."""
    if section.log is not None:
        return base / Path(section.log).expanduser()
    return rule_data.directories()[0] / "filter.jsonl"


def _base(profile: Profile) -> Path:
    return Path(profile.file).parent if profile.file else Path()


def files(profile: Profile) -> frozenset[tuple[Path, bool]]:
    """What a profile's filter reads, and (True) the log that it appends to."""
    section = profile.filter
    if section is None or not section.enabled:
        return frozenset()
    base = _base(profile)
    found = [base / Path(name).expanduser() for name in (section.page, *(each.file for each in section.lists)) if name]
    log = () if section.privacy == "none" else ((log_path(section, base), True),)
    return frozenset((*((path, False) for path in found), *log))


def _template(section: FilterSection, base: Path, opens: OpenFile) -> str:
    if section.page is None:
        return DEFAULT
    path = base / Path(section.page).expanduser()
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
