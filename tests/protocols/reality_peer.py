"""A REALITY server in memory, for tests: it reads the ClientHello by itself and takes HKDF from `cryptography`."""

from __future__ import annotations

import hashlib
import hmac
import random

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from talk import hear, said

from tunflow.protocols.tls13.key_schedule import KeySchedule
from tunflow.protocols.tls13.records import SUITES, ProtectedDirection
from tunflow.protocols.transport.reality import RealityClient, RealityServer

KEY = X25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNS = Ed25519PrivateKey.from_private_bytes(bytes(range(50, 82)))
SITE = Ed25519PrivateKey.from_private_bytes(bytes(range(90, 122)))
SECOND = MLDSA65PrivateKey.from_seed_bytes(bytes(range(32)))
"""For the signature that `verify_key` asks for."""
_SPKI = bytes.fromhex("302a300506032b6570032100")


def sized(width: int, data: bytes) -> bytes:
    return len(data).to_bytes(width, "big") + data


def message(kind: int, body: bytes) -> bytes:
    return bytes((kind,)) + sized(3, body)


def clear(kind: int, body: bytes) -> bytes:
    return bytes((kind, 3, 3)) + sized(2, body)


class RealityPeer:
    """One connection; `lie` names what it does wrong."""

    def __init__(self, *, group: int = 0x001D, lie: str = "") -> None:
        self.group = group
        self.lie = lie
        self.updates = 0
        self.stranger = (b"", b"", 0)
        """The version, the short id and the time that the client told."""

    def client(self, **more: object) -> RealityClient:
        """A client of this server, but for `more`."""
        known = {"name": "site.example", "public_key": KEY.public_key().public_bytes_raw(), "short_id": b"\x01\x23"}
        server = RealityServer(**{**known, "alpn": ("h2", "http/1.1"), **more})  # type: ignore[arg-type]
        return RealityClient(server, 1_700_000_000.5, random.Random(7).randbytes)

    def shake(self, codec: RealityClient, step: int | None = None) -> None:
        """Go through the handshake."""
        wire = said(codec)
        assert hear(codec, self.answer(wire), step) == b""
        finished = said(codec)
        assert finished.startswith(b"\x14\3\3\0\1\1")
        kind, content = self.down.open_untrusted(memoryview(finished)[6:])
        assert (kind, content) == (22, message(20, self.schedule.finished(self.client_secret, self.seen)))
        self.schedule.mix(None)
        self.down.use(self.schedule.secret("c ap traffic", self.seen))
        self.up.use(self.schedule.secret("s ap traffic", self.seen))

    def answer(self, wire: bytes) -> bytes:
        """The whole flight."""
        hello = wire[5:]
        shares, name = _shares_and_name(hello)
        secret = self._known(hello, shares[0x001D], name)
        suite = SUITES[0x1301]
        ours = X25519PrivateKey.from_private_bytes(bytes(range(3, 35)))
        mine = ours.public_key().public_bytes_raw()
        if self.group == 0x001D:
            shared = ours.exchange(X25519PublicKey.from_public_bytes(shares[self.group]))
        else:
            first, ciphertext = MLKEM768PublicKey.from_public_bytes(shares[self.group][:1184]).encapsulate()
            shared = first + ours.exchange(X25519PublicKey.from_public_bytes(shares[self.group][1184:]))
            mine = ciphertext + mine
        extensions = b"\0\x2b\0\2\3\4" + b"\0\x33" + sized(2, self.group.to_bytes(2, "big") + sized(2, mine))
        body = b"\3\3" + bytes(range(32)) + b"\x20" + hello[39:71] + b"\x13\x01\0" + sized(2, extensions)
        said_first = message(2, body)
        self.schedule = KeySchedule("sha256")
        self.schedule.mix(shared)
        self.transcript = hashlib.sha256(hello + said_first)
        seen = self.transcript.digest()
        self.client_secret = self.schedule.secret("c hs traffic", seen)
        server_secret = self.schedule.secret("s hs traffic", seen)
        self.down = ProtectedDirection(suite, self.schedule, self.client_secret)
        self.up = ProtectedDirection(suite, self.schedule, server_secret)
        wire = clear(22, said_first) + clear(20, b"\1") + self._tell(message(8, b"\0\0"))
        key = SIGNS if secret else SITE
        public = key.public_key().public_bytes_raw()
        mark = hmac.digest(secret or b"", public, "sha512")
        if self.lie == "hmac":
            mark = bytes(64)
        second = SECOND.sign(hmac.digest(secret or b"", public + hello + said_first, "sha512"))
        if self.lie == "second":
            second = bytes(len(second))
        certificate = (b"\x30\x82head" + _SPKI + public).ljust(126) + second + b"\x03\x41\0" + mark
        listed = sized(3, certificate) + b"\0\0"
        wire += self._tell(message(25 if self.lie == "compressed" else 11, b"\0" + sized(3, listed)))
        signed = b" " * 64 + b"TLS 1.3, server CertificateVerify\0" + self.transcript.digest()
        signature = key.sign(signed + (b"x" if self.lie == "signature" else b""))
        scheme = b"\4\3" if self.lie == "scheme" else b"\x08\x07"
        wire += self._tell(message(15, scheme + sized(2, signature)))
        finished = self.schedule.finished(server_secret, self.transcript.digest())
        wire += self._tell(message(20, bytes(32) if self.lie == "finished" else finished))
        self.seen = self.transcript.digest()
        return wire

    def say(self, data: bytes, padding: int = 0) -> bytes:
        """Application data."""
        if padding:
            return self.up.seal(0, data + b"\x17" + bytes(padding - 1))
        return self.up.seal(23, data)

    def seal(self, kind: int, content: bytes) -> bytes:
        """Any record."""
        return self.up.seal(kind, content)

    def update(self, *, asks: bool) -> bytes:
        """The word that new keys follow."""
        wire = self.up.seal(22, b"\x18\0\0\1" + bytes((asks,)))
        self.up.update()
        return wire

    def take(self, wire: bytes) -> bytes:
        """What the client says."""
        got = b""
        while wire:
            end = 5 + int.from_bytes(wire[3:5], "big")
            kind, content = self.down.open_untrusted(memoryview(wire[:end]))
            wire = wire[end:]
            if kind == 22:
                assert content == b"\x18\0\0\1\0"
                self.down.update()
                self.updates += 1
            else:
                assert kind == 23
                got += content
        return got

    def _tell(self, told: bytes) -> bytes:
        self.transcript.update(told)
        return self.up.seal(22, told)

    def _known(self, hello: bytes, share: bytes, name: bytes) -> bytes | None:
        """The secret with a client that is no stranger."""
        shared = KEY.exchange(X25519PublicKey.from_public_bytes(share))
        secret = HKDF(hashes.SHA256(), 32, hello[6:26], b"REALITY").derive(shared)
        try:
            inside = AESGCM(secret).decrypt(hello[26:38], hello[39:71], hello[:39] + bytes(32) + hello[71:])
        except InvalidTag:
            return None
        self.stranger = inside[:3], inside[8:], int.from_bytes(inside[4:8], "big")
        return secret if inside[8:] == b"\x01\x23" + bytes(6) and name == b"site.example" else None


def _shares_and_name(hello: bytes) -> tuple[dict[int, bytes], bytes]:
    at = 71
    at += 2 + int.from_bytes(hello[at : at + 2], "big") + 2 + 2
    shares, name = {}, b""
    while at < len(hello):
        kind, size = int.from_bytes(hello[at : at + 2], "big"), int.from_bytes(hello[at + 2 : at + 4], "big")
        data = hello[at + 4 : at + 4 + size]
        at += 4 + size
        if kind == 0:
            name = data[5:]
        if kind == 51:
            data = data[2:]
            while data:
                size = int.from_bytes(data[2:4], "big")
                shares[int.from_bytes(data[:2], "big")] = data[4 : 4 + size]
                data = data[4 + size :]
    return shares, name
