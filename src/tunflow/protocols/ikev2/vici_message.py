"""Messages of vici, the control protocol of strongSwan's charon: sections, lists and values.

Read first: strongSwan's README of the vici plugin, "Message format" and "Packet layer".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from tunflow.errors import BadPacket

Value: TypeAlias = "str | bytes | list[str] | list[bytes] | Mapping[str, Value]"
Section: TypeAlias = "dict[str, Value]"

LARGEST_PACKET = 512 * 1024
"""Bytes, as charon itself has it."""
DEEPEST = 16

_SECTION_START, _SECTION_END, _KEY_VALUE, _LIST_START, _LIST_ITEM, _LIST_END = range(1, 7)


class PacketType(IntEnum):
    """What a packet is."""

    CMD_REQUEST = 0
    CMD_RESPONSE = 1
    CMD_UNKNOWN = 2
    EVENT_REGISTER = 3
    EVENT_UNREGISTER = 4
    EVENT_CONFIRM = 5
    EVENT_UNKNOWN = 6
    EVENT = 7


_NAMED = (PacketType.CMD_REQUEST, PacketType.EVENT_REGISTER, PacketType.EVENT_UNREGISTER, PacketType.EVENT)


class ViciPacket(NamedTuple):
    """One packet. `name` is "" where the type has none."""

    kind: PacketType
    name: str
    message: Section


def encoded(kind: PacketType, name: str, message: Mapping[str, Value] | None = None) -> bytes:
    """A packet with its length in front of it."""
    body = bytes([kind]) + (_name(name) if name else b"") + b"".join(_elements(message or {}))
    return struct.pack("!I", len(body)) + body


def decoded_untrusted(body: bytes) -> ViciPacket:
    """A packet without its length. Raises BadPacket."""
    reader = _Reader(body)
    try:
        kind = PacketType(reader.number(1))
    except ValueError as error:
        raise BadPacket(f"vici packet: {error}") from None
    name = reader.text(1) if kind in _NAMED else ""
    return ViciPacket(kind, name, reader.section(0))


def _name(text: str) -> bytes:
    data = text.encode()
    return bytes([len(data)]) + data


def _elements(section: Mapping[str, Value]) -> Iterator[bytes]:
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield bytes([_SECTION_START]) + _name(key)
            yield from _elements(value)
            yield bytes([_SECTION_END])
        elif isinstance(value, list):
            yield bytes([_LIST_START]) + _name(key)
            for item in value:
                yield bytes([_LIST_ITEM]) + _long(item)
            yield bytes([_LIST_END])
        else:
            yield bytes([_KEY_VALUE]) + _name(key) + _long(value)


def _long(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(data)) + data


class _Reader:
    """Reads a packet from its start to its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._data)

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise BadPacket(f"vici packet is cut off at byte {self._at}")
        taken, self._at = self._data[self._at : end], end
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def text(self, size: int) -> str:
        return self.take(self.number(size)).decode(errors="replace")

    def section(self, depth: int) -> Section:
        """Elements up to the end of the section, or at depth 0 of the packet."""
        if depth > DEEPEST:
            raise BadPacket("vici packet has sections too deep in each other")
        found: Section = {}
        while not (depth == 0 and self.is_at_end):
            kind = self.number(1)
            if kind == _SECTION_END and depth:
                break
            key = self.text(1)
            if kind == _SECTION_START:
                found[key] = self.section(depth + 1)
            elif kind == _KEY_VALUE:
                found[key] = self.text(2)
            elif kind == _LIST_START:
                found[key] = self._items()
            else:
                raise BadPacket(f"vici packet has an element of kind {kind} where none may be")
        return found

    def _items(self) -> list[str]:
        items = []
        while (kind := self.number(1)) != _LIST_END:
            if kind != _LIST_ITEM:
                raise BadPacket(f"vici packet has an element of kind {kind} in a list")
            items.append(self.text(2))
        return items
