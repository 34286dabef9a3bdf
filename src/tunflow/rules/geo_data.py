"""Names by topic and addresses by country out of `geosite.dat` and `geoip.dat`, the files of V2Ray that Clash uses too.

Both are Protocol Buffers, and hold one message for each topic or country, one after the other:

    geosite.dat   { 1: code, 2: { 1: type, 2: value, 3: { 1: attribute } } … } …
                  type: 0 keyword, 1 regular expression, 2 suffix, 3 name
    geoip.dat     { 1: code, 2: { 1: address (4 or 16 bytes), 2: length } …, 3: whether it is the opposite } …

A topic is read when it is asked for; the others are stepped over. `google@cn` are the names of google that have the
attribute cn.

Read first: https://protobuf.dev/programming-guides/encoding/, the `GeoSite` and `GeoIP` messages of V2Ray's routing
configuration.
"""

from __future__ import annotations

from collections.abc import Iterator

from tunflow.errors import BadPacket
from tunflow.rules.cidr import CIDRSet, Span
from tunflow.rules.conditions import DomainRegex, DomainTest
from tunflow.rules.domains import DomainSet, normalise

_KEYWORD, _REGEX, _SUFFIX, _NAME = range(4)

Field = tuple[int, int | memoryview]
"""A field's number, and its value: a number, or bytes."""


def site_untrusted(data: bytes, topic: str) -> DomainTest | None:
    """The names of a topic in `geosite.dat`, None if it has no such topic. Raises BadPacket."""
    code, _, attribute = topic.lower().partition("@")
    entry = _entry_untrusted(data, code)
    if entry is None:
        return None
    exact: set[str] = set()
    below: set[str] = set()
    keywords: list[str] = []
    patterns: list[DomainRegex] = []
    for number, value in _fields_untrusted(entry):
        if number != 2 or isinstance(value, int):
            continue
        kind, text, attributes = _name_untrusted(value)
        if attribute and attribute not in attributes:
            continue
        if kind == _REGEX:
            patterns.append(_pattern_untrusted(text))
        elif kind == _KEYWORD:
            keywords.append(text.lower())
        elif kind in {_SUFFIX, _NAME}:
            (below if kind == _SUFFIX else exact).add(_normal_untrusted(text))
    try:
        return DomainTest(DomainSet(exact, below, keywords), tuple(patterns))
    except ValueError as error:
        raise BadPacket(str(error)) from None


def addresses_untrusted(data: bytes, code: str) -> CIDRSet | None:
    """The addresses of a country in `geoip.dat`, None if it has no such country. Raises BadPacket."""
    entry = _entry_untrusted(data, code.lower())
    if entry is None:
        return None
    spans: dict[int, list[Span]] = {4: [], 16: []}
    for number, value in _fields_untrusted(entry):
        if number == 3 and value:
            raise BadPacket(f"{code} is given as the opposite of what is listed")
        if number != 2 or isinstance(value, int):
            continue
        fields = dict(_fields_untrusted(value))
        address, length = fields.get(1), fields.get(2, 0)
        if isinstance(address, int) or address is None or len(address) not in spans or not isinstance(length, int):
            raise BadPacket(f"a prefix of {code} is none")
        bits = len(address) * 8
        if length > bits:
            raise BadPacket(f"a prefix of {code} is longer than an address")
        size = 1 << (bits - length)
        first = int.from_bytes(address, "big") & -size
        spans[len(address)].append((first, first + size))
    return CIDRSet.from_spans(spans[4], spans[16])


def _entry_untrusted(data: bytes, code: str) -> memoryview | None:
    wanted = code.encode()
    for number, value in _fields_untrusted(memoryview(data)):
        if number == 1 and not isinstance(value, int):
            first = next(_fields_untrusted(value), None)
            code_of = first[1] if first is not None and first[0] == 1 else 0
            if not isinstance(code_of, int) and bytes(code_of).lower() == wanted:
                return value
    return None


def _name_untrusted(data: memoryview) -> tuple[int, str, set[str]]:
    kind, text, attributes = 0, "", set()
    for number, value in _fields_untrusted(data):
        if number == 1 and isinstance(value, int):
            kind = value
        elif number == 2 and not isinstance(value, int):
            text = _text_untrusted(value)
        elif number == 3 and not isinstance(value, int):
            attributes |= {
                _text_untrusted(key) for n, key in _fields_untrusted(value) if n == 1 and isinstance(key, memoryview)
            }
    return kind, text, attributes


def _text_untrusted(value: memoryview) -> str:
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError:
        raise BadPacket("a text is not UTF-8") from None


def _normal_untrusted(text: str) -> str:
    try:
        return normalise(text)
    except ValueError as error:
        raise BadPacket(f"{text[:80]!r} is not a name: {error}") from None


def _pattern_untrusted(text: str) -> DomainRegex:
    try:
        return DomainRegex(text)
    except ValueError as error:
        raise BadPacket(f"{text[:80]!r} is not a regular expression that can be kept: {error}") from None


def _fields_untrusted(data: memoryview) -> Iterator[Field]:
    """The fields of a message. Raises BadPacket where it is cut short or no message."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint_untrusted(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint_untrusted(data, at)
            yield tag >> 3, value
            continue
        if kind == 2:
            size, at = _varint_untrusted(data, at)
        elif kind in {1, 5}:
            size = 8 if kind == 1 else 4
        else:
            raise BadPacket("not a file of names or addresses (Protocol Buffers)")
        if size > end - at:
            raise BadPacket("the file was cut short")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint_untrusted(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise BadPacket("the file was cut short, or is none of names or addresses (Protocol Buffers)")
