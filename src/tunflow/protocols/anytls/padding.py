"""How the first packets of a session are cut and padded: lines of sizes, which the server may change for the next one.

Read first: AnyTLS's protocol description, "paddingScheme". Packet 0 is who we are, 1 the session's first frames; sizes
are of TLS's plaintext. A `c` between them ends the packet if all was said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import md5
from typing import NamedTuple

from tunflow.errors import BadPacket

RandomBytes = Callable[[int], bytes]

_USUAL = b"""stop=8
0=30-30
1=100-400
2=400-500,c,500-1000,c,500-1000,c,500-1000,c,500-1000
3=9-9,500-1000
4=500-1000
5=500-1000
6=500-1000
7=500-1000"""
"""What clients begin with."""
FRAME_HEADER = 7
"""Bytes before the data of a frame: where there is no more room than that, no padding is added."""
_LARGEST = 16384
"""Bytes of a size: what a record of TLS has."""
_MOST_SIZES = 64
_MOST_PACKETS = 256


class Size(NamedTuple):
    """One piece of a packet, in bytes; both 0 for a check mark."""

    least: int
    most: int

    @property
    def is_check(self) -> bool:
        """True if the packet ends here where all was said."""
        return not self.most


@dataclass(frozen=True, slots=True)
class PaddingScheme:
    """A checked scheme; `digest` is how client and server compare theirs."""

    stop: int
    """The first packet that goes as it is."""
    packets: Mapping[int, tuple[Size, ...]]
    digest: str

    def sizes(self, packet: int, random_bytes: RandomBytes) -> list[int]:
        """The sizes that a packet is to have, 0 for a check mark; none for one that goes as it is."""
        if packet >= self.stop:
            return []
        return [_between(size, random_bytes) for size in self.packets.get(packet, ())]

    def first_padding(self, random_bytes: RandomBytes) -> int:
        """Bytes of padding behind the password."""
        return next((size for size in self.sizes(0, random_bytes) if size), 0)


def parse_untrusted(text: bytes) -> PaddingScheme:
    """A scheme. Raises BadPacket."""
    lines = dict(line.partition(b"=")[::2] for line in text.split(b"\n") if line.strip())
    stop = lines.pop(b"stop", b"").strip()
    if not re.fullmatch(rb"[0-9]{1,3}", stop) or int(stop) > _MOST_PACKETS:
        raise BadPacket(f"the server's padding scheme has no stop of up to {_MOST_PACKETS}")
    packets = {
        int(number): _sizes_untrusted(sizes)
        for number, sizes in lines.items()
        if re.fullmatch(rb"[0-9]{1,3}", number) and int(number) < int(stop)
    }
    return PaddingScheme(int(stop), packets, md5(text, usedforsecurity=False).hexdigest())


def pieces(frames: bytes, sizes: Sequence[int], waste: Callable[[int], bytes]) -> list[bytes]:
    """What is said, cut into pieces of these sizes; `waste` makes a frame of padding of so many bytes in all."""
    made: list[bytes] = []
    for size in sizes:
        if not size:
            if not frames:
                return made
            continue
        piece, frames = frames[:size], frames[size:]
        room = size - len(piece)
        made.append(piece + waste(room) if room > FRAME_HEADER or not piece else piece)
    return [*made, frames] if frames else made


def _sizes_untrusted(text: bytes) -> tuple[Size, ...]:
    """Raises BadPacket."""
    made = []
    for word in text.strip().split(b","):
        found = re.fullmatch(rb"([0-9]{1,5})-([0-9]{1,5})", word.strip())
        if word.strip() == b"c":
            made.append(Size(0, 0))
        elif found is not None and 0 < int(found[1]) <= int(found[2]) <= _LARGEST:
            made.append(Size(int(found[1]), int(found[2])))
        else:
            raise BadPacket(f"the server's padding scheme has sizes that are none of 1 to {_LARGEST} bytes")
    if len(made) > _MOST_SIZES:
        raise BadPacket(f"the server's padding scheme has more than {_MOST_SIZES} sizes for a packet")
    return tuple(made)


def _between(size: Size, random_bytes: RandomBytes) -> int:
    span = size.most - size.least + 1
    return size.least + int.from_bytes(random_bytes(4), "big") % span if span > 1 else size.least


USUAL = parse_untrusted(_USUAL)
