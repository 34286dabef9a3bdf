"""The client's end of one TLS 1.3 connection, as a stream codec.

Whom to believe is not decided here: `check_untrusted` is given the server's certificate, and what it signed with it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.protocols.tls13.chrome_hello import ChromeHello
from tunflow.protocols.tls13.key_schedule import KeySchedule
from tunflow.protocols.tls13.records import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    HEADER,
    LONGEST,
    LONGEST_SEALED,
    RECORDS_AT_MOST,
    SUITES,
    ProtectedDirection,
)
from tunflow.protocols.tls13.server_hello import TLS13, parse_server_hello_untrusted

CERTIFICATE, COMPRESSED_CERTIFICATE = 11, 25
_SERVER_HELLO, _TICKET, _EXTENSIONS, _CERTIFICATE_VERIFY, _FINISHED, _KEY_UPDATE = 2, 4, 8, 15, 20, 24
_KEY_SHARE = 51
_RETRY = hashlib.sha256(b"HelloRetryRequest").digest()
"""The random of a ServerHello that asks for another ClientHello (RFC 8446 §4.1.3)."""
_LONGEST_MESSAGE = 1 << 17
_CLOSE_NOTIFY, _USER_CANCELED = 0, 90
_ALERTS = {40: "handshake failure", 47: "illegal parameter", 70: "protocol version", 80: "internal error"}
_ALERTS |= {109: "missing extension", 112: "unrecognized name", 116: "certificate required"}

Verifier = Callable[[int, bytes, bytes], None]
"""Takes the scheme of a signature, the signature, and what was signed. Raises BadPacket."""


class NotTLS13(BadPacket):
    """The server has no TLS 1.3 for our ClientHello: an older one, or another key exchange."""


class TLS13Client:
    """Says `hello`, and is a codec for what comes behind the handshake. As `TLSLayer`."""

    __slots__ = (
        "_believe_untrusted", "_down", "_expected", "_handshake", "_hello", "_hellos", "_is_sealed", "_schedule",
        "_secrets", "_transcript", "_up", "_verify_untrusted", "_wire", "established", "over",
    )  # fmt: skip

    transparent = False
    is_tls13 = True

    def __init__(self, hello: ChromeHello, believe_untrusted: Callable[[int, bytes, bytes], Verifier]) -> None:
        """`believe_untrusted` takes the type and the body of the message with the certificate, and both sides' hellos
        one after the other. It returns what checks the signature by the certificate, and raises BadPacket for one that
        is not believed."""
        self._hello = hello
        self._believe_untrusted = believe_untrusted
        self._verify_untrusted: Verifier | None = None
        self._hellos = b""
        """Both sides'."""
        self._schedule: KeySchedule
        self._transcript: hashlib._Hash
        self._secrets: tuple[bytes, bytes]
        """The client's and the server's, of the handshake."""
        self._up: ProtectedDirection
        self._down: ProtectedDirection
        self._is_sealed = False
        """True if what arrives is sealed."""
        self._wire: list[Buffer] = [b"\x16\x03\x01" + len(hello.raw).to_bytes(2, "big") + hello.raw]
        """What is to be said."""
        self._handshake = b""
        """The start of a message that is not whole."""
        self._expected: tuple[int, ...] = (_SERVER_HELLO,)
        """Types of the messages that may come next."""
        self.established = False
        self.over = False
        """True if the server has said that it will say no more (§6.1)."""

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """As `StreamCodec.seal`."""
        wire, self._wire = self._wire, []
        data = memoryview(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        for at in range(0, len(data), LONGEST):
            wire.append(self._up.seal(APPLICATION_DATA, data[at : at + LONGEST]))
            if self._up.count >= RECORDS_AT_MOST:
                wire.append(self._next_key())
        return wire

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """As `StreamCodec.open_untrusted`. Raises BadPacket, and what `believe_untrusted` raises."""
        pieces: list[Buffer] = []
        at = 0
        while len(data) >= at + HEADER and not self.over:
            kind, size = data[at], data[at + 3] << 8 | data[at + 4]
            if not CHANGE_CIPHER_SPEC <= kind <= APPLICATION_DATA or data[at + 1] != 3 or size > LONGEST_SEALED:
                raise BadPacket("TLS: what answers speaks something else")
            end = at + HEADER + size
            if len(data) < end:
                break
            content = data[at + HEADER : end]
            if kind == APPLICATION_DATA and self._is_sealed:
                kind, content = self._down.open_untrusted(data[at:end])
                if kind == CHANGE_CIPHER_SPEC:
                    raise BadPacket("TLS: a record of a kind that is not sealed")
            elif kind != CHANGE_CIPHER_SPEC and self._is_sealed:
                raise BadPacket("TLS: a record that is not sealed")
            elif kind == CHANGE_CIPHER_SPEC and (self.established or bytes(content) != b"\1"):
                raise BadPacket("TLS: a change of ciphers, which TLS 1.3 has not")
            at = end
            if self._handshake and kind not in {HANDSHAKE, CHANGE_CIPHER_SPEC}:
                raise BadPacket("TLS: a record in the middle of a message of the handshake")
            if kind == APPLICATION_DATA and self.established:
                if content:
                    pieces.append(content)
            elif kind != CHANGE_CIPHER_SPEC:
                self._hear_untrusted(kind, bytes(content))
        return pieces, len(data) if self.over else at

    def finish(self) -> list[Buffer]:
        """The close_notify alert (§6.1)."""
        return [self._up.seal(ALERT, bytes((1, _CLOSE_NOTIFY)))] if self.established else []

    def _hear_untrusted(self, kind: int, content: bytes) -> None:
        """A record of the protocol's own. Raises BadPacket."""
        if kind == ALERT:
            self._hear_alert_untrusted(content)
            return
        if kind != HANDSHAKE or not content:
            raise BadPacket("TLS: a record out of order")
        self._handshake += content
        while len(self._handshake) >= 4:
            size = int.from_bytes(self._handshake[1:4], "big")
            if size > _LONGEST_MESSAGE:
                raise BadPacket("TLS: a message of the handshake is too long")
            if len(self._handshake) < 4 + size:
                return
            message, self._handshake = self._handshake[: 4 + size], self._handshake[4 + size :]
            self._hear_message_untrusted(message)

    def _hear_alert_untrusted(self, content: bytes) -> None:
        """Raises BadPacket."""
        if len(content) != 2:
            raise BadPacket("TLS: an alert of another size")
        number = content[1]
        if number == _CLOSE_NOTIFY:
            if not self.established:
                raise BadPacket("TLS: the server ends the handshake")
            self.over = True
        elif number != _USER_CANCELED:
            raise BadPacket(f"TLS: the server's alert {number} ({_ALERTS.get(number, 'see RFC 8446, section 6')})")

    def _hear_message_untrusted(self, message: bytes) -> None:
        """Raises BadPacket."""
        kind = message[0]
        if kind not in self._expected:
            raise BadPacket(f"TLS: a message of type {kind} out of order")
        if kind == _SERVER_HELLO:
            self._hear_hello_untrusted(message)
        elif kind == _EXTENSIONS:
            self._pass(message, CERTIFICATE, COMPRESSED_CERTIFICATE)
        elif kind in {CERTIFICATE, COMPRESSED_CERTIFICATE}:
            self._verify_untrusted = self._believe_untrusted(kind, message[4:], self._hellos)
            self._pass(message, _CERTIFICATE_VERIFY)
        elif kind == _CERTIFICATE_VERIFY:
            self._hear_signature_untrusted(message[4:])
            self._pass(message, _FINISHED)
        elif kind == _FINISHED:
            self._hear_finished_untrusted(message)
        elif kind == _KEY_UPDATE:
            self._hear_key_update_untrusted(message[4:])

    def _pass(self, message: bytes, *then: int) -> None:
        """Count a message in, and expect another."""
        self._transcript.update(message)
        self._expected = then

    def _hear_hello_untrusted(self, message: bytes) -> None:
        """Raises BadPacket."""
        hello = parse_server_hello_untrusted(message)
        if hello.version != TLS13:
            raise NotTLS13(f"TLS: the server chose version {hello.version:#06x}")
        if hello.random == _RETRY:
            raise NotTLS13("TLS: the server wants a key exchange other than X25519 and X25519MLKEM768")
        suite, share = SUITES.get(hello.suite), hello.extensions.get(_KEY_SHARE, b"")
        if suite is None or hello.session_id != self._hello.session_id or self._handshake:
            raise BadPacket("TLS: a ServerHello that answers something else")
        group, size = int.from_bytes(share[:2], "big"), int.from_bytes(share[2:4], "big")
        if len(share) != 4 + size or len(share) < 4:
            raise BadPacket("TLS: a ServerHello without a share of the key exchange")
        secret = self._hello.shared_secret_untrusted(group, share[4:])
        self._schedule = schedule = KeySchedule(suite.hash_name)
        self._hellos = self._hello.raw + message
        self._transcript = hashlib.new(suite.hash_name, self._hellos)
        schedule.mix(secret)
        seen = self._transcript.digest()
        self._secrets = schedule.secret("c hs traffic", seen), schedule.secret("s hs traffic", seen)
        self._up, self._down = (ProtectedDirection(suite, schedule, each) for each in self._secrets)
        self._is_sealed = True
        self._expected = (_EXTENSIONS,)

    def _hear_signature_untrusted(self, body: bytes) -> None:
        """Raises BadPacket."""
        assert self._verify_untrusted is not None
        if len(body) < 4 or len(body) != 4 + int.from_bytes(body[2:4], "big"):
            raise BadPacket("TLS: a signature that ends within a field")
        signed = b" " * 64 + b"TLS 1.3, server CertificateVerify\0" + self._transcript.digest()
        self._verify_untrusted(int.from_bytes(body[:2], "big"), body[4:], signed)

    def _hear_finished_untrusted(self, message: bytes) -> None:
        """The handshake is over: say our end of it, and take the keys of the application. Raises BadPacket."""
        schedule = self._schedule
        client, server = self._secrets
        if (
            not hmac.compare_digest(message[4:], schedule.finished(server, self._transcript.digest()))
            or self._handshake
        ):
            raise BadPacket("TLS: the handshake was changed on its way")
        self._pass(message, _TICKET, _KEY_UPDATE)
        seen = self._transcript.digest()
        ours = schedule.finished(client, seen)
        last = bytes((_FINISHED,)) + len(ours).to_bytes(3, "big") + ours
        self._wire += [b"\x14\x03\x03\x00\x01\x01" + self._up.seal(HANDSHAKE, last)]
        schedule.mix(None)
        self._up.use(schedule.secret("c ap traffic", seen))
        self._down.use(schedule.secret("s ap traffic", seen))
        self.established = True

    def _hear_key_update_untrusted(self, body: bytes) -> None:
        """Raises BadPacket."""
        if body not in {b"\0", b"\1"} or self._handshake:
            raise BadPacket("TLS: a change of keys in the middle of a message")
        self._down.update()
        if body == b"\1" and not self._wire:  # asked for several times before we speak, it is done once
            self._wire.append(self._next_key())

    def _next_key(self) -> bytes:
        """The word that we go on with another key."""
        record = self._up.seal(HANDSHAKE, bytes((_KEY_UPDATE, 0, 0, 1, 0)))
        self._up.update()
        return record
