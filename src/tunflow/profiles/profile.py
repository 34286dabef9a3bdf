"""A profile: everything that makes a tunnel, as one value read from a TOML file.

Each table is a section in a file of its own. `profile_file` reads and writes profiles, `profile_store` knows where they
live.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr

from tunflow.profiles.section import Many, Section
from tunflow.profiles.sections.api import APISection
from tunflow.profiles.sections.apps import AppAction, AppSection
from tunflow.profiles.sections.dns import DNSSection
from tunflow.profiles.sections.filter import FilterSection
from tunflow.profiles.sections.on_demand import OnDemandSection
from tunflow.profiles.sections.rules import GroupSection, RuleSetSection, ServerListSection, ServerSection
from tunflow.profiles.sections.subscription import SubscriptionSection
from tunflow.profiles.sections.tunnel import TunnelSection
from tunflow.profiles.server_link import ServerField
from tunflow.profiles.toml_lines import Key
from tunflow.providers.configuration import TunnelProviderProtocol

_NAME = re.compile(r"\w[\w.+-]{0,63}")


def is_profile_name(text: str) -> bool:
    """Return True if a profile may be called that: it is also a file's name."""
    return bool(_NAME.fullmatch(text)) and not text.endswith(".toml")


def _name(text: str) -> str:
    if not is_profile_name(text):
        raise ValueError("must be 1 to 64 letters, digits and _ . + - and begin with a letter or digit")
    return text


def _provider(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w-]*|[A-Za-z_][\w.]*:[A-Za-z_][\w.]*|[^:]+\.py:[A-Za-z_][\w.]*", text):
        raise ValueError("must be module:Class, path/to/file.py:Class or an entry point's name")
    return text


ProfileName = Annotated[str, AfterValidator(_name)]
ProviderName = Annotated[str, AfterValidator(_provider)]


class Profile(Section):
    """What a profile file says; what it leaves out has its default."""

    name: ProfileName = "unnamed"
    """By default the file's, without `.toml`."""
    enabled: bool = True
    """True if a tunnel may be made of it."""
    server: Annotated[
        Many[ServerField], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
    ] = ()
    """Where flows go that no rule sends elsewhere: a link, or a chain of links, first hop first."""
    provider: ProviderName | None = None
    """A provider instead of servers: `module:Class`, `file.py:Class` (a relative path starts at the profile's
    folder) or an entry point of the group `tunflow.providers`."""
    provider_configuration: dict[str, Any] = Field(default_factory=dict, repr=False)
    """What the provider is given."""
    rules: Many[str] = ()
    """`DOMAIN-SUFFIX,example.com,NAME` and so on; the first that matches counts."""
    other_apps: AppAction = "direct"
    """What becomes of flows that no rule of `apps` matches, if there is any."""
    tunnel: TunnelSection = TunnelSection()
    dns: DNSSection = DNSSection()
    servers: dict[str, ServerSection] = Field(default_factory=dict)
    groups: dict[str, GroupSection] = Field(default_factory=dict)
    server_lists: dict[str, ServerListSection] = Field(default_factory=dict)
    rule_sets: dict[str, RuleSetSection] = Field(default_factory=dict)
    geoip: str | None = None
    """A country database (MMDB, metadb or geoip.dat) for GEOIP rules, instead of the registries' files: a path, or an
    https:// address that `tunflow rules update` fetches from."""
    geosite: str | None = None
    """Names by topic (geosite.dat) for GEOSITE rules: a path or an address."""
    asn: str | None = None
    """A database of operators (MMDB) for IP-ASN rules: a path or an address."""
    on_demand: OnDemandSection = OnDemandSection()
    apps: Many[AppSection] = ()
    api: APISection | None = None
    """HTTP for dashboards; None for none."""
    filter: FilterSection | None = None
    """The content filter; None for none."""
    subscription: SubscriptionSection | None = None
    """Where `tunflow profile update` fetches its servers from; None for nowhere."""

    _file: str = PrivateAttr(default="")
    _lines: dict[Key, int] = PrivateAttr(default_factory=dict)

    @property
    def file(self) -> str:
        """The file it was read from; "" for none."""
        return self._file

    def located(self, file: str, lines: dict[Key, int]) -> Self:
        """The same, once it knows the file that it was read from, and where its keys stand there."""
        self._file, self._lines = file, lines
        return self

    def saying(self, data: Mapping[str, Any]) -> Self:
        """What `data` says, as if it stood in the same file. Raises LocalError."""
        return self.parse(data, self._file or self.name, self._lines).located(self._file, self._lines)

    def line(self, *key: str | int) -> int | None:
        """Where a key stands in the file, or else the table around it: `line("rules", 3)`."""
        return next((self._lines[key[:size]] for size in range(len(key), 0, -1) if key[:size] in self._lines), None)

    def at(self, *key: str | int) -> str:
        """The place of a key, to begin an error with: `home.toml:12`."""
        line = self.line(*key)
        name = self._file or self.name
        return name if line is None else f"{name}:{line}"

    def protocol_configuration(self) -> TunnelProviderProtocol:
        """What its provider is told."""
        return TunnelProviderProtocol(self.provider_configuration, self.name)

    def __eq__(self, other: object) -> bool:
        """Return True if both say the same, wherever they were read from."""
        return isinstance(other, Profile) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]  # the free tables are dictionaries
