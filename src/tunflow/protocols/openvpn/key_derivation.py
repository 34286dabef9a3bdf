"""Where keys come from: the PRF of TLS 1.0 over both ends' random bytes, and HKDF-Expand for epoch keys.

Read first: RFC 2246 §5 (the PRF), RFC 5869 §2.3, RFC 8446 §7.1 (the labels), openvpn-rfc, "Key derivation".
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

KEYS_SIZE = 256
EXPORT_LABEL = b"EXPORTER-OpenVPN-datakeys"
DYNAMIC_LABEL = b"EXPORTER-OpenVPN-dynamic-tls-crypt"


@dataclass(frozen=True, slots=True)
class KeySource:
    """One end's random bytes. Only a client has a pre-master."""

    pre_master: bytes = field(repr=False)
    random1: bytes = field(repr=False)
    random2: bytes = field(repr=False)


def tls1_prf(secret: bytes, seed: bytes, size: int) -> bytes:
    """RFC 2246 §5: P_MD5 of the first half XOR P_SHA-1 of the second; halves of an odd secret share a byte."""
    half = (len(secret) + 1) // 2
    first = _p_hash(secret[:half], seed, size, "md5")
    second = _p_hash(secret[len(secret) - half :], seed, size, "sha1")
    return (int.from_bytes(first, "big") ^ int.from_bytes(second, "big")).to_bytes(size, "big")


def master_secret(client: KeySource, server: KeySource) -> bytes:
    """48 bytes."""
    seed = b"OpenVPN master secret" + client.random1 + server.random1
    return tls1_prf(client.pre_master, seed, 48)


def prf_keys(client: KeySource, server: KeySource, client_session: bytes, server_session: bytes) -> bytes:
    """256 bytes of data keys: cipher and HMAC of the client's packets, then of the server's."""
    seed = b"OpenVPN key expansion" + client.random2 + server.random2 + client_session + server_session
    return tls1_prf(master_secret(client, server), seed, KEYS_SIZE)


def expand_label(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-SHA256 with OpenVPN's labels."""
    name = b"ovpn " + label
    info = size.to_bytes(2, "big") + bytes([len(name)]) + name + b"\0"
    out, block, number = b"", b"", 0
    while len(out) < size:
        number += 1
        block = hmac.digest(secret, block + info + bytes([number]), "sha256")
        out += block
    return out[:size]


def _p_hash(secret: bytes, seed: bytes, size: int, digest: str) -> bytes:
    out, chain = b"", seed
    while len(out) < size:
        chain = hmac.digest(secret, chain, digest)
        out += hmac.digest(secret, chain + seed, digest)
    return out[:size]
