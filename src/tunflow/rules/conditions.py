"""What a rule asks of a flow.

Rule: a condition holds, does not hold, or cannot be told before something about the flow is found out (`Need`). AND
and OR are decided by what is known wherever that is enough, so nothing is looked up in vain.

A flow that is known by name only has no address until somebody resolves it. A condition on addresses then asks for
that, unless its rule says `no-resolve`: then it does not hold.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from tunflow.flow import ProcessInfo
from tunflow.rules.cidr import CIDRSet
from tunflow.rules.domains import LONGEST_NAME, DomainSet
from tunflow.rules.expression import Allowance, Automaton, expression
from tunflow.rules.expression_syntax import NotKept

STEPS = 50_000
"""What one expression may cost with one name, in the steps of an `Allowance`; one that could cost more is refused."""


class Need(enum.Enum):
    """What must be found out before a flow can be decided."""

    NAME = "name"
    ADDRESS = "address"


@dataclass(slots=True)
class Facts:
    """What is known of a flow. `name` is as `normalise` makes it; addresses are packed."""

    network: str
    source: bytes
    source_port: int
    port: int
    address: bytes | None = None
    name: str | None = None
    name_sought: bool = False
    """True if nothing more can be done to find a name."""
    address_sought: bool = False
    find_process: Callable[[], ProcessInfo | None] = lambda: None

    @property
    def process(self) -> ProcessInfo | None:
        """Looked up when the first rule asks."""
        return self.find_process()


class AddressTest(Protocol):
    """Any set of packed addresses: a `CIDRSet`, a country of a database."""

    def __contains__(self, packed: bytes, /) -> bool:
        """Return True if the address is one of them."""


class Condition(Protocol):
    """One question."""

    def holds(self, facts: Facts) -> bool | Need:
        """The answer, or what it takes."""


class NameCondition(ABC):
    """A condition on the name."""

    __slots__ = ()

    def holds(self, facts: Facts) -> bool | Need:
        """Return True if the name is known and meant."""
        if facts.name is None:
            return False if facts.name_sought else Need.NAME
        return self.names(facts.name)

    @abstractmethod
    def names(self, name: str) -> bool:
        """Return True if `name` is meant."""


@dataclass(frozen=True, slots=True)
class Domain(NameCondition):
    """DOMAIN: this very name."""

    name: str

    def names(self, name: str) -> bool:
        """Return True if it is the name."""
        return name == self.name


@dataclass(frozen=True, slots=True)
class DomainSuffix(NameCondition):
    """DOMAIN-SUFFIX: this name and those below it."""

    suffix: str

    def names(self, name: str) -> bool:
        """Return True if it ends so, at a label border."""
        return name.endswith(self.suffix) and (len(name) == len(self.suffix) or name[-len(self.suffix) - 1] == ".")


@dataclass(frozen=True, slots=True)
class DomainKeyword(NameCondition):
    """DOMAIN-KEYWORD: names that contain it."""

    keyword: str

    def names(self, name: str) -> bool:
        """Return True if it is part of the name."""
        return self.keyword in name


@dataclass(frozen=True, slots=True)
class DomainRegex(NameCondition):
    """DOMAIN-REGEX: names in which it is found. Raises ValueError for what is no expression, or cannot be kept."""

    pattern: str
    _automaton: Automaton = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        _check_says_something(self.pattern)
        automaton = expression(self.pattern)
        if automaton.cost * LONGEST_NAME > STEPS:
            raise NotKept("so many ways through it")
        object.__setattr__(self, "_automaton", automaton)

    def names(self, name: str) -> bool:
        """Return True if it is found in the name."""
        return self._automaton.found_in(name, Allowance(2 * STEPS))


@dataclass(frozen=True, slots=True)
class DomainWildcard(NameCondition):
    """`*.example.com` of a rule set: `*` is one label, and with `below` more labels may stand in front."""

    labels: tuple[str, ...]
    below: bool = False

    def names(self, name: str) -> bool:
        """Return True if its labels are these, at the end if there may be more."""
        labels = name.split(".")
        more = len(labels) - len(self.labels)
        if more <= 0 if self.below else more:
            return False
        return all(own in ("*", label) for own, label in zip(self.labels, labels[more:], strict=True))


@dataclass(frozen=True, slots=True)
class DomainTest(NameCondition):
    """GEOSITE: names of a set, and those in which an expression is found."""

    domains: DomainSet
    patterns: tuple[DomainRegex, ...] = ()

    def names(self, name: str) -> bool:
        """Return True if it is one of them."""
        return name in self.domains or any(pattern.names(name) for pattern in self.patterns)


@dataclass(frozen=True, slots=True)
class Addresses:
    """IP-CIDR, GEOIP: the target's address."""

    addresses: AddressTest
    resolve: bool = True

    def holds(self, facts: Facts) -> bool | Need:
        """Return True if the address is among them."""
        if facts.address is None:
            return Need.ADDRESS if self.resolve and not facts.address_sought else False
        return facts.address in self.addresses


@dataclass(frozen=True, slots=True)
class SourceAddresses:
    """SRC-IP-CIDR: the client's address."""

    addresses: AddressTest

    def holds(self, facts: Facts) -> bool:
        """Return True if the client is among them."""
        return facts.source in self.addresses


@dataclass(frozen=True, slots=True)
class Ranges:
    """Numbers as people write them: `80`, `8000-8100`, several with `/` between."""

    spans: tuple[tuple[int, int], ...]

    def __contains__(self, number: int) -> bool:
        return any(first <= number <= last for first, last in self.spans)


@dataclass(frozen=True, slots=True)
class TargetPort:
    """DST-PORT."""

    ports: Ranges

    def holds(self, facts: Facts) -> bool:
        """Return True if the flow goes to one of them."""
        return facts.port in self.ports


@dataclass(frozen=True, slots=True)
class SourcePort:
    """SRC-PORT."""

    ports: Ranges

    def holds(self, facts: Facts) -> bool:
        """Return True if the flow comes from one of them."""
        return facts.source_port in self.ports


@dataclass(frozen=True, slots=True)
class Network:
    """NETWORK: tcp or udp."""

    network: str

    def holds(self, facts: Facts) -> bool:
        """Return True if the flow is of this kind."""
        return facts.network == self.network


@dataclass(frozen=True, slots=True)
class ProcessName:
    """PROCESS-NAME: the last part of the executable's path, whatever its case."""

    name: str

    def holds(self, facts: Facts) -> bool:
        """Return True if the program is called so."""
        process = facts.process
        if process is None:
            return False
        called = process.executable.rpartition("/")[2] if process.executable else process.name
        return called is not None and called.casefold() == self.name.casefold()


@dataclass(frozen=True, slots=True)
class ProcessPath:
    """PROCESS-PATH: the executable."""

    path: str

    def holds(self, facts: Facts) -> bool:
        """Return True if it is this one."""
        process = facts.process
        return process is not None and process.executable == self.path


@dataclass(frozen=True, slots=True)
class ProcessRegex:
    """PROCESS-NAME-REGEX, PROCESS-PATH-REGEX and the wildcards: programs in whose name, or path, it is found.

    Raises ValueError for what is no expression, or cannot be kept.
    """

    pattern: str
    by_path: bool
    _automaton: Automaton = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        _check_says_something(self.pattern)
        object.__setattr__(self, "_automaton", expression(self.pattern))

    def holds(self, facts: Facts) -> bool:
        """Return True if it is found."""
        process = facts.process
        if process is None:
            return False
        path = process.executable or ""
        text = path if self.by_path else path.rpartition("/")[2] or process.name or ""
        return self._automaton.found_in(text, Allowance(20 * STEPS))


@dataclass(frozen=True, slots=True)
class Uid:
    """UID: whose process it is."""

    uids: Ranges

    def holds(self, facts: Facts) -> bool:
        """Return True if it is one of them."""
        process = facts.process
        return process is not None and process.uid is not None and process.uid in self.uids


@dataclass(frozen=True, slots=True)
class All:
    """AND."""

    conditions: tuple[Condition, ...]

    def holds(self, facts: Facts) -> bool | Need:
        """False as soon as one does not hold, whatever the others need."""
        need: Need | None = None
        for condition in self.conditions:
            answer = condition.holds(facts)
            if answer is False:
                return False
            if isinstance(answer, Need):
                need = need or answer
        return need or True


@dataclass(frozen=True, slots=True)
class Some:
    """OR; holds for nothing when empty."""

    conditions: tuple[Condition, ...]

    def holds(self, facts: Facts) -> bool | Need:
        """True as soon as one holds, whatever the others need."""
        need: Need | None = None
        for condition in self.conditions:
            answer = condition.holds(facts)
            if answer is True:
                return True
            if isinstance(answer, Need):
                need = need or answer
        return need or False


@dataclass(frozen=True, slots=True)
class Not:
    """NOT."""

    condition: Condition

    def holds(self, facts: Facts) -> bool | Need:
        """The opposite."""
        answer = self.condition.holds(facts)
        return answer if isinstance(answer, Need) else not answer


@dataclass(frozen=True, slots=True)
class Always:
    """MATCH."""

    def holds(self, _: Facts) -> bool:
        """Return True: it holds for every flow."""
        return True


@dataclass(frozen=True, slots=True)
class RuleSet:
    """RULE-SET: any of many conditions; names and addresses, of which there may be very many, in sets."""

    domains: DomainSet
    addresses: CIDRSet
    others: tuple[Condition, ...] = ()
    resolve: bool = True

    def holds(self, facts: Facts) -> bool | Need:
        """Return True if any of them does."""
        need: Need | None = None
        if self.domains:
            if facts.name is not None:
                if facts.name in self.domains:
                    return True
            elif not facts.name_sought:
                need = Need.NAME
        if self.addresses:
            if facts.address is not None:
                if facts.address in self.addresses:
                    return True
            elif self.resolve and not facts.address_sought:
                need = need or Need.ADDRESS
        answer = Some(self.others).holds(facts)
        if isinstance(answer, Need):
            return need or answer
        return answer or need or False

    def is_about(self, name: str) -> bool:
        """Return True if a name is one of its names."""
        return name in self.domains or any(_is_about(other, name) is True for other in self.others)

    def without_resolving(self) -> RuleSet:
        """The same for a rule that says `no-resolve`."""
        others = (replace(c, resolve=False) if isinstance(c, Addresses) else c for c in self.others)
        return replace(self, others=tuple(others), resolve=False)


def _check_says_something(pattern: str) -> None:
    """Raise ValueError for an empty expression: it is found in everything, which nobody means by it."""
    if not pattern:
        raise ValueError("it is empty, and would be found in everything")


def _is_about(condition: Condition, name: str) -> bool | None:
    """Return True if a condition holds for a name, whatever flow that is of; None if it asks for more than the name."""
    if isinstance(condition, NameCondition):
        return condition.names(name)
    if isinstance(condition, RuleSet):
        return condition.is_about(name)
    if isinstance(condition, Not):
        inner = _is_about(condition.condition, name)
        return None if inner is None else not inner
    if isinstance(condition, All | Some):
        decides = isinstance(condition, Some)
        answers = [_is_about(each, name) for each in condition.conditions]
        if decides in answers:
            return decides
        return None if None in answers else not decides
    return None
