"""Judges whether a flow may pass: lists with their scopes and schedules, doors that are closed, and why.

The strongest finding of all lists counts (see `block_list`): an important block, then an exception, then a block; a
list that allows counts as exceptions. With `only_allowed` a flow that no list allows is blocked.
"""

from __future__ import annotations

from collections.abc import Iterator, KeysView, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from functools import lru_cache
from ipaddress import IPv6Address
from typing import NamedTuple, TypeAlias

from tunflow.addresses import ip_address
from tunflow.dns.public_resolvers import PublicResolvers, known_resolvers
from tunflow.filter.block_list import STEPS, BlockList, Finding
from tunflow.filter.devices import Devices
from tunflow.filter.list_line import EXCEPT
from tunflow.filter.schedule import Schedule
from tunflow.filter.text_index import TextIndex
from tunflow.filter.wildcard import URLText
from tunflow.flow import UDP, ProcessInfo
from tunflow.numbers import whole_number
from tunflow.rules.cidr import CIDRSet
from tunflow.rules.domains import normalise
from tunflow.rules.expression import Allowance, OutOfAllowance


class Door(Enum):
    """A way around a filter that can be closed."""

    ENCRYPTED_DNS = "encrypted-dns"
    """Public resolvers over TLS, QUIC and HTTPS."""
    QUIC = "quic"
    RAW_IP = "raw-ip"
    """Web flows that name no host: to a bare address."""
    VPN = "vpn"
    """The usual ports of OpenVPN, WireGuard, IPsec, PPTP, L2TP, SOCKS and Tor."""
    ECH = "ech"
    """TLS whose real name is encrypted."""


class Cause(StrEnum):
    """Kinds of reasons for which flows are refused."""

    LIST = "list"
    NOT_ALLOWED = "not-allowed"
    """No list allows it, and only what one allows may pass."""
    DOOR = "door"
    UNREADABLE = "unreadable"
    FORGED = "forged"
    FILTER = "filter"
    """A filter of the user's own refuses it."""


class Forged(Enum):
    """What becomes of flows that name a host whose address theirs is not, as far as is known."""

    PASS = "pass"  # noqa: S105 (no password)
    TELL = "tell"
    """They pass, and the log tells of them."""
    REFUSE = "refuse"


VPN_PORTS = frozenset({500, 1080, 1194, 1701, 1723, 4500, 9001, 9030, 9050, 51820})


LONGEST = 300
"""Characters of a host: no name or address is longer (RFC 1035 §2.3.4), and what is remembered must not be large."""

KNOWN = 4096
"""Hosts of which is remembered what the lists say of them."""


class Subject(NamedTuple):
    """What is known of the flow, or of one request on it."""

    host: str | None
    """In normal form; an address as text where no name is known."""
    port: int
    protocol: str
    url: str | None = None
    address: bytes | None = None
    process: ProcessInfo | None = None
    client: bytes | None = None
    """The client's packed address: on a gateway, the device's."""
    hardware: bytes | None = None
    """The device's hardware (MAC) address; b"" for none: the flow is this host's own; None when unknown."""


@dataclass(frozen=True, slots=True)
class ListUse:
    """A list and whom it is for."""

    list: BlockList
    category: str = ""
    allows: bool = False
    """True if what it names is allowed, instead of blocked."""
    schedule: Schedule | None = None
    apps: frozenset[str] = frozenset()
    """Paths or names of programs; empty for all."""
    uids: frozenset[int] = frozenset()
    clients: CIDRSet | None = None
    hardware: frozenset[bytes] = frozenset()
    """Devices by their hardware addresses, beside those of `clients`; both empty for all."""

    @property
    def is_scoped(self) -> bool:
        """True if it is for some flows or times only."""
        return bool(self.schedule is not None or self.apps or self.uids or self.clients is not None or self.hardware)

    def concerns(self, subject: Subject, at: datetime, unknown: bool) -> bool:
        """Return True if the list is about such a flow at such a time; `unknown` if nobody knows whose flow it is."""
        if self.schedule is not None and not self.schedule.holds(at):
            return False
        process = subject.process
        if (self.apps or self.uids) and process is None and not unknown:
            return False
        if self.apps and process is not None and self.apps.isdisjoint({process.executable, process.name}):
            return False
        if self.uids and process is not None and process.uid not in self.uids:
            return False
        if self.clients is None and not self.hardware:
            return True
        if self.clients is not None and subject.client is not None and subject.client in self.clients:
            return True
        known = subject.hardware if self.hardware else subject.client
        return known in self.hardware if known is not None else unknown


class Ruling(NamedTuple):
    """What becomes of a flow, and why: the list and its line, or a door, or that no list allows it."""

    blocked: bool
    why: str
    list: str | None = None
    line: int | None = None
    category: str = ""
    cause: Cause | None = None
    """What kind of reason it is, of a ruling that blocks or that is to be told; None for others."""

    @property
    def is_forged(self) -> bool:
        """True if it is about a name that the flow's address is not known to have."""
        return self.cause is Cause.FORGED


PASSES = Ruling(False, "no rule is about it")
TOO_LONG = Ruling(True, "its URL would take too long to judge", cause=Cause.UNREADABLE)
NOT_ALLOWED = Ruling(True, "no list allows it", cause=Cause.NOT_ALLOWED)
NAMELESS = Ruling(True, "it names no host, and only hosts of a list are allowed", cause=Cause.NOT_ALLOWED)


def unreadable(why: str) -> Ruling:
    """The ruling about what cannot be judged."""
    return Ruling(True, why, cause=Cause.UNREADABLE)


_Found: TypeAlias = tuple[ListUse, Finding]


@dataclass(frozen=True, slots=True)
class Judge:
    """Decides about flows; immutable, replaced when the rules change."""

    lists: Sequence[ListUse] = ()
    only_allowed: bool = False
    doors: frozenset[Door] = frozenset()
    resolvers: PublicResolvers = field(default_factory=known_resolvers)
    """Who is encrypted DNS."""
    devices: Devices = field(default_factory=Devices)
    """Those that rules may name."""
    needs_process: bool = field(init=False, default=False)
    """True if a list is for some programs or users only."""
    needs_hardware: bool = field(init=False, default=False)
    """True if a list is for some devices only, by their hardware addresses."""
    needs_time: bool = field(init=False, default=False)
    """True if a list has a schedule."""
    looks_at_urls: bool = field(init=False, default=False)
    """True if a list has rules about URLs."""
    looks_at_queries: bool = field(init=False, default=False)
    """True if a list has rules about queries alone."""
    looks_at_flows: bool = field(init=False, default=False)
    """True if more counts than the host and the URL: whose flow it is, where to, when."""
    _is_scoped: bool = field(init=False, default=False, repr=False, compare=False)
    """True if some of what lists say is for some flows or times only."""
    rulings: dict[str, Ruling] = field(init=False, default_factory=dict, compare=False)
    """Those that were remembered, by host as it was written."""
    _texts: TextIndex = field(init=False, repr=False, compare=False)
    """What all lists look for in URLs."""
    _asked: tuple[tuple[ListUse, KeysView[str] | None, KeysView[str]], ...] = field(
        init=False, repr=False, compare=False
    )
    """The lists, and the names and texts without which they say nothing of a URL."""
    _known: dict[str, tuple[_Found, ...]] = field(init=False, default_factory=dict, compare=False)
    """What the lists say of hosts that were asked for lately, whoever it concerns and when."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "needs_process", any(use.apps or use.uids for use in self.lists))
        object.__setattr__(
            self, "needs_hardware", any(use.hardware for use in self.lists) or self.devices.needs_hardware
        )
        object.__setattr__(self, "looks_at_urls", any(use.list.has_urls for use in self.lists))
        object.__setattr__(self, "_texts", TextIndex.joined([use.list.texts for use in self.lists]))
        asked = tuple((use, use.list.names, use.list.demanded) for use in self.lists)
        object.__setattr__(self, "_asked", asked)
        scoped = any(use.is_scoped or use.list.has_audiences for use in self.lists)
        object.__setattr__(self, "_is_scoped", scoped)
        object.__setattr__(self, "looks_at_queries", any(use.list.conditional.has_queries for use in self.lists))
        object.__setattr__(self, "looks_at_flows", scoped or bool(self.doors))
        object.__setattr__(self, "needs_time", any(use.schedule is not None for use in self.lists))

    def judge(self, subject: Subject, at: datetime, strict: bool = True) -> Ruling:
        """The ruling about a flow at a time.

        Where nobody knows whose flow it is, it counts as one for whom what is blocked is blocked, and what is allowed
        only to some is not allowed; and the other way round if not `strict`, for what is judged again.
        """
        if self.doors:
            door = self._door(subject)
            if door is not None:
                return door
        host, url = subject.host, subject.url
        try:
            if url is not None and host is not None and self.looks_at_urls:
                all_found: Sequence[_Found] = self._look_up(host, url)
            else:
                all_found = self._found(host) if host is not None else ()
        except OutOfAllowance:
            return TOO_LONG
        best: _Found | None = None
        for found in all_found:
            if (best is None or found[1].strength > best[1].strength) and (
                not self._is_scoped or self._concerns(found, subject, at, strict)
            ):
                best = found
        if best is not None:
            return _ruling_by(*best)
        if self.only_allowed and (host is not None or url is not None):
            return NOT_ALLOWED
        return PASSES

    def _concerns(self, found: _Found, subject: Subject, at: datetime, strict: bool) -> bool:
        use, finding = found
        unknown = finding.blocked is strict
        return use.concerns(subject, at, unknown) and (
            finding.audience is None
            or self.devices.concerns(finding.audience, subject.client, subject.hardware, unknown)
        )

    def remember(self, host: str, ruling: Ruling) -> None:
        """The next flow to the host need not be judged, where neither its URL nor anything else of it counts."""
        if len(self.rulings) >= KNOWN:
            self.rulings.clear()
        self.rulings[host] = ruling

    def closes(self, door: Door, what: str) -> Ruling | None:
        """The ruling about a flow that goes by a door, if the door is closed."""
        return Ruling(True, f"{what} ({door.value} is closed)", cause=Cause.DOOR) if door in self.doors else None

    def _door(self, subject: Subject) -> Ruling | None:
        host = subject.host
        if subject.port == 443 and subject.protocol == UDP:
            return self.closes(Door.QUIC, "QUIC")
        for target in (host, subject.address):
            if target is not None and self.resolvers.is_encrypted_dns(target, subject.port):
                return self.closes(Door.ENCRYPTED_DNS, "encrypted DNS")
        if subject.port in VPN_PORTS:
            return self.closes(Door.VPN, f"port {subject.port}")
        return None

    def _found(self, host: str) -> Sequence[_Found]:
        """What each list says of a host, if it says something. Raises OutOfAllowance."""
        known = self._known.get(host)
        if known is None:
            if len(self._known) >= KNOWN:
                self._known.clear()
            known = self._known[host] = tuple(self._look_up(host, f"http://{host}/"))
        return known

    def _look_up(self, host: str, url: str) -> Sequence[_Found]:
        """The same of a URL of it. Raises OutOfAllowance."""
        allowance, names, small = Allowance(STEPS), _names_of(host), url.lower()
        standing = self._texts.standing(small, allowance)
        found: list[_Found] = []
        text: URLText | None = None
        for use, known, texts in self._asked:
            if known is None or not known.isdisjoint(names) or (standing and not texts.isdisjoint(standing)):
                text = URLText(url, small) if text is None else text
                found += _said_by(use, names, text, standing, allowance)
        return found


def _said_by(
    use: ListUse, names: Sequence[str], text: URLText, standing: Sequence[str], allowance: Allowance
) -> Iterator[_Found]:
    """What a list says of a URL. Raises OutOfAllowance."""
    finding = use.list.find_text(names, text, standing, allowance)
    if finding is not None:
        if use.allows:
            finding = Finding(False, finding.line, max(finding.strength, EXCEPT))
        yield use, finding
    if use.list.has_audiences:
        for each in use.list.conditional.find(names, text, allowance):
            if not each.conditions.is_about_queries:
                strength = max(each.strength, EXCEPT) if use.allows else each.strength
                blocked = not (strength & EXCEPT or use.allows)
                yield use, Finding(blocked, each.line, strength, each.conditions.audience)


def _ruling_by(use: ListUse, finding: Finding) -> Ruling:
    what = "blocked by" if finding.blocked else "allowed by"
    why, cause = f"{what} {use.list.name}:{finding.line}", Cause.LIST if finding.blocked else None
    return Ruling(finding.blocked, why, use.list.name, finding.line, use.category, cause)


def _names_of(host: str) -> list[str]:
    """As `suffixes`, which takes longer."""
    found, rest = [host], host
    for _ in range(host.count(".")):
        rest = rest.partition(".")[2]
        found.append(rest)
    return found


@lru_cache(maxsize=8192)
def host_text(host: str) -> str:
    """A host as lists compare it: a name in normal form, an address in its usual spelling. Raises ValueError.

    Addresses in the spellings that C libraries take (`0x7f.1`, `3232235777`, octal parts) and IPv4 inside IPv6 are
    that IPv4 address: a filter must not be fooled by what a browser understands.
    """
    if len(host) > LONGEST:
        raise ValueError(f"a host has at most {LONGEST} characters")
    host = host.strip("[]")
    try:
        address = ip_address(host)
    except ValueError:
        plain = _odd_ipv4(host.rstrip("."))
        return plain if plain is not None else normalise(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def asked_host_text(name: str) -> str | None:
    """As `host_text`, of a name that is asked for, as `dns.names.text_of` writes it; None for the root.

    A label with bytes that no host has is written `-`: such a name may exist below every domain, and is judged so.
    """
    if "\\" in name:
        name = ".".join("-" if "\\" in label else label for label in name.split("."))
    try:
        return host_text(name)
    except ValueError:
        return None


def is_address(host: str) -> bool:
    """Return True if a host is an address, in whichever spelling `host_text` knows."""
    try:
        ip_address(host_text(host))
    except ValueError:
        return False
    return True


def _odd_ipv4(text: str) -> str | None:
    """inet_aton(3)'s spellings of an IPv4 address."""
    parts = text.split(".")
    if not 1 <= len(parts) <= 4 or not parts[-1] or not parts[0][:1].isdigit():
        return None
    values = []
    for part in parts:
        digits = part.lower()
        base = 16 if digits.startswith("0x") else 8 if digits.startswith("0") and len(digits) > 1 else 10
        try:
            values.append(whole_number(digits.removeprefix("0x") or "0", 0xFFFFFFFF, base))
        except ValueError:
            return None
    *high, low = values
    if any(value > 255 for value in high) or low >= 256 ** (5 - len(values)):
        return None
    number = low
    for index, value in enumerate(high):
        number += value << 8 * (3 - index)
    return str(ip_address(number))
