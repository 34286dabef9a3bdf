"""REALITY: TLS 1.3 to a server that answers strangers as another site would, since it passes them on to that.

Read first: XTLS/REALITY (tls.go, handshake_server_tls13.go), Xray-core (transport/internet/reality). A client knows the
server's X25519 key. Its session id is 16 bytes (a version, the time, the short id) sealed under the secret that its own
share of the key exchange makes with that key; who can open it is the server. The server's certificate then is an
Ed25519 key with an HMAC in place of the signature, under the same secret: who could make that opened the session id.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket, LocalError
from tunflow.protocols.codec import ProxyRefused, Refusal
from tunflow.protocols.tls13.chrome_hello import SESSION_ID_SIZE, ChromeHello
from tunflow.protocols.tls13.client import CERTIFICATE, NotTLS13, TLS13Client, Verifier

VERSION = bytes((26, 7, 28))
"""Of the Xray whose way this is: servers refuse the word of older ones."""
_ED25519 = 0x0807
_ED25519_KEY = bytes.fromhex("302a300506032b6570032100")
"""What stands before such a key in a certificate (RFC 8410 §4)."""
_SIGNATURE_SIZE = 64
_SECOND, _SECOND_SIZE = 126, 3309
"""Where servers write a signature by ML-DSA-65, into an extension of the certificate."""


@dataclass(frozen=True, slots=True)
class RealityServer:
    """What a client must know of one."""

    name: str | None
    """The site that it answers as; None for none."""
    public_key: bytes
    short_id: bytes
    alpn: Sequence[str]
    verify_key: bytes = b""
    """The ML-DSA-65 key of a signature that is asked for as well; nothing for none."""


class RealityClient(TLS13Client):
    """The client's end. As `TLSLayer`."""

    __slots__ = ()

    def __init__(self, server: RealityServer, unix_time: float, random_bytes: Callable[[int], bytes]) -> None:
        """Raises BadPacket for a public key that is none."""
        hello = ChromeHello(server.name, server.alpn, random_bytes)
        try:
            shared = hello.x25519.exchange(X25519PublicKey.from_public_bytes(server.public_key))
        except ValueError:
            raise BadPacket("REALITY's public key (pbk) is one that nobody can have") from None
        secret = auth_secret(shared, hello.random)
        inside = VERSION + b"\0" + (int(unix_time) & 0xFFFFFFFF).to_bytes(4, "big") + server.short_id.ljust(8, b"\0")
        hello.use_session_id(AESGCM(secret).encrypt(hello.random[20:], inside, hello.raw))
        assert len(hello.session_id) == SESSION_ID_SIZE
        super().__init__(hello, partial(_believe_untrusted, server, secret))

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """As `TLS13Client.open_untrusted`. Raises BadPacket and ProxyRefused."""
        try:
            return super().open_untrusted(data)
        except NotTLS13 as error:
            raise ProxyRefused(Refusal.UNSUPPORTED, f"{error}: it is no REALITY server for us") from error


def check_algorithms(verify_key: bytes) -> None:
    """Raises LocalError where `cryptography` is built without what REALITY needs, and for a key that is none."""
    try:
        MLKEM768PrivateKey.from_seed_bytes(bytes(64))
        if verify_key:
            MLDSA65PublicKey.from_public_bytes(verify_key)
    except UnsupportedAlgorithm:
        raise LocalError(
            "REALITY needs ML-KEM-768 (and pqv ML-DSA-65), which the OpenSSL of this cryptography has not: pip install "
            "--force-reinstall cryptography"
        ) from None
    except ValueError:
        raise LocalError("pqv (mldsa65Verify) of REALITY is no ML-DSA-65 key") from None


def auth_secret(shared: bytes, random: bytes) -> bytes:
    """The secret that both ends have by their X25519 keys and the ClientHello's random (HKDF, RFC 5869)."""
    return hmac.digest(hmac.digest(random[:20], shared, "sha256"), b"REALITY\1", "sha256")


def _believe_untrusted(server: RealityServer, secret: bytes, kind: int, body: bytes, hellos: bytes) -> Verifier:
    """As `TLS13Client` has it. Raises ProxyRefused."""
    certificate = _first_certificate(body) if kind == CERTIFICATE else b""
    at = certificate.find(_ED25519_KEY) + len(_ED25519_KEY)
    key = certificate[at : at + 32] if at >= len(_ED25519_KEY) else b""
    if not hmac.compare_digest(hmac.digest(secret, key, hashlib.sha512), certificate[-_SIGNATURE_SIZE:]) or not key:
        raise ProxyRefused(
            Refusal.CERTIFICATE,
            f"it shows that of {server.name or 'the real site'} itself, as REALITY servers do to strangers: check pbk, "
            "sid, sni and this machine's clock, or it is no REALITY server",
        )

    if server.verify_key:
        signed_too = hmac.digest(secret, key + hellos, hashlib.sha512)
        _check_second_untrusted(certificate[_SECOND : _SECOND + _SECOND_SIZE], signed_too, server.verify_key)

    def verify_untrusted(scheme: int, signature: bytes, signed: bytes) -> None:
        try:
            if scheme == _ED25519:
                Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
                return
        except (InvalidSignature, ValueError):
            pass
        raise BadPacket("TLS: a signature of REALITY's that is not valid")

    return verify_untrusted


def _check_second_untrusted(signature: bytes, signed: bytes, key: bytes) -> None:
    """Raises ProxyRefused."""
    try:
        MLDSA65PublicKey.from_public_bytes(key).verify(signature, signed)
    except (InvalidSignature, ValueError):
        raise ProxyRefused(
            Refusal.CERTIFICATE, "it has no signature by the key of pqv (ML-DSA-65): check pqv, or leave it out"
        ) from None


def _first_certificate(body: bytes) -> bytes:
    """The first certificate of the message, nothing if it ends within a field (RFC 8446 §4.4.2)."""
    at = 1 + body[0] if body else 1
    size = int.from_bytes(body[at + 3 : at + 6], "big")
    certificate = body[at + 6 : at + 6 + size]
    return certificate if len(certificate) == size else b""
