"""The client's codec: `HOST PORT` and a newline, then the flow; everything XORed with the key."""

from __future__ import annotations

from collections.abc import Sequence

from tunflow.endpoint import Buffer, Endpoint


class ToyClient:
    """As `tunflow.protocols.codec.StreamCodec`."""

    established = True
    transparent = False

    def __init__(self, key: int, target: Endpoint) -> None:
        self._table = bytes(byte ^ key for byte in range(256))
        self._first = f"{target.host_text} {target.port}\n".encode()

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        said, self._first = self._first, b""
        plain = b"".join((said, *pieces))
        return [plain.translate(self._table)] if plain else []

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        return [bytes(data).translate(self._table)], len(data)

    def finish(self) -> list[Buffer]:
        return []
