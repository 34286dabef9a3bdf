"""What a profile's rules refer to, read when a rule first asks for it, and once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from tunflow.errors import BadPacket, LocalError
from tunflow.paths import parse_path
from tunflow.profiles.file_names import SUFFIX
from tunflow.profiles.profile import Profile
from tunflow.rules.cidr import CIDRSet
from tunflow.rules.conditions import AddressTest, DomainTest, RuleSet
from tunflow.rules.domains import DomainSet
from tunflow.rules.geo_data import site_untrusted
from tunflow.rules.rule_set import parse_rule_set, silent
from tunflow.rules.syntax import Context, MissingData
from tunflow.tunnel import rule_data
from tunflow.tunnel.rule_data import Countries

T = TypeVar("T")
NOWHERE: AddressTest = CIDRSet()
Tell = Callable[[str], None]


class RuleLists:
    """The lists of one profile.

    `tell` gets a line about lines that are not understood. With `may_miss` a list or country that was not fetched yet
    holds nothing, and stands in `missing`: a profile can be checked before what it needs is there.
    """

    def __init__(self, profile: Profile, tell: Tell = silent, *, may_miss: bool = False) -> None:
        self._profile = profile
        self._tell = tell
        self._may_miss = may_miss
        self.missing: list[str] = []
        self._sites: dict[str, DomainTest] = {}
        self._site_file: bytes | None = None
        self._countries: Countries | None = None
        self._operators: rule_data.Operators | None = None
        self.context = Context(_Sets(profile, self), self.country, self.site, self.operator)

    def country(self, code: str) -> AddressTest:
        """A country's addresses. Raises LocalError, MissingData when they are not here."""
        return self._or_missing(lambda: self._country(code), NOWHERE)

    def operator(self, number: str) -> AddressTest:
        """An operator's addresses, by the number of its system. Raises LocalError, MissingData for no database."""
        return self._or_missing(lambda: self._operator(number), NOWHERE)

    def site(self, topic: str) -> DomainTest:
        """A topic's names. Raises LocalError, MissingData for no file of them."""
        if topic not in self._sites:
            self._sites[topic] = self._or_missing(lambda: self._site(topic), DomainTest(DomainSet()))
        return self._sites[topic]

    def rule_set(self, name: str) -> RuleSet:
        """A rule set of the profile. Raises LocalError, MissingData when it was not fetched."""
        return self._or_missing(lambda: self._rule_set(name), RuleSet(DomainSet(), CIDRSet()))

    def must_be_fetched(self, *key: str, what: str) -> None:
        """Raise MissingData for something that the profile names at `key` and nobody fetched, unless it may miss."""

        def fail() -> None:
            raise MissingData(
                f"{self._profile.at(*key)}: {what} was not fetched yet: tunflow rules update {self._command}"
            )

        self._or_missing(fail, None)

    @property
    def tell(self) -> Tell:
        """Who gets a line about what is not understood."""
        return self._tell

    def _or_missing(self, read: Callable[[], T], nothing: T) -> T:
        try:
            return read()
        except MissingData as error:
            if not self._may_miss:
                raise
            self.missing.append(str(error))
            return nothing

    def _country(self, code: str) -> AddressTest:
        given = self._profile.geoip
        if self._countries is None:
            self._countries = Countries(self._file("geoip", given) if given else None)
        return self._countries.test(code)

    def _operator(self, number: str) -> AddressTest:
        given = self._profile.asn
        if not given:
            raise MissingData(f'there are no addresses for IP-ASN,{number}: give a database as asn = "asn.mmdb"')
        if self._operators is None:
            self._operators = rule_data.Operators(self._file("asn", given))
        return self._operators.test(number)

    def _site(self, topic: str) -> DomainTest:
        profile = self._profile
        if not profile.geosite:
            raise MissingData(f'there are no names for GEOSITE,{topic}: give a file of them as geosite = "geosite.dat"')
        path = self._file("geosite", profile.geosite)
        if self._site_file is None:
            self._site_file = _read(path, profile.at("geosite"))
        try:
            found = site_untrusted(self._site_file, topic)
        except BadPacket as error:
            raise LocalError(f"{path}: not a file of names by topic (geosite.dat): {error}") from None
        if found is None:
            raise LocalError(f"{path} has no topic {topic!r}")
        return found

    def _rule_set(self, name: str) -> RuleSet:
        profile, section = self._profile, self._profile.rule_sets[name]
        place = profile.at("rule_sets", name)
        if section.lines:
            text, file = "\n".join(section.lines), place
        else:
            path = self._list_file(name)
            file = str(path)
            text = rule_data.list_text(_read(path, place), file, section.behavior)
        return parse_rule_set(text, section.behavior, file, self.context, self._tell)

    def _list_file(self, name: str) -> Path:
        section = self._profile.rule_sets[name]
        if section.url is None:
            return self._beside(str(section.file))
        path = rule_data.find(rule_data.rule_set_path(section.url))
        if path is None:
            place = self._profile.at("rule_sets", name)
            raise MissingData(f"{place}: rule set {name!r} was not fetched yet: tunflow rules update {self._command}")
        return path

    def _file(self, key: str, given: str) -> Path:
        """A file of data that the profile names, or what was fetched from an address. Raises MissingData."""
        if "://" not in given:
            return self._beside(given)
        path = rule_data.find(rule_data.geo_path(given))
        if path is None:
            raise MissingData(
                f"{self._profile.at(key)}: {key} was not fetched yet: tunflow rules update {self._command}"
            )
        return path

    @property
    def _command(self) -> str:
        profile = self._profile
        if profile.file and not profile.file.endswith(SUFFIX) and not self._may_miss:
            return profile.file  # another program's file, which is not to be saved
        return profile.name if profile.name != "unnamed" else "PROFILE"

    def _beside(self, text: str) -> Path:
        return Path(self._profile.file).parent / parse_path(text)


class _Sets(Mapping[str, RuleSet]):
    """The rule sets by name."""

    def __init__(self, profile: Profile, lists: RuleLists) -> None:
        self._profile = profile
        self._lists = lists
        self._read: dict[str, RuleSet] = {}
        self._reading: set[str] = set()

    def __getitem__(self, name: str) -> RuleSet:
        if name not in self._read:
            if name not in self._profile.rule_sets:
                raise KeyError(name)
            if name in self._reading:
                raise LocalError(f"{self._profile.at('rule_sets', name)}: rule set {name!r} contains itself")
            self._reading.add(name)
            try:
                self._read[name] = self._lists.rule_set(name)
            finally:
                self._reading.discard(name)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._profile.rule_sets)

    def __len__(self) -> int:
        return len(self._profile.rule_sets)


def _read(path: Path, place: str) -> bytes:
    try:
        return rule_data.read(path)
    except LocalError as error:
        raise LocalError(f"{place}: {error}") from None
