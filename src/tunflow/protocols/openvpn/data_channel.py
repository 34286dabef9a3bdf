"""The data keys of one connection: the one to send with, and those that the peer may still send with.

Rules: a new key is sent with once the peer was heard under it, or when it has had time to come by it; the old one opens
packets until its time is over. So nothing is lost while keys change, whichever end was first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tunflow.endpoint import Buffer
from tunflow.errors import LocalError
from tunflow.protocols.openvpn.data_epochs import EpochKey
from tunflow.protocols.openvpn.data_key import AEADKey, CBCKey, DataKey, halves, is_aead
from tunflow.protocols.openvpn.tunnel_options import TunnelOptions


def make_key(
    keys: bytes, options: TunnelOptions, digest: str, key_id: int, random_bytes: Callable[[int], bytes], *, server: bool
) -> DataKey:
    """The data key that 256 bytes of keys and the negotiated options make. Raises LocalError for a cipher not known."""
    send, receive = halves(keys, server=server)
    if options.epochs:
        return EpochKey(options.cipher, key_id, options.peer_id, send, receive)
    if is_aead(options.cipher):
        return AEADKey(options.cipher, key_id, options.peer_id, send, receive)
    return CBCKey(options.cipher, digest, key_id, options.peer_id, (send, receive), random_bytes)


def choose_cipher(options: TunnelOptions, accepted: Sequence[str], fallback: str, peer_options: str) -> str:
    """The cipher of the data: the one that was pushed, else ours for old servers, else the one the server says it has.

    Raises LocalError when it is none of those that are accepted.
    """
    said = next((part[7:].upper() for part in peer_options.split(",") if part.startswith("cipher ")), "")
    name = options.cipher or fallback or said
    if name not in accepted and name != fallback:
        raise LocalError(
            f"the server wants the cipher {name[:40] or '(none)'!r}, which data-ciphers does not have: "
            f"{':'.join(accepted)}"
        )
    return name


class DataChannel:
    """See the module. Times are the machine's."""

    def __init__(self) -> None:
        self._keys: dict[int, DataKey] = {}
        self._ends: dict[int, float] = {}
        self._sending: int | None = None
        self._next: int | None = None
        self._switch_at = 0.0

    @property
    def is_ready(self) -> bool:
        """True if packets can be sent."""
        return self._sending is not None

    @property
    def is_worn(self) -> bool:
        """True if a new key should be agreed on."""
        newest = self._next if self._next is not None else self._sending
        return newest is not None and self._keys[newest].is_worn

    def install(self, key_id: int, key: DataKey, now: float, *, patience: float, overlap: float) -> None:
        """Take a new key: send with it in `patience` seconds at the latest, open older ones' packets for `overlap`."""
        for other in self._keys:
            self._ends.setdefault(other, now + overlap)
        self._ends.pop(key_id, None)
        self._keys[key_id] = key
        if self._sending is None or self._sending == key_id:
            self._sending = key_id
        else:
            self._next, self._switch_at = key_id, now + patience

    def seal(self, packets: Sequence[Buffer], now: float) -> list[bytes]:
        """Packets for the wire; none before there is a key."""
        if self._next is not None and now >= self._switch_at:
            self._switch()
        return [] if self._sending is None else self._keys[self._sending].seal(packets)

    def open_all_untrusted(self, packets: Sequence[bytes]) -> list[bytes]:
        """The payloads of data packets that begin with the same byte: of those that authenticate and are new."""
        key_id = packets[0][0] & 7 if packets[0] else -1
        key = self._keys.get(key_id)
        if key is None:
            return []
        payloads = key.open_all_untrusted(packets)
        if payloads and key_id == self._next:
            self._switch()
        return payloads

    def expire(self, now: float) -> None:
        """Forget keys whose time is over."""
        for key_id in [key_id for key_id, end in self._ends.items() if end <= now]:
            del self._ends[key_id]
            if key_id not in {self._sending, self._next}:
                del self._keys[key_id]

    def next_timeout(self) -> float | None:
        """When a key's time is over."""
        return min(self._ends.values(), default=None)

    def _switch(self) -> None:
        self._sending, self._next = self._next, None
