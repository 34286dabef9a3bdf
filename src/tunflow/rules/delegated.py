"""Countries' addresses out of a registry's "delegated" statistics file.

    2|apnic|20210715|75116|19830613|20210714|+1000      version line (start date may be empty)
    apnic|*|ipv4|*|47055|summary                        how many records of a type follow
    apnic|CN|ipv4|1.0.1.0|256|20110414|allocated        IPv4: first address and *how many*
    apnic|CN|ipv6|2001:250::|35|20000426|allocated      IPv6: first address and *prefix length*

Rules:
- The number of IPv4 addresses need not be a power of two; such a record is several prefixes.
- Only what is `allocated` or `assigned` counts (the extended format also lists `available` and `reserved`).
- A file with fewer records than its summary lines promise was cut short: using it would send a country's traffic the
  wrong way, so it is refused.

Read first: https://www.apnic.net/about-apnic/corporate-documents/documents/resource-guidelines/rir-statistics-exchange-format/
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from tunflow.errors import BadPacket
from tunflow.rules.cidr import CIDRSet, Span

_IN_USE = {b"allocated", b"assigned"}
_TYPES = {b"ipv4", b"ipv6"}
_END4 = 1 << 32


def parse_delegated_untrusted(data: bytes, countries: Iterable[str] | None = None) -> dict[str, CIDRSet]:
    """Country code (upper case) -> its addresses, for `countries` or for all. Raises BadPacket, which names the line.

    A country that is asked for and not in the file is not in the answer.
    """
    wanted = None if countries is None else {code.upper().encode() for code in countries}
    found: dict[bytes, tuple[list[Span], list[Span]]] = {}
    missing: dict[bytes, int] = {}
    versioned = False
    for number, raw in enumerate(data.split(b"\n"), 1):
        line = raw.strip()
        if not line or line.startswith(b"#"):
            continue
        fields = line.split(b"|")
        if not versioned:
            if len(fields) < 7 or not fields[0].startswith(b"2"):
                raise BadPacket(f"line {number}: not the version line of a delegated file (2|registry|serial|...)")
            versioned = True
        elif len(fields) >= 6 and fields[5] == b"summary":
            if fields[2] in _TYPES:
                missing[fields[2]] = missing.get(fields[2], 0) + _number_untrusted(fields[4], number)
        elif len(fields) < 7:
            raise BadPacket(f"line {number}: a record has 7 fields or more, this has {len(fields)}")
        elif fields[2] in _TYPES:
            missing[fields[2]] = missing.get(fields[2], 0) - 1
            country = fields[1]
            if fields[6] in _IN_USE and country and (wanted is None or country in wanted):
                spans4, spans6 = found.setdefault(country, ([], []))
                if fields[2] == b"ipv4":
                    spans4.append(_span4_untrusted(fields, number))
                else:
                    spans6.append(_span6_untrusted(fields, number))
    if not versioned:
        raise BadPacket("the file is empty")
    for kind, count in missing.items():
        if count > 0:
            raise BadPacket(f"the file was cut short: {count} {kind.decode()} records of its summary are missing")
    return {
        country.decode("ascii", "replace"): CIDRSet.from_spans(spans4, spans6)
        for country, (spans4, spans6) in found.items()
    }


def _number_untrusted(field: bytes, line: int) -> int:
    if not field.isdigit() or len(field) > 10:
        raise BadPacket(f"line {line}: {field[:20].decode('ascii', 'replace')!r} is not a number")
    return int(field)


def _span4_untrusted(fields: list[bytes], line: int) -> Span:
    try:
        first = int(IPv4Address(fields[3].decode("ascii")))
    except (AddressValueError, UnicodeDecodeError) as error:
        raise BadPacket(f"line {line}: not an IPv4 address") from error
    count = _number_untrusted(fields[4], line)
    if not 0 < count <= _END4 - first:
        raise BadPacket(f"line {line}: {count} addresses do not fit behind the first")
    return first, first + count


def _span6_untrusted(fields: list[bytes], line: int) -> Span:
    try:
        first = int(IPv6Address(fields[3].decode("ascii")))
    except (AddressValueError, UnicodeDecodeError) as error:
        raise BadPacket(f"line {line}: not an IPv6 address") from error
    length = _number_untrusted(fields[4], line)
    if length > 128 or first & ((1 << (128 - length)) - 1):
        raise BadPacket(f"line {line}: /{length} is no prefix length for this address")
    return first, first + (1 << (128 - length))
