"""A sealed stream in pieces of any size: each record is opened once it is whole."""

from __future__ import annotations

import pytest

from tunflow.errors import BadPacket
from tunflow.protocols.sealed_reader import SealedReader

STREAM = b"\x03one\x00\x05three"
RECORDS = [b"one", b"", b"three"]


def records_untrusted(data: memoryview) -> tuple[list[bytes], int]:
    """Records behind their length in one byte; 255 is none."""
    found, used = [], 0
    while used < len(data) and used + 1 + data[used] <= len(data):
        found.append(bytes(data[used + 1 : used + 1 + data[used]]))
        used += 1 + data[used]
    if used < len(data) and data[used] == 255:
        raise BadPacket("no length")
    return found, used


@pytest.mark.parametrize("size", range(1, len(STREAM) + 1))
@pytest.mark.parametrize("is_in_scratch", [False, True])
def test_records_are_opened_once_they_are_whole(size: int, is_in_scratch: bool) -> None:
    reader = SealedReader(records_untrusted)
    scratch = memoryview(bytearray(64))
    found: list[bytes] = []
    for at in range(0, len(STREAM), size):
        piece = STREAM[at : at + size]
        if is_in_scratch:
            start = len(reader.tail)
            scratch[start : start + len(piece)] = piece
            found += reader.read_behind_untrusted(scratch, len(piece))
            scratch[:] = bytes(len(scratch))  # it is everybody's
        else:
            found += reader.read_untrusted(piece)
    assert found == RECORDS
    assert reader.tail == b""


def test_what_cannot_be_opened_leaves_the_tail_as_it_was() -> None:
    reader = SealedReader(records_untrusted)
    reader.read_untrusted(b"\x02")
    with pytest.raises(BadPacket):
        reader.read_untrusted(b"xx\xff")
    assert reader.tail == b"\x02"
