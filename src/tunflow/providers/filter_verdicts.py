"""What a content filter says of a flow: NEFilterNewFlowVerdict, NEFilterDataVerdict, NEFilterRemediationVerdict and
NEFilterControlVerdict, as values made by functions of the same names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from tunflow.errors import LocalError

FILTER_FLOW_BYTES_MAX = (1 << 64) - 1
"""NEFilterFlowBytesMax: all bytes."""


class Action(Enum):
    """What a verdict is."""

    ALLOW = "allow"
    DROP = "drop"
    NEED_RULES = "need_rules"
    REMEDIATE = "remediate"
    URL_APPEND = "url_append"
    FILTER_DATA = "filter_data"
    DATA = "data"
    PAUSE = "pause"
    UPDATE_RULES = "update_rules"


class StatisticsReportFrequency(IntEnum):
    """NEFilterReportFrequency: how often a flow's byte counts are reported."""

    NONE = 0
    LOW = 1
    """About every 5 seconds."""
    MEDIUM = 2
    """About every second."""
    HIGH = 3
    """About twice a second."""


@dataclass(frozen=True, slots=True)
class NewFlowVerdict:
    """NEFilterNewFlowVerdict: about a flow of which no byte has been seen."""

    action: Action
    should_report: bool = False
    filter_inbound: bool = False
    peek_inbound_bytes: int = 0
    filter_outbound: bool = False
    peek_outbound_bytes: int = 0
    url_key: str | None = None
    """In the control provider's `remediation_map` or `url_append_string_map`."""
    button_text_key: str | None = None
    statistics_report_frequency: StatisticsReportFrequency = StatisticsReportFrequency.NONE

    @classmethod
    def allow(
        cls,
        *,
        should_report: bool = False,
        statistics_report_frequency: StatisticsReportFrequency = StatisticsReportFrequency.NONE,
    ) -> NewFlowVerdict:
        """Let the flow pass, unseen."""
        return cls(Action.ALLOW, should_report, statistics_report_frequency=statistics_report_frequency)

    @classmethod
    def drop(cls, *, should_report: bool = False) -> NewFlowVerdict:
        """Refuse the flow."""
        return cls(Action.DROP, should_report)

    @classmethod
    def need_rules(cls) -> NewFlowVerdict:
        """Ask the control provider."""
        return cls(Action.NEED_RULES)

    @classmethod
    def remediate(
        cls, url_key: str | None, button_text_key: str | None, *, should_report: bool = False
    ) -> NewFlowVerdict:
        """Refuse the flow with a page that says why, and where one may ask."""
        return cls(Action.REMEDIATE, should_report, url_key=url_key, button_text_key=button_text_key)

    @classmethod
    def url_append_string(cls, map_key: str) -> NewFlowVerdict:
        """Have the string of that key in the control provider's map added to every URL that an HTTP/1 flow asks for."""
        return cls(Action.URL_APPEND, url_key=map_key)

    @classmethod
    def filter_data(
        cls,
        *,
        filter_inbound: bool,
        peek_inbound_bytes: int,
        filter_outbound: bool,
        peek_outbound_bytes: int,
        should_report: bool = False,
        statistics_report_frequency: StatisticsReportFrequency = StatisticsReportFrequency.NONE,
    ) -> NewFlowVerdict:
        """Show the flow's data, from its first bytes on, so many at a time. Raises LocalError."""
        _check_size("peek_inbound_bytes", peek_inbound_bytes)
        _check_size("peek_outbound_bytes", peek_outbound_bytes)
        return cls(
            Action.FILTER_DATA, should_report, filter_inbound, peek_inbound_bytes, filter_outbound, peek_outbound_bytes,
            statistics_report_frequency=statistics_report_frequency,
        )  # fmt: skip

    @classmethod
    def pause(cls) -> NewFlowVerdict:
        """Hold the flow until `resume_flow`."""
        return cls(Action.PAUSE)


@dataclass(frozen=True, slots=True)
class DataVerdict:
    """NEFilterDataVerdict: about a flow's bytes in one direction."""

    action: Action
    should_report: bool = False
    pass_bytes: int = 0
    peek_bytes: int = 0
    url_key: str | None = None
    button_text_key: str | None = None
    but_new_connections: bool = False

    @classmethod
    def allow(cls, *, should_report: bool = False, but_new_connections: bool = False) -> DataVerdict:
        """Let the rest of the flow pass, unseen.

        `but_new_connections`, of a UDP flow: datagrams that may open another QUIC connection (whose first bit is set,
        RFC 9000 §17.2) are still shown. The others take no turn through the filter.
        """
        return cls(Action.ALLOW, should_report, but_new_connections=but_new_connections)

    @classmethod
    def drop(cls, *, should_report: bool = False) -> DataVerdict:
        """End the flow; none of the bytes that wait is delivered."""
        return cls(Action.DROP, should_report)

    @classmethod
    def remediate(cls, url_key: str | None, button_text_key: str | None, *, should_report: bool = False) -> DataVerdict:
        """End the flow with a page that says why; with `url_key` None `handle_remediation` is asked for more."""
        return cls(Action.REMEDIATE, should_report, url_key=url_key, button_text_key=button_text_key)

    @classmethod
    def data(cls, *, pass_bytes: int, peek_bytes: int, should_report: bool = False) -> DataVerdict:
        """Pass so many of the bytes that wait, then ask again when `peek_bytes` after those are there."""
        _check_size("pass_bytes", pass_bytes)
        _check_size("peek_bytes", peek_bytes)
        return cls(Action.DATA, should_report, pass_bytes, peek_bytes)

    @classmethod
    def need_rules(cls) -> DataVerdict:
        """Ask the control provider."""
        return cls(Action.NEED_RULES)

    @classmethod
    def pause(cls) -> DataVerdict:
        """Hold the flow's bytes until `resume_flow`."""
        return cls(Action.PAUSE)


@dataclass(frozen=True, slots=True)
class RemediationVerdict:
    """NEFilterRemediationVerdict: about a flow whose user asked for access."""

    action: Action

    @classmethod
    def allow(cls) -> RemediationVerdict:
        """Let the flow pass after all."""
        return cls(Action.ALLOW)

    @classmethod
    def drop(cls) -> RemediationVerdict:
        """It stays refused."""
        return cls(Action.DROP)

    @classmethod
    def need_rules(cls) -> RemediationVerdict:
        """Ask the control provider."""
        return cls(Action.NEED_RULES)


@dataclass(frozen=True, slots=True)
class ControlVerdict:
    """NEFilterControlVerdict: the control provider's answer to `need_rules`."""

    action: Action
    update_rules_first: bool = False

    @classmethod
    def allow(cls, *, with_update_rules: bool = False) -> ControlVerdict:
        """Let the flow pass; with `with_update_rules` the data provider hears that the rules changed."""
        return cls(Action.ALLOW, with_update_rules)

    @classmethod
    def drop(cls, *, with_update_rules: bool = False) -> ControlVerdict:
        """Refuse the flow."""
        return cls(Action.DROP, with_update_rules)

    @classmethod
    def update_rules(cls) -> ControlVerdict:
        """The rules changed: the data provider is asked about the flow once more."""
        return cls(Action.UPDATE_RULES, True)


def _check_size(name: str, value: int) -> None:
    if not isinstance(value, int) or not 0 <= value <= FILTER_FLOW_BYTES_MAX:
        raise LocalError(f"{name} is {value!r}: a number of bytes from 0 to FILTER_FLOW_BYTES_MAX")
