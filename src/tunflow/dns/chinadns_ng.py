"""ChinaDNS as chinadns-ng refined it: lists of names decide first, then where the domestic answer's address is.

The table (chinadns-ng 2025.08.09, README; written anew here):

| name | asked | answer |
|---|---|---|
| of the foreign list (`gfw`) | the trusted group | its reply, untested |
| of the domestic list (`chn`) | the domestic group | its reply, untested |
| of neither, type A or AAAA | both | the domestic reply if its first address is inside, else the trusted one |
| of neither, any other type | the trusted group | its reply: where a record is from cannot be told |

A trusted reply that comes first is held until the domestic one is judged, for `HOLD` at most. A domestic reply without
an address is not taken (unless `accept_empty`). Where the domestic group says nothing, the trusted reply is the answer,
and the other way round nothing is: a rejected reply never comes back. What was found out about a name of neither list
is remembered, and only that group is asked the next time, until the network changes, that group has nothing to say, or
a domestic reply is outside: then both are asked again. The foreign list goes before the domestic one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from tunflow.dns.answers import AAAA, A
from tunflow.dns.chinadns import DOMESTIC, FOREIGN
from tunflow.dns.selection import AddressTest, FirstReply, NameTest, Reply, Selection

Tag = Literal["chn", "gfw", "none"]
HOLD = 1.5
"""Seconds. chinadns-ng waits as long as for any answer; but a domestic resolver is near, and clients ask again."""
VERDICTS = 4096
"""Names whose side is remembered."""


class Verdicts:
    """Which side a name turned out to be of; bounded, the longest unused goes first."""

    def __init__(self, most: int = VERDICTS) -> None:
        self._most = most
        self._inside: OrderedDict[tuple[str, int], bool] = OrderedDict()

    def find(self, name: str, kind: int) -> bool | None:
        """Return True if the name's addresses of that type are inside the country; None when not known."""
        inside = self._inside.get((name, kind))
        if inside is not None:
            self._inside.move_to_end((name, kind))
        return inside

    def put(self, name: str, kind: int, inside: bool) -> None:
        """Remember."""
        self._inside[name, kind] = inside
        self._inside.move_to_end((name, kind))
        if len(self._inside) > self._most:
            self._inside.popitem(last=False)

    def forget(self, name: str, kind: int) -> None:
        """Know nothing of a name any more."""
        self._inside.pop((name, kind), None)

    def clear(self) -> None:
        """Know nothing any more."""
        self._inside.clear()

    def __len__(self) -> int:
        return len(self._inside)


@dataclass(frozen=True, slots=True)
class ChinaDNSNG:
    """The options; as a selector it follows the table."""

    in_country: AddressTest
    domestic_name: NameTest | None = None
    foreign_name: NameTest | None = None
    blacklisted: AddressTest | None = None
    """Replies with such an address are dropped, whoever sent them."""
    accept_empty: bool = False
    """chinadns-ng's `--noip-as-chnip`."""
    no_aaaa: frozenset[Tag] = frozenset()
    """Names of these tags have no AAAA records, whoever says so (its `-N`)."""
    verdicts: Verdicts = field(default_factory=Verdicts, compare=False)

    def tag(self, name: str) -> Tag:
        """Which list a name is of."""
        if self.foreign_name is not None and self.foreign_name(name):
            return "gfw"
        if self.domestic_name is not None and self.domestic_name(name):
            return "chn"
        return "none"

    def hides(self, name: str, kind: int) -> bool:
        """Return True if to answer that there is no such record without asking."""
        return kind == AAAA and bool(self.no_aaaa) and self.tag(name) in self.no_aaaa

    def select(self, name: str, kind: int, now: float) -> Selection:  # noqa: ARG002
        """As `Selector.select`."""
        tag = self.tag(name)
        if tag == "gfw":
            return self._one(FOREIGN, "is in the foreign list")
        if tag == "chn":
            return self._one(DOMESTIC, "is in the domestic list")
        if kind not in {A, AAAA}:
            return self._one(FOREIGN, "is of neither list, and the type asked for holds no address to judge by")
        inside = self.verdicts.find(name, kind)
        if inside is not None:
            return _Remembered(self, inside, lambda: self.verdicts.forget(name, kind))
        return _Tested(self, lambda found: self.verdicts.put(name, kind, found))

    def network_changed(self) -> None:
        """As `Selector.network_changed`: names may be elsewhere, seen from here."""
        self.verdicts.clear()

    def _one(self, group: str, why: str) -> Selection:
        selection = _Filtered((group,), self.blacklisted)
        selection.note(None, "asked", f"{group} only: the name {why}")
        return selection


class _Filtered(FirstReply):
    """The first reply that the blacklist lets through."""

    def __init__(self, groups: tuple[str, ...], blacklisted: AddressTest | None) -> None:
        super().__init__(groups)
        self._blacklisted = blacklisted

    def heard(self, reply: Reply, now: float) -> None:
        """Take it, unless it is blacklisted."""
        if self._blacklisted is not None and any(map(self._blacklisted, reply.addresses)):
            self.note(reply, "dropped", "an address of it is in the blacklist")
            return
        super().heard(reply, now)


class _Remembered(_Filtered):
    """The reply of the side on which a name was before; where that has none, or moved, both are asked the next time."""

    def __init__(self, options: ChinaDNSNG, inside: bool, forget: Callable[[], None]) -> None:
        super().__init__((DOMESTIC if inside else FOREIGN,), options.blacklisted)
        self._options = options
        self._inside = inside
        self._forget = forget
        where = "inside" if inside else "outside"
        self.note(None, "asked", f"{self.groups[0]} only: the name was found {where} the country before")

    def heard(self, reply: Reply, now: float) -> None:
        """Take it, but not one from outside of the domestic group: the name moved, or somebody injects answers now."""
        if self._inside and reply.addresses and not self._options.in_country(reply.addresses[0]):
            self.note(reply, "dropped", "its first address is outside the country by now")
            self._forget()
            return
        super().heard(reply, now)

    def ended(self, group: str, now: float) -> None:
        """Nobody there answers: the next lookup asks both."""
        super().ended(group, now)
        if self.chosen is None:
            self._forget()


class _Tested(Selection):
    """A name of neither list: the domestic reply is tested."""

    def __init__(self, options: ChinaDNSNG, found: Callable[[bool], None]) -> None:
        super().__init__((DOMESTIC, FOREIGN))
        self._options = options
        self._found = found
        self._trusted: Reply | None = None
        self._domestic_judged = False

    def heard(self, reply: Reply, now: float) -> None:
        """Test a domestic reply; a trusted one waits for that."""
        blacklisted = self._options.blacklisted
        if blacklisted is not None and any(map(blacklisted, reply.addresses)):
            self.note(reply, "dropped", "an address of it is in the blacklist")
            return
        if reply.group == FOREIGN:
            self._trusted = self._trusted or reply
            if self._domestic_judged:
                self.take(self._trusted, "the domestic reply was not taken")
            else:
                self.note(reply, "held", "until the domestic reply is judged")
                self.due = now + HOLD
            return
        if self._domestic_judged:
            self.note(reply, "dropped", "another one was judged before")
            return
        self._judge(reply)

    def ended(self, group: str, now: float) -> None:
        """A domestic group that says nothing leaves the trusted reply."""
        super().ended(group, now)
        if group == DOMESTIC and not self._domestic_judged:
            self._domestic_judged = True
            if self._trusted is not None:
                self.take(self._trusted, "no domestic reply came")

    def expire(self, now: float) -> None:  # noqa: ARG002
        """The domestic group took too long."""
        if self._trusted is not None:
            self.take(self._trusted, "no domestic reply came in time")

    def _judge(self, reply: Reply) -> None:
        if not reply.addresses:
            inside, why = self._options.accept_empty, "it holds no address"
        else:
            inside = self._options.in_country(reply.addresses[0])
            self._found(inside)
            why = f"its first address is {'inside' if inside else 'outside'} the country"
        if inside:
            self.take(reply, why)
            return
        self.note(reply, "dropped", why)
        self._domestic_judged = True
        if self._trusted is not None:
            self.take(self._trusted, "the domestic reply was not taken")
