"""Rule sets as Clash (mihomo) packs them: MRS, a list compressed with Zstandard.

    "MRS" 1 | behavior (0 names, 1 prefixes) | entries (8 bytes) | length of more (8 bytes) | more | body
    prefixes   1 | ranges (8 bytes) | first and last address, 16 bytes each …
    names      1 | words (8 bytes) | leaves | words | bitmap | bytes (8 bytes) | labels

Numbers are big-endian. Names stand in a tree (`label_tree`).

Read first: mihomo's `rules/provider/mrs_reader.go`, `component/trie/domain_set.go`, `component/cidr/ipcidr_set_bin.go`.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address, summarize_address_range

from tunflow.errors import BadPacket, LocalError
from tunflow.rules.label_tree import bits_of, names_untrusted

MAGIC = b"\x28\xb5\x2f\xfd"
"""How what Zstandard compressed begins (RFC 8878 §3.1.1)."""

_MRS = b"MRS\x01"
_BEHAVIORS = {0: "domain", 1: "ipcidr"}
MOST = 256 * 1024 * 1024
"""Bytes of a list that is not compressed any more."""
_MAPPED = int(IPv6Address("::ffff:0:0"))


def entries_untrusted(content: bytes, behavior: str) -> Iterator[str]:
    """The lines that the packed list was made of. Raises BadPacket, LocalError where it cannot be unpacked here."""
    data = _Reader(_unpacked_untrusted(content))
    if data.take(4) != _MRS:
        raise BadPacket("not a packed rule set (MRS)")
    found = _BEHAVIORS.get(data.take(1)[0])
    if found != behavior:
        raise BadPacket(f'it is packed as {found or "classical"}: behavior = "{found or "classical"}"')
    data.number()
    data.take(data.number())
    if data.take(1) != b"\x01":
        raise BadPacket("a version of MRS that is not known")
    return _prefixes_untrusted(data) if found == "ipcidr" else _names_untrusted(data)


def _unpacked_untrusted(content: bytes) -> bytes:
    try:
        import zstandard  # noqa: PLC0415 (an extra: few need it)
    except ImportError:
        raise LocalError(
            "it is packed (MRS): pip install 'tunflow[mrs]', or name the list's YAML or text twin instead"
        ) from None
    try:
        with zstandard.ZstdDecompressor().stream_reader(content) as reader:
            found: bytes = reader.read(MOST + 1)
    except zstandard.ZstdError as error:
        raise BadPacket(f"not a packed rule set (MRS): {error}") from None
    if len(found) > MOST:
        raise BadPacket(f"more than {MOST} bytes unpacked")
    return found


class _Reader:
    """Bytes from front to back."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """The next bytes. Raises BadPacket when there are not so many."""
        if not 0 <= size <= len(self._data) - self._at:
            raise BadPacket("the packed list was cut short")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self) -> int:
        """The next 8 bytes."""
        return int.from_bytes(self.take(8), "big", signed=True)

    def bits(self) -> bytes:
        """A list of words, as one byte for each bit."""
        words = self.number()
        if not 0 <= words <= len(self._data) // 8:
            raise BadPacket("the packed list was cut short")
        return bits_of(self.take(words * 8))


def _prefixes_untrusted(data: _Reader) -> Iterator[str]:
    for _ in range(data.number()):
        first, last = (int.from_bytes(data.take(16), "big") for _ in range(2))
        if last < first:
            raise BadPacket("a range ends before it begins")
        for network in summarize_address_range(IPv6Address(first), IPv6Address(last)):
            if (mapped := network.network_address.ipv4_mapped) is not None and network.prefixlen >= 96:
                yield f"{mapped}/{network.prefixlen - 96}"
            else:
                yield str(network)


def _names_untrusted(data: _Reader) -> Iterator[str]:
    leaves, bitmap = data.bits(), data.bits()
    for name in names_untrusted(leaves, bitmap, data.take(data.number())):
        yield name.decode("ascii", "replace")
