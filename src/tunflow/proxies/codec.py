"""What a proxy protocol is to the driver: two pure translations.

A `StreamCodec` stands between a flow's bytes and the bytes on the socket to the server; a `DatagramCodec` does the
same for datagrams. Codecs nest: the wire bytes of one are the flow bytes of the next, which is how a chain of
servers is made. They do no I/O and keep no copy of what passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tunflow.endpoint import Buffer, Endpoint


class StreamCodec(Protocol):
    """One flow's half of a stream proxy protocol (client or server side; the class says which)."""

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """Flow bytes to wire bytes.

        The first call also carries what must come first (salt, target address), even when `pieces` is empty:
        that is how a flow whose server speaks first is opened.
        """

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """Wire bytes to flow bytes, and how many bytes of `data` were used up.

        What was not used up (the start of an unfinished record) must be presented again at the front of the next
        `data`. What is returned does not refer to `data`, which the caller may overwrite. Raises BadPacket, after
        which the codec is of no more use.
        """


class DatagramCodec(Protocol):
    """One association's half of a datagram proxy protocol."""

    def seal(self, peer: Endpoint, payload: Buffer) -> bytes:
        """A datagram for (client side) or from (server side) `peer` to the one that goes on the wire."""

    def open_untrusted(self, datagram: Buffer) -> tuple[Endpoint, memoryview]:
        """The peer that a wire datagram comes from (client side) or is for (server side), and its payload.

        Raises BadPacket.
        """
