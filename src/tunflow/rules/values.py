"""What stands behind a rule's type: each value as the condition that it makes.

A value that can never hold is refused, with the form that would: a rule that does nothing is not what its writer meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tunflow.addresses import ip_address
from tunflow.numbers import NotANumber, whole_number
from tunflow.rules.cidr import CIDRSet
from tunflow.rules.conditions import (
    Condition,
    Domain,
    DomainKeyword,
    DomainRegex,
    DomainSuffix,
    Network,
    ProcessName,
    ProcessPath,
    ProcessRegex,
    Ranges,
    SourceAddresses,
    SourcePort,
    TargetPort,
    Uid,
)
from tunflow.rules.domains import normalise
from tunflow.rules.expression_syntax import NotKept

T = TypeVar("T")

_PORTS = 65535
_UIDS = 2**32 - 1
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+", re.ASCII)


def domain(value: str) -> Domain:
    """DOMAIN. Raises ValueError."""
    if value[:2] in {"*.", "+."} or value[:1] == ".":
        below = value.lstrip("*+.")
        raise ValueError(f"DOMAIN is one name and never holds for {value}: write DOMAIN-SUFFIX,{below}")
    if "*" in value:
        raise ValueError(f"DOMAIN is one name and never holds for {value}: write DOMAIN-WILDCARD,{value}")
    name = normalise(value)
    if _ADDRESS.fullmatch(name):
        raise ValueError(f"an address is no name, so DOMAIN never holds for it: write IP-CIDR,{name}/32")
    return Domain(name)


def domain_suffix(value: str) -> DomainSuffix:
    """DOMAIN-SUFFIX; a dot in front is passed over. Raises ValueError."""
    if "*" in value or "+" in value:
        below = value.removeprefix("*.").removeprefix("+.")
        form = f"DOMAIN-SUFFIX,{below}" if "*" not in below else f"DOMAIN-WILDCARD,{value}"
        raise ValueError(f"no name ends in {value}: write {form}")
    return DomainSuffix(normalise(value.removeprefix(".")))


def domain_keyword(value: str) -> DomainKeyword:
    """DOMAIN-KEYWORD. Raises ValueError."""
    if not value or not value.isascii():
        raise ValueError("a keyword is at least one ASCII character")
    if "*" in value:
        raise ValueError(f"no name has a * in it: write DOMAIN-KEYWORD,{value.strip('*')} or DOMAIN-WILDCARD,{value}")
    return DomainKeyword(value.lower())


def domain_wildcard(value: str) -> DomainRegex:
    """DOMAIN-WILDCARD: `*` stands for any characters, `?` for one. Raises ValueError."""
    return _regex(wildcard(value.lower()))


def domain_regex(value: str) -> DomainRegex:
    """DOMAIN-REGEX. Raises ValueError."""
    return _regex(value)


def network(value: str) -> Network:
    """NETWORK. Raises ValueError."""
    if value.lower() not in {"tcp", "udp"}:
        raise ValueError(f"{value!r} is not a network; tcp and udp are")
    return Network(value.lower())


def process_name(value: str) -> ProcessName:
    """PROCESS-NAME. Raises ValueError."""
    if not value:
        raise ValueError("no program is named")
    if "/" in value:
        raise ValueError(f"a program's name has no /, so it never holds: write PROCESS-PATH,{value}")
    return ProcessName(value)


def process_path(value: str) -> ProcessPath:
    """PROCESS-PATH. Raises ValueError."""
    if not value:
        raise ValueError("no program is named")
    if not value.startswith("/"):
        raise ValueError(f"a program's path begins with /, so it never holds: write PROCESS-NAME,{value}")
    return ProcessPath(value)


@dataclass(frozen=True, slots=True)
class AddressSuffix:
    """Addresses whose last bits are certain ones."""

    bits: int
    mask: int
    size: int
    """Bytes."""

    def __contains__(self, packed: bytes) -> bool:
        return len(packed) == self.size and int.from_bytes(packed, "big") & self.mask == self.bits


def suffix_of(value: str) -> AddressSuffix:
    """IP-SUFFIX: `8.8.8.8/24` for addresses that end in the same 24 bits. Raises ValueError."""
    text, _, length = value.partition("/")
    address = ip_address(text)
    try:
        mask = (1 << whole_number(length, address.max_prefixlen)) - 1
    except NotANumber:
        raise ValueError(f"{value!r} is not the end of an address; 8.8.8.8/24 is one of 24 bits") from None
    return AddressSuffix(int(address) & mask, mask, len(address.packed))


def ranges(value: str, largest: int) -> Ranges:
    """`80`, `8000-8100`, `80/443`. Raises ValueError."""
    spans: list[tuple[int, int]] = []
    for part in value.split("/"):
        first, separator, last = part.partition("-")
        if not first.isdecimal() or (separator and not last.isdecimal()):
            raise ValueError(f"{part!r} is not a number or range; 80, 8000-8100 and 80/443 are")
        try:
            spans.append((whole_number(first, largest), whole_number(last or first, largest)))
        except NotANumber:
            raise ValueError(f"{part!r} is not a range within 0-{largest}") from None
        if spans[-1][0] > spans[-1][1]:
            raise ValueError(f"{part!r} is not a range within 0-{largest}")
    return Ranges(tuple(spans))


def wildcard(value: str) -> str:
    """The expression for a text in which `*` stands for any characters and `?` for one. Raises ValueError."""
    if not value:
        raise ValueError("a wildcard is at least one character")
    parts = {"*": ".*", "?": "."}
    return "^" + "".join(parts.get(character) or re.escape(character) for character in value) + "$"


def _regex(value: str) -> DomainRegex:
    return _kept(lambda: DomainRegex(value))


def _process(value: str, *, by_path: bool) -> ProcessRegex:
    return _kept(lambda: ProcessRegex(value, by_path))


def _kept(make: Callable[[], T]) -> T:
    """What an expression makes. Raises ValueError that says why there is none."""
    try:
        return make()
    except NotKept as error:
        raise ValueError(f"a regular expression cannot be kept with {error}: it could take for ever") from error
    except ValueError as error:
        raise ValueError(f"not a regular expression: {error}") from error


SIMPLE: dict[str, Callable[[str], Condition]] = {
    "DOMAIN": domain,
    "DOMAIN-SUFFIX": domain_suffix,
    "DOMAIN-KEYWORD": domain_keyword,
    "DOMAIN-WILDCARD": domain_wildcard,
    "DOMAIN-REGEX": domain_regex,
    "SRC-IP-CIDR": lambda value: SourceAddresses(CIDRSet([value])),
    "SRC-IP": lambda value: SourceAddresses(CIDRSet([value])),
    "DST-PORT": lambda value: TargetPort(ranges(value, _PORTS)),
    "DEST-PORT": lambda value: TargetPort(ranges(value, _PORTS)),
    "SRC-PORT": lambda value: SourcePort(ranges(value, _PORTS)),
    "NETWORK": network,
    "PROCESS-NAME": process_name,
    "PROCESS-PATH": process_path,
    "PROCESS-NAME-REGEX": lambda value: _process(value, by_path=False),
    "PROCESS-PATH-REGEX": lambda value: _process(value, by_path=True),
    "PROCESS-NAME-WILDCARD": lambda value: _process(wildcard(value), by_path=False),
    "PROCESS-PATH-WILDCARD": lambda value: _process(wildcard(value), by_path=True),
    "UID": lambda value: Uid(ranges(value, _UIDS)),
}
"""The types whose value is all that they take."""
