"""The client of TLS 1.3: any bytes of a server are understood or are a BadPacket, in clear and under its keys.

The first byte says how the bytes are cut. With its highest bit they come behind the handshake, as records that are
sealed: each with a byte for its kind, and one for its size.
"""

from __future__ import annotations

import hashlib
import random

from in_pieces import opened_in_pieces
from tunflow.endpoint import Buffer
from tunflow.protocols.tls13.chrome_hello import ChromeHello
from tunflow.protocols.tls13.client import TLS13Client
from tunflow.protocols.tls13.key_schedule import KeySchedule
from tunflow.protocols.tls13.records import SUITES, ProtectedDirection

_HELLO = ChromeHello("site.example", ("h2",), random.Random(1).randbytes)
_SHARE = _HELLO.x25519.public_key().public_bytes_raw()
_EXTENSIONS = b"\0\x2b\0\2\3\4\0\x33\0\x24\0\x1d\0\x20" + _SHARE
_BODY = b"\3\3" + bytes(32) + b"\x20" + _HELLO.session_id + b"\x13\x01\0" + b"\0\x2e" + _EXTENSIONS
_ANSWER = b"\2" + len(_BODY).to_bytes(3, "big") + _BODY
"""A ServerHello that is taken; its share is our own."""


def _flight() -> bytes:
    """What a server says up to its Finished."""
    schedule = KeySchedule("sha256")
    schedule.mix(_HELLO.shared_secret_untrusted(0x001D, _SHARE))
    transcript = hashlib.sha256(_HELLO.raw + _ANSWER)
    secret = schedule.secret("s hs traffic", transcript.digest())
    up = ProtectedDirection(SUITES[0x1301], schedule, secret)
    wire = b"\x16\3\3" + len(_ANSWER).to_bytes(2, "big") + _ANSWER + b"\x14\3\3\0\1\1"
    for message in (b"\x08\0\0\2\0\0", b"\x0b\0\0\4\0\0\0\0", b"\x0f\0\0\4\x08\7\0\0"):
        wire += up.seal(22, message)
        transcript.update(message)
    return wire + up.seal(22, b"\x14\0\0\x20" + schedule.finished(secret, transcript.digest()))


def _keys() -> ProtectedDirection:
    """What seals behind that."""
    schedule = KeySchedule("sha256")
    schedule.mix(_HELLO.shared_secret_untrusted(0x001D, _SHARE))
    transcript = hashlib.sha256(_HELLO.raw + _ANSWER)
    secret = schedule.secret("s hs traffic", transcript.digest())
    for message in (b"\x08\0\0\2\0\0", b"\x0b\0\0\4\0\0\0\0", b"\x0f\0\0\4\x08\7\0\0"):
        transcript.update(message)
    transcript.update(b"\x14\0\0\x20" + schedule.finished(secret, transcript.digest()))
    schedule.mix(None)
    return ProtectedDirection(SUITES[0x1301], schedule, schedule.secret("s ap traffic", transcript.digest()))


_FLIGHT = _flight()
SEEDS: list[bytes] = [
    b"\x10" + _FLIGHT,
    b"\x10\x16\3\3" + len(_ANSWER).to_bytes(2, "big") + _ANSWER[:-1] + b"\x14\3\3\0\1\1",
    b"\x10\x15\3\3\0\2\2\x28",
    b"\x81\x17\5hello\x16\x05\x18\0\0\1\0",
    b"\x83\x17\5hello\x16\x09\4\0\0\5abcde\x15\2\1\0",
]


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    if not data:
        return
    wire, script = data[1:], b""
    if data[0] & 0x80:
        keys, wire, script = _keys(), _FLIGHT, data[1:]
        while len(script) > 1:
            content, kind = script[2 : 2 + script[1]], script[0]
            wire += keys.seal(kind, content)
            script = script[2 + len(content) :]
    whole = _heard(wire, len(wire) or 1)
    pieces = _heard(wire, 1 + (data[0] & 0x7F))
    assert whole is None or pieces is None or whole == pieces


def _heard(wire: bytes, step: int) -> bytes | None:
    """What comes out, or None for a refusal."""
    codec = TLS13Client(_HELLO, lambda _kind, _body, _hellos: lambda _scheme, _signature, _signed: None)

    def open_untrusted(data: memoryview) -> tuple[list[Buffer], int]:
        pieces, used = codec.open_untrusted(data)
        codec.seal([b"up"] if codec.established else [])
        return pieces, used

    pieces = opened_in_pieces(open_untrusted, wire, step)
    return None if pieces is None else b"".join(pieces)
