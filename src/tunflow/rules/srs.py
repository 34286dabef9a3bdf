"""Rule sets as sing-box packs them: SRS, what its JSON source says, compressed with zlib.

    "SRS" version (1 byte) | zlib of: rules (uvarint), each of them
    rule       0 | items … | 0xFF | invert (1 byte)          or: 1 | mode (0 and, 1 or) | rules (uvarint) … | invert
    item       type (1 byte), then what that type holds: texts, numbers, names or addresses

Read first: sing-box's `common/srs/binary.go` and `ip_set.go`, sing's `common/domain/matcher.go`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from ipaddress import summarize_address_range
from typing import Any

from tunflow.addresses import ip_address
from tunflow.errors import BadPacket
from tunflow.rules.label_tree import bits_of, names_untrusted

MAGIC = b"SRS"
NEWEST = 4
MOST = 256 * 1024 * 1024
"""Bytes of a list that is not compressed any more."""
_DEEPEST = 8
_BELOW, _AND_BELOW, _ANYTHING = b"\r", b"\n", b"\b"
"""What stands in the tree before a name's first letter (any text in front; or that and a dot) and behind its last."""


def rules_untrusted(content: bytes) -> list[dict[str, Any]]:
    """The rules of a packed list as its JSON source has them. Raises BadPacket."""
    if not content.startswith(MAGIC) or len(content) < 4:
        raise BadPacket("not a packed rule set (SRS)")
    if not 1 <= content[3] <= NEWEST:
        raise BadPacket(f"version {content[3]} of SRS is not known; up to {NEWEST} are")
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(content[4:], MOST)
    except zlib.error as error:
        raise BadPacket(f"not a packed rule set (SRS): {error}") from None
    if unpacker.unconsumed_tail:
        raise BadPacket(f"more than {MOST} bytes unpacked")
    reader = _Reader(data)
    return [_rule(reader, 0) for _ in range(reader.count())]


class _Reader:
    """Bytes from front to back; every method raises BadPacket where they end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """The next bytes."""
        if not 0 <= size <= len(self._data) - self._at:
            raise BadPacket("the packed list was cut short")
        self._at += size
        return self._data[self._at - size : self._at]

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def count(self) -> int:
        """How many things follow: 7 bits a byte, the lowest first."""
        found = shift = 0
        while shift < 64:
            byte = self.byte()
            found |= (byte & 0x7F) << shift
            if byte < 0x80:
                if found > len(self._data):
                    raise BadPacket("the packed list was cut short")
                return found
            shift += 7
        raise BadPacket("a number in the packed list is longer than 64 bits")

    def text(self) -> str:
        """A text with its length in front."""
        return self.take(self.count()).decode("utf-8", "replace")

    def address(self) -> str:
        """An address with its length in front."""
        packed = self.take(self.count())
        if len(packed) not in {4, 16}:
            raise BadPacket(f"an address of {len(packed)} bytes")
        return str(ip_address(packed))

    def names(self) -> list[bytes]:
        """The texts of a tree of letters."""
        self.byte()
        leaves, bitmap = (bits_of(self.take(8 * self.count())) for _ in range(2))
        return list(names_untrusted(leaves, bitmap, self.take(self.count())))


def _rule(reader: _Reader, depth: int) -> dict[str, Any]:
    if depth > _DEEPEST:
        raise BadPacket(f"rules are nested deeper than {_DEEPEST}")
    kind = reader.byte()
    if kind == 1:
        mode = reader.byte()
        if mode > 1:
            raise BadPacket(f"a rule of the mode {mode}")
        inner = [_rule(reader, depth + 1) for _ in range(reader.count())]
        return {
            "type": "logical", "mode": ("and", "or")[mode], "rules": inner, "invert": reader.byte() != 0,
        }  # fmt: skip
    if kind != 0:
        raise BadPacket(f"a rule of the type {kind}")
    rule: dict[str, Any] = {}
    while (item := reader.byte()) != _END:
        read = _ITEMS.get(item)
        if read is None:
            raise BadPacket(f"a condition of the type {item}")
        rule |= read(reader)
    return {**rule, "invert": reader.byte() != 0}


def _texts(key: str) -> Callable[[_Reader], dict[str, Any]]:
    return lambda reader: {key: [reader.text() for _ in range(reader.count())]}


def _numbers(key: str, size: int = 2) -> Callable[[_Reader], dict[str, Any]]:
    return lambda reader: {key: [int.from_bytes(reader.take(size), "big") for _ in range(reader.count())]}


def _flag(key: str) -> Callable[[_Reader], dict[str, Any]]:
    return lambda _reader: {key: True}


def _domains(reader: _Reader) -> dict[str, Any]:
    exact: list[str] = []
    below: list[str] = []
    for name in reader.names():
        text = name.lstrip(_BELOW + _AND_BELOW).decode("utf-8", "replace")
        (below if name[:1] in {_BELOW, _AND_BELOW} else exact).append(text)
    return {"domain": exact, "domain_suffix": below}


def _adguard(reader: _Reader) -> dict[str, Any]:
    found = []
    for name in reader.names():
        text = name.strip(_BELOW + _AND_BELOW + _ANYTHING).decode("utf-8", "replace")
        front = {_AND_BELOW: "||", _BELOW: ""}.get(name[:1], "|")
        found.append(f"{front}{text}{'' if name[-1:] == _ANYTHING else '^'}")
    return {"adguard_domain": found}


def _networks(key: str) -> Callable[[_Reader], dict[str, Any]]:
    def read(reader: _Reader) -> dict[str, Any]:
        if reader.byte() != 1:
            raise BadPacket("a version of addresses that is not known")
        found: list[str] = []
        for _ in range(int.from_bytes(reader.take(8), "big")):
            first, last = ip_address(reader.address()), ip_address(reader.address())
            try:
                found += map(str, summarize_address_range(first, last))
            except (ValueError, TypeError):
                raise BadPacket(f"{first} to {last} is no range of addresses") from None
        return {key: found}

    return read


def _prefixes(reader: _Reader) -> list[str]:
    return [f"{reader.address()}/{reader.byte()}" for _ in range(reader.count())]


def _own_networks(reader: _Reader) -> dict[str, Any]:
    return {"network_interface_address": {str(reader.byte()): _prefixes(reader) for _ in range(reader.count())}}


_END = 0xFF
_ITEMS: dict[int, Callable[[_Reader], dict[str, Any]]] = {
    0: _numbers("query_type"),
    1: _texts("network"),
    2: _domains,
    3: _texts("domain_keyword"),
    4: _texts("domain_regex"),
    5: _networks("source_ip_cidr"),
    6: _networks("ip_cidr"),
    7: _numbers("source_port"),
    8: _texts("source_port_range"),
    9: _numbers("port"),
    10: _texts("port_range"),
    11: _texts("process_name"),
    12: _texts("process_path"),
    13: _texts("package_name"),
    14: _texts("wifi_ssid"),
    15: _texts("wifi_bssid"),
    16: _adguard,
    17: _texts("process_path_regex"),
    18: _numbers("network_type", 1),
    19: _flag("network_is_expensive"),
    20: _flag("network_is_constrained"),
    21: _own_networks,
    22: lambda reader: {"default_interface_address": _prefixes(reader)},
}
"""What a condition of each type says."""
