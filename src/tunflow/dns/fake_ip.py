"""Addresses that stand for names: a client gets one at once, and the server gets the name.

Rules:
1. A name has one number, and with it one address of each pool, so that A and AAAA agree. A pool's first `RESERVED`
   addresses and its last are nobody's.
2. Numbers are given out in turn; when all are, the name used longest ago gives its number up. A flow to an address, and
   an answer with it, are use.
3. Every number given out is a line in `journal`, which the caller keeps in a file: a client that still holds an address
   after our restart, or our crash, reaches the name that it asked for.
4. An address of a pool that no name has is `unknown`: it must not be dialled, for it is nobody's.

The file: a first line `tunflow-fake-ip 1 POOL4 POOL6`, then lines `NUMBER NAME`, later ones winning. A file of another
version or for other pools is not read: its addresses would mean other names.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network

from tunflow.addresses import ip_network
from tunflow.errors import LocalError
from tunflow.numbers import NotANumber, whole_number

POOL4 = "198.18.128.0/17"
"""Of RFC 2544's block for private tests, the half in which the tunnel's own addresses are not."""
POOL6 = "fd74:756e:666c:6f77:fa4e::/112"
"""Of our unique local prefix (RFC 4193)."""
RESERVED = 2
"""The network's own address, and one that some systems take for the gateway."""
FORMAT = "tunflow-fake-ip 1"
MOST_NAMES = 65_536


class FakeIPMap:
    """Names to addresses and back. `names` bounds how many there are at a time. Raises LocalError for bad pools."""

    def __init__(self, pool4: str = POOL4, pool6: str = POOL6, names: int = MOST_NAMES) -> None:
        network4, network6 = _pool(pool4), _pool(pool6)
        if not isinstance(network4, IPv4Network) or not isinstance(network6, IPv6Network):
            raise LocalError(f"fake-IP pools {pool4} and {pool6}: the first must be IPv4, the second IPv6")
        self._network4, self._network6 = network4, network6
        self._base4, self._base6 = int(network4.network_address), int(network6.network_address)
        self.capacity = min(network4.num_addresses, network6.num_addresses, names + RESERVED + 1) - RESERVED - 1
        if self.capacity < 1:
            raise LocalError(f"fake-IP pools {pool4} and {pool6} hold no address: take a prefix of /24 and /112, say")
        self._numbers: OrderedDict[str, int] = OrderedDict()  # longest unused first
        self._names: dict[int, str] = {}
        self._next = 0
        self.journal: list[str] | None = None
        """Lines for the file that the caller has not taken yet, who puts a list here if it keeps one."""

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def header(self) -> str:
        """The first line of the file."""
        return f"{FORMAT} {self._network4} {self._network6}"

    @property
    def pools(self) -> tuple[IPv4Network, IPv6Network]:
        """The networks that the addresses are from."""
        return self._network4, self._network6

    def addresses(self, name: str) -> tuple[bytes, bytes]:
        """The packed IPv4 and IPv6 address of a name (lower case, without the last dot)."""
        number = self._numbers.get(name)
        if number is None:
            number = self._give_out(name)
        else:
            self._numbers.move_to_end(name)
        offset = number + RESERVED
        return (self._base4 + offset).to_bytes(4, "big"), (self._base6 + offset).to_bytes(16, "big")

    def __contains__(self, address: bytes) -> bool:
        """Return True if a packed address is of a pool."""
        return self._number(address) is not None

    def name_of(self, address: bytes) -> str | None:
        """The name that a packed address stands for, which counts as use; None when it stands for none."""
        number = self._number(address)
        name = None if number is None else self._names.get(number)
        if name is not None:
            self._numbers.move_to_end(name)
        return name

    def lines(self) -> Iterator[str]:
        """The whole file, longest unused first, so that reading it restores the order too."""
        yield self.header
        for name, number in self._numbers.items():
            yield f"{number} {name}"

    def load(self, lines: Iterable[str]) -> bool:
        """Take in a file's lines. Return True if the file is one of ours.

        A line that cannot be read is passed over: a crash may have cut the last one."""
        given = iter(lines)
        if next(given, "").strip() != self.header:
            return False
        for line in given:
            number_text, _, name = line.rstrip("\n").partition(" ")
            if not (0 < len(name) <= 1024 and name.isprintable()):
                continue
            try:
                number = whole_number(number_text, self.capacity - 1)
            except NotANumber:
                continue
            self._put(number, name)
            self._next = number + 1
        return True

    def _give_out(self, name: str) -> int:
        number = self._next
        if len(self._numbers) >= self.capacity:
            number = next(iter(self._numbers.values()))
        else:
            while number >= self.capacity or number in self._names:
                number = 0 if number >= self.capacity else number + 1
        self._next = number + 1
        self._put(number, name)
        if self.journal is not None:
            self.journal.append(f"{number} {name}")
        return number

    def _put(self, number: int, name: str) -> None:
        """`name` has `number` from here on."""
        before = self._names.pop(number, None)
        if before is not None:
            del self._numbers[before]
        earlier = self._numbers.pop(name, None)
        if earlier is not None:
            del self._names[earlier]
        self._numbers[name] = number
        self._names[number] = name

    def _number(self, address: bytes) -> int | None:
        base, size = (self._base4, self._network4) if len(address) == 4 else (self._base6, self._network6)
        offset = int.from_bytes(address, "big") - base
        return offset - RESERVED if 0 <= offset < size.num_addresses else None


def _pool(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise LocalError(f"fake-IP pool {text!r} is no network: {error}; it reads ADDRESS/LENGTH") from error
