"""On what a rule of AdGuard's lists for name servers depends, and what it has names answered with.

| option | meaning |
|---|---|
| `$client=192.0.2.0/24\\|~'Ann\\'s phone'` | for these (addresses, networks, names of devices), or all but these |
| `$ctag=device_tv\\|~user_child` | the same by tags, which the profile gives to its devices |
| `$dnstype=AAAA\\|~A` | only for queries for these types, or for all others |
| `$dnsrewrite=192.0.2.1`, `=NXDOMAIN`, `=NOERROR;MX;10 mail.example` | what such a name is answered with |

Read first: AdGuard's DNS filtering syntax; RFC 1035 §3.3, RFC 2782 (SRV).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from tunflow.addresses import ip_address, ip_network
from tunflow.dns.names import wire_of
from tunflow.numbers import whole_number
from tunflow.rules.cidr import CIDRSet
from tunflow.rules.domains import normalise
from tunflow.rules.expression_syntax import NotKept

TYPES = {
    "A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "HINFO": 13, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33,
    "NAPTR": 35, "DNAME": 39, "DS": 43, "SSHFP": 44, "RRSIG": 46, "NSEC": 47, "DNSKEY": 48, "TLSA": 52, "SVCB": 64,
    "HTTPS": 65, "SPF": 99, "ANY": 255, "CAA": 257,
}  # fmt: skip
CODES = {"NOERROR": 0, "FORMERR": 1, "SERVFAIL": 2, "NXDOMAIN": 3, "NOTIMPL": 4, "NOTIMP": 4, "REFUSED": 5}
"""RFC 1035 §4.1.1."""
OPTIONS = ("dnstype", "client", "ctag", "dnsrewrite")

_PARTS = re.compile(r"(?:'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|\\.|[^|'\"\\])+")
_TYPE_NUMBER = re.compile(r"TYPE([0-9]{1,5})")


class NameAnswer(NamedTuple):
    """What a name is answered with."""

    code: int = 0
    """The response code."""
    kind: int = 0
    """The type of the record; 0 for none."""
    data: bytes = b""
    """The record's data in wire form."""
    alias: str = ""
    """In place of a record: the name whose addresses it has."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Names that are meant, or all but those that are not."""

    meant: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()

    def has(self, names: frozenset[str]) -> bool:
        """Return True if somebody with these names is meant."""
        return self.others.isdisjoint(names) and not (self.meant and self.meant.isdisjoint(names))


@dataclass(frozen=True, slots=True)
class Audience:
    """The clients that a rule is for."""

    names: Chosen = Chosen()
    """Names of devices."""
    tags: Chosen = Chosen()
    networks: tuple[str, ...] = ()
    """Addresses and networks that are meant, beside `names`."""
    other_networks: tuple[str, ...] = ()
    within: CIDRSet = field(default_factory=CIDRSet, compare=False)
    """`networks`, and `other_networks`, as they are asked."""
    beyond: CIDRSet = field(default_factory=CIDRSet, compare=False)


@dataclass(frozen=True, slots=True)
class RuleConditions:
    """What a rule depends on, beside its pattern."""

    audience: Audience | None = None
    kinds: frozenset[int] = frozenset()
    """Types of queries; empty for all."""
    other_kinds: frozenset[int] = frozenset()
    answer: NameAnswer | None = None
    rewrites: bool = False
    """True of a rule about what names are answered with; as an exception without `answer` it ends all such rules."""

    @property
    def is_about_queries(self) -> bool:
        """True if it says nothing about flows."""
        return bool(self.kinds or self.other_kinds or self.rewrites)

    def has_kind(self, kind: int) -> bool:
        """Return True if queries for a type are meant."""
        return kind not in self.other_kinds and (not self.kinds or kind in self.kinds)


def parse_conditions(options: list[str], *, is_exception: bool) -> RuleConditions:
    """The conditions among a rule's options. Raises NotKept for what cannot be answered here, ValueError for others."""
    found: dict[str, tuple[list[str], list[str]]] = {"client": ([], []), "ctag": ([], []), "dnstype": ([], [])}
    names, tags, kinds = found.values()
    answer: NameAnswer | None = None
    rewrites = False
    for option in options:
        key, _, value = option.partition("=")
        if key == "dnsrewrite":
            rewrites = True
            answer = parse_answer(value) if value else None
            if answer is None and not is_exception:
                raise ValueError("$dnsrewrite says no answer")
        elif key in found:
            for part in _parts(value):
                found[key][part[0] == "~"].append(_unquoted(part.removeprefix("~")))
    return RuleConditions(
        _audience(names, tags) if any(names) or any(tags) else None,
        frozenset(map(type_number, kinds[0])),
        frozenset(map(type_number, kinds[1])),
        answer,
        rewrites,
    )


def type_number(name: str) -> int:
    """The number of a record type. Raises ValueError."""
    number = TYPES.get(name.upper())
    if number is None:
        digits = _TYPE_NUMBER.fullmatch(name.upper())
        if digits is None:
            raise ValueError(f"{name[:40]!r} is no type of records")
        number = whole_number(digits[1], 0xFFFF)
    return number


def parse_answer(value: str) -> NameAnswer:
    """The value of `$dnsrewrite`. Raises NotKept for records that are not made here, ValueError for what is none."""
    code, semicolon, rest = value.partition(";")
    if not semicolon:
        return _short_answer(value)
    if code.upper() not in CODES:
        raise ValueError(f"{code[:40]!r} is no response code")
    number = CODES[code.upper()]
    kind, _, data = rest.partition(";")
    if number or not kind:
        return NameAnswer(number)
    return _record(kind.upper(), data)


def address_answer(text: str) -> NameAnswer:
    """The answer with one address. Raises ValueError."""
    packed = ip_address(text).packed
    return NameAnswer(0, TYPES["A" if len(packed) == 4 else "AAAA"], packed)


def _short_answer(value: str) -> NameAnswer:
    if value in CODES:
        return NameAnswer(CODES[value])
    try:
        return address_answer(value)
    except ValueError:
        return NameAnswer(alias=normalise(value))


def _record(kind: str, data: str) -> NameAnswer:
    if kind in {"A", "AAAA"}:
        answer = address_answer(data)
        if answer.kind != TYPES[kind]:
            raise ValueError(f"{data[:40]!r} is no address for {kind}")
        return answer
    if kind == "CNAME":
        return NameAnswer(alias=normalise(data))
    if kind == "TXT":
        text = data.encode()
        return NameAnswer(
            0, TYPES[kind], b"".join(_counted(text[at : at + 255]) for at in range(0, len(text) or 1, 255))
        )
    if kind == "PTR":
        return NameAnswer(0, TYPES[kind], wire_of(normalise(data)))
    if kind in {"MX", "SRV"}:
        *numbers, host = data.split()
        if len(numbers) != (1 if kind == "MX" else 3):
            raise ValueError(f"{data[:40]!r} is no data for {kind}")
        front = b"".join(whole_number(number, 0xFFFF).to_bytes(2, "big") for number in numbers)
        return NameAnswer(0, TYPES[kind], front + wire_of(normalise(host)))
    type_number(kind)
    raise NotKept(f"$dnsrewrite with a record of type {kind[:20]}")


def _counted(text: bytes) -> bytes:
    return len(text).to_bytes(1, "big") + text


def _audience(clients: tuple[list[str], list[str]], tags: tuple[list[str], list[str]]) -> Audience:
    networks, names = zip(*map(_networks_and_names, clients), strict=True)
    return Audience(Chosen(*names), Chosen(*map(frozenset, tags)), *networks, *map(CIDRSet, networks))


def _networks_and_names(texts: list[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    networks, names = [], []
    for text in texts:
        try:
            networks.append(str(ip_network(text, strict=False)))
        except ValueError:
            names.append(text)
    return tuple(networks), frozenset(names)


def _parts(value: str) -> list[str]:
    parts = [part for part in _PARTS.findall(value) if part.strip("~ ")]
    if not parts:
        raise ValueError("an option names nobody")
    return [part.strip() for part in parts]


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    return re.sub(r"\\(.)", r"\1", text)
