"""What NSEC and NSEC3 records say: that a name, or a type at a name, does not exist. Signatures were checked before.

Read first: RFC 4035 §5.4, RFC 5155 §8, RFC 6840 §4 (what an ancestor's record must not be believed for), RFC 9276.
"""

from __future__ import annotations

from base64 import b32hexencode
from collections.abc import Sequence
from enum import Enum
from typing import Any

import dns.dnssec
import dns.name
import dns.rdatatype
from dns.name import Name
from dns.rdatatype import CNAME, DNAME, DS, NS, SOA

MOST_ITERATIONS = 150
"""Of NSEC3's hash: a zone with more counts as unsigned (RFC 9276 §3.2)."""
_SHA1 = 1
_OPT_OUT = 1


class Denied(Enum):
    """What was proved."""

    NO = "nothing"
    YES = "it does not exist"
    UNSIGNED = "whatever is there is not signed"
    """An opt-out span, or a delegation without DS."""


class Proof:
    """The records of one zone: (owner, data) each."""

    def __init__(self, zone: Name, nsec: Sequence[tuple[Name, Any]], nsec3: Sequence[tuple[Name, Any]]) -> None:
        self._zone = zone
        self._nsec = nsec
        self._nsec3 = [
            (owner.labels[0].decode("ascii", "replace").upper(), b32hexencode(data.next).decode().rstrip("="), data)
            for owner, data in nsec3
            if data.algorithm == _SHA1
        ]
        self._hashes: dict[Name, str] = {}

    @property
    def is_costly(self) -> bool:
        """True if its hashes take more rounds than anybody should do."""
        return any(data.iterations > MOST_ITERATIONS for _, _, data in self._nsec3)

    def no_name(self, name: Name) -> Denied:
        """Return YES if it is proved that a name does not exist and no wildcard stands for it."""
        if self._nsec3:
            return self._no_name3(name)
        found = self._covering(name)
        if found is None or found[1].next.is_subdomain(name):
            return Denied.NO
        wildcard = dns.name.Name((b"*",)).concatenate(_encloser(found, name))
        return _if(self._covering(wildcard) is not None)

    def no_data(self, name: Name, kind: int) -> Denied:
        """Return YES if it is proved that a name has no records of a type."""
        if self._nsec3:
            return self._no_data3(name, kind)
        for owner, data in self._nsec:
            if owner == name:
                return _if(_lacks(data, kind))
        found = self._covering(name)
        if found is None:
            return Denied.NO
        if found[1].next.is_subdomain(name):
            return Denied.YES  # a name between others, without records of its own
        wildcard = dns.name.Name((b"*",)).concatenate(_encloser(found, name))
        return _if(any(owner == wildcard and _lacks(data, kind) for owner, data in self._nsec))

    def no_exact(self, name: Name, labels: int) -> Denied:
        """Return YES if it is proved that a name does not exist but a wildcard of `labels` stood for it."""
        if self._nsec3:
            next_closer = Name(name.labels[-(labels + 2) :])
            covered = self._covering3(next_closer)
            return Denied.NO if covered is None else Denied.UNSIGNED if covered.flags & _OPT_OUT else Denied.YES
        return _if(self._covering(name) is not None)

    def no_delegation(self, name: Name) -> Denied:
        """Return UNSIGNED if a zone begins there and has no DS record, YES if no zone begins there."""
        if self._nsec3:
            data = self._matching3(name)
            if data is not None:
                return _delegation(data)
            encloser, next_closer = self._encloser3(name)
            covered = self._covering3(next_closer) if next_closer is not None else None
            if encloser is None or covered is None:
                return Denied.NO
            return Denied.UNSIGNED if covered.flags & _OPT_OUT else Denied.YES
        for owner, data in self._nsec:
            if owner == name:
                return _delegation(data)
        return _if(self._covering(name) is not None)

    # NSEC.

    def _covering(self, name: Name) -> tuple[Name, Any] | None:
        for owner, data in self._nsec:
            if owner == name or (name.is_subdomain(owner) and _is_end(data)):
                continue  # it is above another zone, or an alias of all below, and knows nothing of what is there
            if owner < name and (name < data.next or data.next <= owner):
                return owner, data
        return None

    # NSEC3.

    def _no_name3(self, name: Name) -> Denied:
        encloser, next_closer = self._encloser3(name)
        covered = self._covering3(next_closer) if next_closer is not None else None
        if encloser is None or covered is None:
            return Denied.NO
        if covered.flags & _OPT_OUT:
            return Denied.UNSIGNED
        return _if(self._covering3(dns.name.Name((b"*",)).concatenate(encloser)) is not None)

    def _no_data3(self, name: Name, kind: int) -> Denied:
        data = self._matching3(name)
        if data is not None:
            return _if(_lacks(data, kind))
        encloser, next_closer = self._encloser3(name)
        covered = self._covering3(next_closer) if next_closer is not None else None
        if encloser is None or covered is None:
            return Denied.NO
        if covered.flags & _OPT_OUT and kind == DS:
            return Denied.UNSIGNED
        wildcard = self._matching3(dns.name.Name((b"*",)).concatenate(encloser))
        return _if(wildcard is not None and _lacks(wildcard, kind))

    def _encloser3(self, name: Name) -> tuple[Name | None, Name | None]:
        """The longest name above that exists, and the one below it on the way to `name`."""
        below, above = name, name.parent()
        while above.is_subdomain(self._zone):
            data = self._matching3(above)
            if data is not None:
                return (None, None) if _is_end(data) else (above, below)
            if above == self._zone or not len(above.labels) > 1:
                break
            below, above = above, above.parent()
        return None, None

    def _hash(self, name: Name, data: Any) -> str:
        if name not in self._hashes:
            self._hashes[name] = dns.dnssec.nsec3_hash(name, data.salt, data.iterations, data.algorithm)
        return self._hashes[name]

    def _matching3(self, name: Name) -> Any:
        return next((data for owner, _, data in self._nsec3 if owner == self._hash(name, data)), None)

    def _covering3(self, name: Name) -> Any:
        for owner, after, data in self._nsec3:
            wanted = self._hash(name, data)
            if owner < wanted < after or (after <= owner and (wanted > owner or wanted < after)):
                return data
        return None


def _if(proved: bool) -> Denied:
    return Denied.YES if proved else Denied.NO


def _has(data: Any, kind: int) -> bool:
    """Return True if a type stands in a record's bitmap."""
    at, bit = (kind & 0xFF) >> 3, 0x80 >> (kind & 7)
    return any(window == kind >> 8 and at < len(bitmap) and bitmap[at] & bit for window, bitmap in data.windows)


def _is_end(data: Any) -> bool:
    """Return True if another zone begins at a record's owner, or all below it is an alias."""
    return (_has(data, NS) and not _has(data, SOA)) or _has(data, DNAME)


def _lacks(data: Any, kind: int) -> bool:
    """Return True if a record of a name says that it has no `kind`, and is the one to say so."""
    if _has(data, kind) or _has(data, CNAME):
        return False
    if kind == DS:
        return not _has(data, SOA)
    return not (_has(data, NS) and not _has(data, SOA))


def _delegation(data: Any) -> Denied:
    if _has(data, DS) or _has(data, SOA):
        return Denied.NO
    return Denied.UNSIGNED if _has(data, NS) else Denied.YES


def _encloser(found: tuple[Name, Any], name: Name) -> Name:
    """The longest name above that exists, as the record around a name shows."""
    owner, data = found
    return max((_common(owner, name), _common(data.next, name)), key=lambda each: len(each.labels))


def _common(one: Name, other: Name) -> Name:
    _, _, count = one.fullcompare(other)
    return Name(other.labels[-count:])
