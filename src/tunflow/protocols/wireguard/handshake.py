"""The handshake: Noise IKpsk2, one round trip, either end may begin.

Read first: the paper, §5.4.2 (initiation), §5.4.3 (response), §5.4.5 (transport keys), §5.1 (the timestamp).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from tunflow.errors import BadPacket
from tunflow.protocols.wireguard.messages import Initiation, Response
from tunflow.protocols.wireguard.noise import Transcript, agree_untrusted, open_untrusted, public_key, seal

_TAI64N = struct.Struct(">QI")
_TAI_START = 0x400000000000000A
"""TAI64's second of the Unix epoch, as WireGuard has it."""
_COARSE = 0xFFFFFF
"""Nanoseconds that are not told, so that an observer learns little of the clock."""


def tai64n(unix_nanoseconds: int) -> bytes:
    """A time as the initiation has it, 12 bytes that sort as times do."""
    seconds, nanoseconds = divmod(unix_nanoseconds, 1_000_000_000)
    return _TAI64N.pack(_TAI_START + seconds, nanoseconds & ~_COARSE)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A static key pair."""

    private: bytes
    public: bytes

    @classmethod
    def of(cls, private: bytes) -> KeyPair:
        """The pair of a private key."""
        return cls(private, public_key(private))


class TransportKeys(NamedTuple):
    """What a handshake leaves, as one end sees it."""

    send: bytes
    receive: bytes
    local_index: int
    remote_index: int
    is_initiator: bool


class Opened(NamedTuple):
    """An initiation whose sender is known."""

    public: bytes
    timestamp: bytes
    transcript: Transcript
    ephemeral: bytes
    sender: int


class PendingInitiation(NamedTuple):
    """An initiation that waits for its response."""

    transcript: Transcript
    ephemeral_private: bytes
    sender: int


def create_initiation(
    identity: KeyPair, peer_public: bytes, ephemeral_private: bytes, timestamp: bytes, sender: int
) -> tuple[bytes, PendingInitiation]:
    """The message without its macs, and what the response will be opened with. Raises BadPacket for a peer's key of
    low order."""
    transcript = Transcript(peer_public)
    ephemeral = public_key(ephemeral_private)
    transcript.mix_key(ephemeral)
    transcript.mix_hash(ephemeral)
    key = transcript.mix_key_for_seal(agree_untrusted(ephemeral_private, peer_public))
    static = seal(key, identity.public, transcript.hash)
    transcript.mix_hash(static)
    key = transcript.mix_key_for_seal(agree_untrusted(identity.private, peer_public))
    sealed_time = seal(key, timestamp, transcript.hash)
    transcript.mix_hash(sealed_time)
    message = Initiation(sender, ephemeral, static, sealed_time).pack()
    return message, PendingInitiation(transcript, ephemeral_private, sender)


def read_initiation_untrusted(identity: KeyPair, data: bytes) -> Opened:
    """Who sends an initiation, and when it says that it did. Raises BadPacket.

    Whether the sender is a peer and the time later than its last one is the caller's to see.
    """
    message = Initiation.unpack_untrusted(data)
    transcript = Transcript(identity.public)
    transcript.mix_key(message.ephemeral)
    transcript.mix_hash(message.ephemeral)
    key = transcript.mix_key_for_seal(agree_untrusted(identity.private, message.ephemeral))
    public = open_untrusted(key, message.static, transcript.hash)
    transcript.mix_hash(message.static)
    key = transcript.mix_key_for_seal(agree_untrusted(identity.private, public))
    timestamp = open_untrusted(key, message.timestamp, transcript.hash)
    transcript.mix_hash(message.timestamp)
    return Opened(public, timestamp, transcript, message.ephemeral, message.sender)


def create_response(
    opened: Opened, preshared: bytes, ephemeral_private: bytes, sender: int
) -> tuple[bytes, TransportKeys]:
    """The response without its macs, and the keys. Raises BadPacket for an initiator's key of low order."""
    transcript = opened.transcript
    ephemeral = public_key(ephemeral_private)
    transcript.mix_hash(ephemeral)
    transcript.mix_key(ephemeral)
    transcript.mix_key(agree_untrusted(ephemeral_private, opened.ephemeral))
    transcript.mix_key(agree_untrusted(ephemeral_private, opened.public))
    key = transcript.mix_preshared(preshared)
    nothing = seal(key, b"", transcript.hash)
    transcript.mix_hash(nothing)
    theirs, ours = transcript.transport_keys()
    message = Response(sender, opened.sender, ephemeral, nothing).pack()
    return message, TransportKeys(ours, theirs, sender, opened.sender, is_initiator=False)


def read_response_untrusted(
    identity: KeyPair, preshared: bytes, pending: PendingInitiation, data: bytes
) -> TransportKeys:
    """The keys. Raises BadPacket, and then `pending` is as it was: a forged response changes nothing."""
    message = Response.unpack_untrusted(data)
    if message.receiver != pending.sender:
        raise BadPacket("a response to another initiation")
    transcript = pending.transcript.copy()
    transcript.mix_hash(message.ephemeral)
    transcript.mix_key(message.ephemeral)
    transcript.mix_key(agree_untrusted(pending.ephemeral_private, message.ephemeral))
    transcript.mix_key(agree_untrusted(identity.private, message.ephemeral))
    key = transcript.mix_preshared(preshared)
    open_untrusted(key, message.nothing, transcript.hash)
    transcript.mix_hash(message.nothing)
    ours, theirs = transcript.transport_keys()
    return TransportKeys(ours, theirs, pending.sender, message.sender, is_initiator=True)
