"""A profile's content filter on a driver."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from tunflow.errors import LocalError
from tunflow.filter.judge import PASSES, Judge, Ruling, Subject, host_text
from tunflow.filter.page import DEFAULT, HOW_TO_ASK, block_page
from tunflow.flow import UDP, FlowInfo
from tunflow.io.driver import Driver
from tunflow.io.filter_session import Verdict
from tunflow.io.flow_filter import FlowFilter
from tunflow.manager import rule_data
from tunflow.manager.filter_lists import make_judge, system_zone
from tunflow.manager.filter_log import FilterLog
from tunflow.manager.profile import Profile
from tunflow.manager.profile_filter import FilterSection
from tunflow.providers.content_filter import HTTP_PORTS, ContentFilter
from tunflow.providers.filter_flow import FilterFlow
from tunflow.providers.filter_provider import FilterDataProvider
from tunflow.providers.filter_settings import FilterProviderConfiguration
from tunflow.providers.loader import load_provider

DNS_PORT = 53
Tell = Callable[[str], None]


class Filtering:
    """The filter of one tunnel: made from a profile, put on its driver, changed by a reload."""

    def __init__(self, profile: Profile, tell: Tell) -> None:
        """Read the lists. Raises LocalError."""
        assert profile.filter is not None
        self._tell = tell
        self._zone = system_zone()
        self.section = profile.filter
        self._base = _base(profile)
        self._template = _template(self.section, self._base)
        self.log = FilterLog(log_path(self.section, self._base), self.section.privacy, self._now, tell)
        self.content: ContentFilter | None = None
        self.flow_filter: FlowFilter | None = None
        self._provider: FilterDataProvider
        if self.section.provider is None:
            judge = make_judge(self.section, self._base, tell)
            self._provider = self.content = ContentFilter(judge, self._now, self.log.record)
        else:
            where = f"{profile.file}: filter.provider"
            made = load_provider(self.section.provider, where=where, kind=FilterDataProvider)()
            assert isinstance(made, FilterDataProvider)
            self._provider = made

    def serve(self, driver: Driver) -> None:
        """Judge the driver's flows, and its names."""
        configuration = FilterProviderConfiguration(self.section.model_dump(), organization=self.section.organization)
        self.flow_filter = driver.filter = FlowFilter(
            driver,
            self._provider,
            configuration,
            on_failure_pass=self.section.on_failure == "open",
            page=self._page if self.content is not None else None,
        )
        self.serve_names(driver)

    def serve_names(self, driver: Driver) -> None:
        """Have the driver's name server say that blocked names do not exist, if the profile wants that."""
        if driver.name_server is not None:
            wanted = self.content is not None and self.section.dns_answer == "nxdomain"
            driver.name_server.refuses = self.refuses_name if wanted else None

    def reload(self, profile: Profile) -> None:
        """Take another profile's lists; open flows are judged again. Raises LocalError, and nothing has changed."""
        if self.content is None or profile.filter is None:
            raise LocalError("filter: only the lists of the built-in filter can be changed while it runs")
        judge = make_judge(profile.filter, _base(profile), self._tell)
        self.section, self.content.judge = profile.filter, judge
        if self.flow_filter is not None:
            self.flow_filter.rules_changed()

    def refuses_name(self, name: str, flow: FlowInfo) -> bool:
        """Whether a name shall not exist for a client."""
        assert self.content is not None
        try:
            host = host_text(name)
        except ValueError:
            return False  # `_dmarc.example.com` and the like: no host
        client = flow.client.host if isinstance(flow.client.host, bytes) else None
        ruling = self.content.judge.judge(Subject(host, 443, "tcp", client=client), self._now())
        if ruling.blocked and ruling.list is not None:
            self.log.record(FilterFlow(FlowInfo(UDP, flow.client, flow.target, name)), ruling, name)
            return True
        return False

    def close(self) -> None:
        """Write what the log still has to say."""
        self.log.close()

    def leave(self, driver: Driver) -> None:
        """Judge no more; what is held is let go, and open flows go on."""
        if self.flow_filter is not None and self.content is not None:
            self.content.judge = Judge()
            self.flow_filter.rules_changed()
        driver.filter = None
        if driver.name_server is not None:
            driver.name_server.refuses = None
        self.close()

    def _now(self) -> datetime:
        return datetime.now(self._zone)

    def _page(self, flow: FilterFlow, _: Verdict) -> bytes | None:
        assert self.content is not None
        ruling: Ruling = self.content.rulings.pop(flow, PASSES)
        if flow.url is None and flow.remote_endpoint.port not in HTTP_PORTS:
            return None
        host = flow.remote_hostname or flow.remote_endpoint.host_text
        return block_page(
            self._template,
            host=host,
            url=flow.url or f"http://{host}/",
            why=ruling.why,
            category=ruling.category,
            how_to_ask=self.section.how_to_ask or HOW_TO_ASK,
        )


def log_path(section: FilterSection, base: Path) -> Path:
    """Where a filter's log is."""
    if section.log is not None:
        return base / Path(section.log).expanduser()
    return rule_data.directories()[0] / "filter.jsonl"


def _base(profile: Profile) -> Path:
    return Path(profile.file).parent if profile.file else Path()


def _template(section: FilterSection, base: Path) -> str:
    if section.page is None:
        return DEFAULT
    path = base / Path(section.page).expanduser()
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LocalError(f"filter.page: cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


def change(driver: Driver, profile: Profile, before: Filtering | None, tell: Tell) -> Filtering | None:
    """Have a driver's flows judged as a profile says, whoever judged them `before`. Raises LocalError."""
    wanted = profile.filter is not None and profile.filter.enabled
    if before is not None and wanted:
        before.reload(profile)
        before.serve_names(driver)
        return before
    if before is not None:
        before.leave(driver)
    if not wanted:
        return None
    made = Filtering(profile, tell)
    made.serve(driver)
    return made
