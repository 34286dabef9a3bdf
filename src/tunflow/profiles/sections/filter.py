"""`[filter]`: what is blocked, for whom and when, and what a blocked client sees."""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from tunflow.addresses import ip_network
from tunflow.filter.judge import Door
from tunflow.filter.schedule import WEEKDAYS
from tunflow.profiles.field_types import SignedBy, WebAddress
from tunflow.profiles.section import Many, Section, wrong_at


def _clock(text: str) -> str:
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text):
        raise ValueError('must be a time like "08:00"')
    return text


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ValueError, OSError, KeyError):  # KeyError: ZoneInfoNotFoundError
        raise ValueError('must be a time zone like "Europe/Berlin"') from None
    return text


def _weekdays(text: str) -> str:
    if not re.fullmatch(rf"({'|'.join(WEEKDAYS)})(-({'|'.join(WEEKDAYS)}))?", text):
        raise ValueError('must be weekdays like "mon" or "mon-fri"')
    return text


_HARDWARE = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}")


def _device(text: str) -> str:
    if _HARDWARE.fullmatch(text):
        return text.lower().replace("-", ":")
    try:
        return str(ip_network(text))
    except ValueError:
        raise ValueError(
            "must be an address, a network like 192.168.1.0/24, or a hardware address like 3c:22:fb:01:02:03"
        ) from None


def hardware_address(text: str) -> bytes | None:
    """A hardware (MAC) address from its usual spellings; None when the text is none."""
    return bytes.fromhex(text.replace(":", "").replace("-", "")) if _HARDWARE.fullmatch(text) else None


class ScheduleSection(Section):
    """`[filter.schedules.NAME]`: hours of weekdays."""

    weekdays: Annotated[Many[Annotated[str, AfterValidator(_weekdays)]], Field(min_length=1)] = ("mon-sun",)
    start: Annotated[str, AfterValidator(_clock)] = Field(alias="from")
    end: Annotated[str, AfterValidator(_clock)] = Field(alias="to")
    """Before the start: on the next day."""
    time_zone: Annotated[str, AfterValidator(_zone)] | None = None
    """None for the system's."""

    def times(self) -> tuple[time, time]:
        """Start and end."""
        return time.fromisoformat(self.start), time.fromisoformat(self.end)

    def days(self) -> frozenset[int]:
        """The weekdays, 0 for Monday."""
        found: set[int] = set()
        for text in self.weekdays:
            first, _, last = text.partition("-")
            start, end = WEEKDAYS.index(first), WEEKDAYS.index(last or first)
            found |= {day % 7 for day in range(start, end + 1 if end >= start else end + 8)}
        return frozenset(found)


class ListSection(Section):
    """`[[filter.lists]]`: a list, and whom it is for."""

    name: str = Field(min_length=1, max_length=64)
    file: str | None = None
    """Its path; a relative one begins at the profile's directory."""
    url: WebAddress | None = None
    """Fetched by `tunflow filter update`."""
    key: SignedBy | None = None
    """Only a list that this minisign key signed is taken; its signature is at `url` with .minisig behind it."""
    lines: Many[str] = ()
    """The list itself."""
    category: str = ""
    action: Literal["block", "allow"] = "block"
    schedule: str | None = None
    apps: Many[str] = ()
    """Programs by path or name; empty for all."""
    uids: Many[int] = ()
    clients: Many[Annotated[str, AfterValidator(_device)]] = ()
    """On a gateway: the devices that it is for, by addresses, networks and hardware addresses."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.file is not None) + (self.url is not None) + bool(self.lines) != 1:
            raise ValueError("must have either file, url or lines")
        return self


class DeviceSection(Section):
    """`[filter.devices.NAME]`: a device that lists may name."""

    clients: Annotated[Many[Annotated[str, AfterValidator(_device)]], Field(min_length=1)]
    """Its addresses, networks and hardware addresses."""
    tags: Many[str] = ()
    """What `$ctag` calls it, as `device_tv` or `user_child`."""


class FilterSection(Section):
    """`[filter]`."""

    enabled: bool = True
    provider: str | None = None
    """A `FilterDataProvider` instead of the built-in one: `module:Class` or an entry point."""
    control_provider: str | None = None
    """A `FilterControlProvider` beside the provider: it has the rules that the other asks for."""
    configuration: dict[str, Any] = Field(default_factory=dict)
    """Whatever the provider wants to be told."""
    username: str | None = None
    """For the provider and its links."""
    on_failure: Literal["closed", "open"] = "closed"
    """What becomes of flows that the filter fails to judge."""
    only_allowed: bool = False
    """True if only what a list allows may pass."""
    close: Many[Literal["encrypted-dns", "quic", "raw-ip", "vpn", "ech"]] = ()
    """Ways around the filter that are closed."""
    forged: Literal["pass", "tell", "refuse"] = "tell"
    """What becomes of flows that name a host which their client was not told to have that address."""
    dns_answer: Literal["nxdomain", "address"] = "nxdomain"
    """What a blocked name is answered with: that there is none, or its address, where the page then is."""
    safe_search: bool = False
    """True if search engines and video sites are held to their strict modes, by their names' answers."""
    privacy: Literal["none", "counts", "domains", "full"] = "domains"
    """What the log tells of flows."""
    log: str | None = None
    """Where the log is, as JSON lines; None for none."""
    page: str | None = None
    """A file with the template of the block page."""
    how_to_ask: str = ""
    """What the block page says about asking for access."""
    organization: str | None = None
    lists: Many[ListSection] = ()
    devices: dict[str, DeviceSection] = Field(default_factory=dict)
    """Those that rules with `$client` and `$ctag` may mean, by their names."""
    schedules: dict[str, ScheduleSection] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_provider(self) -> Self:
        if self.control_provider is not None and self.provider is None:
            raise wrong_at(("control_provider",), "needs a provider: the built-in filter asks nobody")
        return self

    @model_validator(mode="after")
    def _check_schedules(self) -> Self:
        for number, each in enumerate(self.lists):
            if each.schedule is not None and each.schedule not in self.schedules:
                known = ", ".join(self.schedules) or "none"
                raise wrong_at(("lists", number, "schedule"), f"names no schedule of the filter (there are: {known})")
        names = [each.name for each in self.lists]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise wrong_at(("lists", number, "name"), "is another list's name")
        return self

    @property
    def asks_for_processes(self) -> bool:
        """True if it wants to know whose a flow is: for a list, for the log, or because a provider may."""
        for_lists = any(each.apps or each.uids for each in self.lists)
        return self.enabled and (for_lists or self.provider is not None or self.privacy == "full")

    @property
    def doors(self) -> frozenset[Door]:
        """The closed ones."""
        return frozenset(map(Door, self.close))
