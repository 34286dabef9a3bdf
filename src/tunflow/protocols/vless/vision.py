"""VLESS with `flow=xtls-rprx-vision`: greetings are padded, and TLS inside of TLS leaves the outer one.

The first packets of both directions stand in blocks (`padding`), so that the sizes of a TLS handshake inside do not
show. Once the flow is seen to be TLS 1.3 itself, each side says so in its last block and goes on with the flow's bytes
on the connection itself: they are encrypted already, and nobody sees where the outer TLS ended. What is no TLS 1.3
stays in the outer TLS.

The outer TLS is given one record at a time: what follows a last block is not its own, and would end it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tunflow.endpoint import Buffer
from tunflow.protocols.codec import ProxyRefused, Refusal, StreamCodec
from tunflow.protocols.transport.layers import TLSLayer
from tunflow.protocols.vless.inner_tls import InnerTLS, Inside
from tunflow.protocols.vless.padding import MOST, Padding, PaddingCommand, Unpadding

_HEADER = 5
_KINDS = range(20, 25)
_LARGEST = (1 << 14) + 2048


class VisionClient:
    """The client's end of a flow that `request` asks for, on `outer`. As `StreamCodec`."""

    __slots__ = ("_down", "_inside", "_opened", "_outer", "_request", "_tail", "_up")

    def __init__(
        self, outer: TLSLayer, request: StreamCodec, user: bytes, random_bytes: Callable[[int], bytes]
    ) -> None:
        self._outer = outer
        self._request = request
        self._inside = InnerTLS()
        self._up = Padding(user, random_bytes)
        self._down = Unpadding(user)
        self._opened = False
        """True if the request has gone out."""
        self._tail = b""
        """The start of the request's answer."""

    @property
    def established(self) -> bool:
        """True if TLS stands: the server is not waited for."""
        return self._outer.established

    @property
    def transparent(self) -> bool:
        """True if neither direction is in TLS any more."""
        return self._up.command is PaddingCommand.DIRECT and self._down.command is PaddingCommand.DIRECT

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """As `StreamCodec.seal`."""
        if self._up.command is PaddingCommand.DIRECT:
            return list(pieces)
        if self._up.command is PaddingCommand.END or not self._outer.established:
            return self._outer.seal(pieces)
        data = b"".join(pieces)
        if self._opened and not data:
            return self._outer.seal(())
        command, size = self._next(data)
        is_long = self._inside.is_tls or not data
        blocks = self._up.blocks(data[:size], command, is_long=is_long)
        if not self._opened:
            self._opened = True
            blocks[0] = b"".join(self._request.seal([blocks[0]]))
        wire = self._outer.seal(blocks)
        if rest := data[size:]:
            wire += [rest] if command is PaddingCommand.DIRECT else self._outer.seal([rest])
        return wire

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """As `StreamCodec.open_untrusted`. Raises BadPacket and ProxyRefused."""
        pieces: list[Buffer] = []
        used = 0
        while self._down.command is PaddingCommand.CONTINUE:
            end = _record_end(data, used)
            if len(data) < end:
                return pieces, used
            pieces += self._open_record_untrusted(data[used:end])
            used = end
        rest = data[used:]
        if self._down.command is PaddingCommand.DIRECT:
            return ([*pieces, bytes(rest)] if rest else pieces), len(data)
        if rest:
            opened, taken = self._outer.open_untrusted(rest)
            return [*pieces, *opened], used + taken
        return pieces, used

    def finish(self) -> list[Buffer]:
        """As `StreamCodec.finish`: TLS's own end, while the flow is in it."""
        return [] if self._up.command is PaddingCommand.DIRECT else self._outer.finish()

    def _next(self, data: bytes) -> tuple[PaddingCommand, int]:
        """What the next block says, and how many bytes of `data` go in blocks."""
        whole = self._inside.show_up(data) if data else 0
        if whole:
            return (PaddingCommand.DIRECT if self._inside.what is Inside.TLS13 else PaddingCommand.END), whole
        if self._inside.what is Inside.NO_TLS:
            return PaddingCommand.END, min(len(data), MOST)
        return PaddingCommand.CONTINUE, len(data)

    def _open_record_untrusted(self, record: memoryview) -> list[Buffer]:
        """One record of the outer TLS; the flow's bytes in it. Raises BadPacket and ProxyRefused."""
        stood = self._outer.established
        opened, _ = self._outer.open_untrusted(record)
        if self._outer.established and not stood and not self._outer.is_tls13:
            raise ProxyRefused(
                Refusal.UNSUPPORTED, "flow=xtls-rprx-vision needs TLS 1.3, which the server does not speak"
            )
        if not opened:
            return []
        answer = b"".join((self._tail, *opened))
        inside, used = self._request.open_untrusted(memoryview(answer))
        self._tail = answer[used:]
        flow = self._down.open_untrusted(b"".join(inside))
        if not flow:
            return []
        self._inside.show_down(flow)
        return [flow]


def _record_end(data: memoryview, at: int) -> int:
    """Where the record at `at` ends, or its head that is not whole; that of all `data` if it is none."""
    end = at + _HEADER
    if len(data) > at and data[at] not in _KINDS:
        return len(data)
    if len(data) < end:
        return end
    size = data[end - 2] << 8 | data[end - 1]
    return end + size if size <= _LARGEST else len(data)
