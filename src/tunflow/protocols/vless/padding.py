"""The blocks of `xtls-rprx-vision`: content, padding, and what comes behind them.

Read first: Xray-core, proxy/proxy.go. A direction begins with the user's id (16 bytes); then blocks follow, each of a
command, the size of its content, the size of its padding (16 bits each), content and padding. Behind a block that says
`END` the bytes are the flow's, in TLS; behind one that says `DIRECT` they are the flow's on the connection below TLS.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from tunflow.errors import BadPacket

_HEAD = 5
_ID = 16
MOST = 8192 - _ID - _HEAD
"""Bytes of content and padding in a block: servers read into pieces of 8,192."""
_LONG = 900
_LONG_RANGE = 500
_SHORT_RANGE = 256


class PaddingCommand(IntEnum):
    """What comes behind a block."""

    CONTINUE = 0
    """Another block."""
    END = 1
    """The flow, in TLS."""
    DIRECT = 2
    """The flow, as it is."""


class Padding:
    """Makes the blocks of one direction."""

    __slots__ = ("_id", "_random_bytes", "command")

    def __init__(self, user: bytes, random_bytes: Callable[[int], bytes]) -> None:
        self._id = user
        self._random_bytes = random_bytes
        self.command = PaddingCommand.CONTINUE
        """That of the last block."""

    def blocks(self, content: bytes, command: PaddingCommand, *, is_long: bool) -> list[bytes]:
        """Blocks of all of `content`, one if it is empty. With `is_long` short ones become longer than a greeting."""
        parts = [content[at : at + MOST] for at in range(0, len(content), MOST)] or [b""]
        self.command = command
        last = len(parts) - 1
        return [
            self._block(part, command if i == last else PaddingCommand.CONTINUE, is_long)
            for i, part in enumerate(parts)
        ]

    def _block(self, content: bytes, command: PaddingCommand, is_long: bool) -> bytes:
        size = len(content)
        if is_long and size < _LONG:
            padding = self._below(_LONG_RANGE) + _LONG - size
        else:
            padding = min(self._below(_SHORT_RANGE), MOST - size)
        identity, self._id = self._id, b""
        head = bytes((command,)) + size.to_bytes(2, "big") + padding.to_bytes(2, "big")
        return b"".join((identity, head, content, bytes(padding)))

    def _below(self, limit: int) -> int:
        return int.from_bytes(self._random_bytes(4), "big") % limit


class Unpadding:
    """Opens the blocks of one direction, cut anywhere."""

    __slots__ = ("_content", "_head", "_id", "_padding", "command")

    def __init__(self, user: bytes) -> None:
        self._id = user
        self._head = b""
        self._content = self._padding = 0
        """Bytes of the block that are still to come."""
        self.command = PaddingCommand.CONTINUE
        """That of the last block that is whole."""

    def open_untrusted(self, data: bytes) -> bytes:
        """The flow's bytes in it. Raises BadPacket for what is not padded."""
        pieces = []
        at = 0
        while at < len(data):
            if self.command is not PaddingCommand.CONTINUE:
                pieces.append(data[at:])
                break
            if self._content:
                piece = data[at : at + self._content]
                self._content -= len(piece)
                pieces.append(piece)
                at += len(piece)
            elif self._padding:
                skipped = min(self._padding, len(data) - at)
                self._padding -= skipped
                at += skipped
            else:
                at = self._head_untrusted(data, at)
            if len(self._head) == _HEAD and not self._content and not self._padding:
                self.command, self._head = PaddingCommand(self._head[0]), b""
        return b"".join(pieces)

    def _head_untrusted(self, data: bytes, at: int) -> int:
        """Take what there is of the id and a block's head; the place behind. Raises BadPacket."""
        if self._id:
            seen = data[at : at + len(self._id)]
            if not self._id.startswith(seen):
                raise BadPacket("its answer is not padded as flow=xtls-rprx-vision has it")
            self._id = self._id[len(seen) :]
            return at + len(seen)
        part = data[at : at + _HEAD - len(self._head)]
        self._head += part
        if len(self._head) == _HEAD:
            if self._head[0] > PaddingCommand.DIRECT:
                raise BadPacket(f"a block of padding has the command {self._head[0]}, which is none")
            self._content, self._padding = int.from_bytes(self._head[1:3], "big"), int.from_bytes(self._head[3:], "big")
        return at + len(part)
