"""Shadowsocks 2022: wire bytes open or are a BadPacket; so does what authenticates; cuts change nothing.

The first byte chooses what the rest is fed to. Random bytes never authenticate, so most of the choices seal the input
first and let the parser see it as an attacker with the key would send it.
"""

from __future__ import annotations

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.shadowsocks.chunks import SaltedSealer
from tunflow.protocols.shadowsocks.datagram2022 import ClientDatagrams2022, ServerDatagrams2022
from tunflow.protocols.shadowsocks.methods import METHODS
from tunflow.protocols.shadowsocks.packet2022 import Ids, packets, request_body
from tunflow.protocols.shadowsocks.replay import TimedReplayFilter
from tunflow.protocols.shadowsocks.stream2022 import ClientStream2022, ServerStream2022

METHOD = METHODS["2022-blake3-aes-128-gcm"]
CHACHA = METHODS["2022-blake3-chacha20-poly1305"]
KEY = bytes(range(32))
NOW = 1_700_000_000
TARGET = Endpoint("example.com", 443)
IDS = Ids(bytes(8), 7)
TIME = NOW.to_bytes(8, "big")

SEEDS: list[bytes] = [
    b"\x00" + b"".join(ClientStream2022(METHOD, (KEY[:16],), TARGET, bytes, lambda: NOW).seal([b"hello"])),
    b"\x01\x07\x03\x0bexample.com\x01\xbb\x00\x00hello",
    b"\x01\x07\x01\x08\x08\x08\x08\x00\x35\x00\x03abcpayload",
    b"\x02\x00" + TIME + b"\x00\x0c",
    b"\x03" + request_body(TARGET, b"hello", NOW, b"pad"),
    b"\x04" + request_body(TARGET, b"", NOW, b""),
    b"\x05\x01" + TIME + bytes(8) + b"\x00\x00\x01\x08\x08\x08\x08\x00\x35hello",
    b"\x06" + bytes(80),
]


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    if data:
        _TARGETS[data[0] % len(_TARGETS)](data[1:])


def _raw_stream(data: bytes) -> None:
    _feed(_server(), data, 7)
    _feed(ClientStream2022(METHOD, (KEY[:16],), TARGET, bytes, lambda: NOW), data, len(data))


def _variable_header(data: bytes) -> None:
    if len(data) < 2:
        return
    sealer = SaltedSealer(METHOD, KEY[:16], bytes(16), behind_header=True)
    size = len(data) - 1
    fixed = sealer.record(b"\x00" + TIME + (size & 0xFFFF).to_bytes(2, "big"))
    wire = bytes(16) + fixed + sealer.record(data[1:][:0xFFFF]) + b"".join(sealer.seal([b"more"]))
    whole, pieces = _server(), _server()
    assert _feed(whole, wire, len(wire)) == _feed(pieces, wire, 1 + data[0])
    assert whole.target == pieces.target


def _fixed_header(data: bytes) -> None:
    sealer = SaltedSealer(METHOD, KEY[:16], bytes(16), behind_header=True)
    _feed(_server(), bytes(16) + sealer.record(data[:11].ljust(11, b"\0")) + data[11:], 9)
    client = ClientStream2022(METHOD, (KEY[:16],), TARGET, bytes, lambda: NOW)
    answer = SaltedSealer(METHOD, KEY[:16], bytes(16), behind_header=True)
    _feed(client, bytes(16) + answer.record(data[:27].ljust(27, b"\0")) + data[27:], 9)


def _body(data: bytes) -> None:
    _open(packets(METHOD, (KEY[:16],), bytes).seal(IDS, data), METHOD)


def _chacha_body(data: bytes) -> None:
    _open(packets(CHACHA, (KEY,), bytes).seal(IDS, data), CHACHA)


def _raw_datagram(data: bytes) -> None:
    _open(data, METHOD)
    _open(data, CHACHA)


_TARGETS = (_raw_stream, _variable_header, _fixed_header, _body, _chacha_body, _body, _raw_datagram)


def _open(datagram: bytes, method: object) -> None:
    known = METHOD if method is METHOD else CHACHA
    key = KEY[: known.key_size]
    for codec in (
        ClientDatagrams2022(known, (key,), bytes, lambda: NOW),
        ServerDatagrams2022(known, key, bytes, lambda: NOW),
    ):
        try:
            codec.open_untrusted(datagram)
        except BadPacket:
            continue


def _server() -> ServerStream2022:
    return ServerStream2022(METHOD, KEY[:16], bytes, TimedReplayFilter(), lambda: NOW)


def _feed(codec: ClientStream2022 | ServerStream2022, data: bytes, step: int) -> bytes | None:
    """What comes out, or None for a BadPacket."""
    out = waiting = b""
    for at in range(0, len(data), max(1, step)):
        waiting += data[at : at + step]
        try:
            pieces, used = codec.open_untrusted(memoryview(waiting))
        except BadPacket:
            return None
        assert 0 <= used <= len(waiting)
        waiting = waiting[used:]
        out += b"".join(pieces)
    return out
