"""Shadowsocks: wire bytes open or are a BadPacket; plaintext that authenticates too; cuts change nothing.

The first byte chooses what the rest is fed to. Random bytes never authenticate, so most of the choices seal the input
first and let the parser see it as an attacker with the key would send it.
"""

from __future__ import annotations

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols import address
from tunflow.protocols.shadowsocks.chunks import LENGTH_RECORD, SaltedSealer
from tunflow.protocols.shadowsocks.datagram import Datagrams
from tunflow.protocols.shadowsocks.keys import master_key, subkey
from tunflow.protocols.shadowsocks.methods import MAX_PAYLOAD, METHODS, TAG_SIZE
from tunflow.protocols.shadowsocks.replay import ReplayFilter
from tunflow.protocols.shadowsocks.stream import ClientStream, ServerStream

METHOD = METHODS["aes-128-gcm"]
KEY = master_key("test", METHOD.key_size)
SALT = bytes(range(METHOD.salt_size))
TARGET = Endpoint("example.com", 443)

SEEDS: list[bytes] = [
    *(bytes((kind,)) + address.encode(TARGET) + b"hello" for kind in range(5)),
    b"\x01" + b"".join(ClientStream(METHOD, KEY, TARGET, SALT).seal([b"hello"])),
    b"\x04\x00\x05\x05hello\x00\x01\x01x\x40\x00\x00",
]


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    if data:
        _TARGETS[data[0] % len(_TARGETS)](data[1:])


def _raw_datagram(data: bytes) -> None:
    try:
        _datagrams().open_untrusted(data)
    except BadPacket:
        return


def _raw_stream(data: bytes) -> None:
    _feed(_server(), data, 7)
    _feed(ClientStream(METHOD, KEY, TARGET, bytes(METHOD.salt_size)), data, len(data))


def _sealed_datagram(data: bytes) -> None:
    sealed = SALT + METHOD.aead(subkey(KEY, SALT)).encrypt(bytes(METHOD.nonce_size), data, None)
    try:
        peer, payload = _datagrams().open_untrusted(sealed)
    except BadPacket:
        return
    assert address.encode(peer) + bytes(payload) == data


def _sealed_stream(data: bytes) -> None:
    wire = b"".join(SaltedSealer(METHOD, KEY, SALT).seal([data]))
    whole, pieces = _server(), _server()
    assert _feed(whole, wire, max(1, len(wire))) == _feed(pieces, wire, 1 + len(data) % 97)
    assert whole.target == pieces.target


def _sealed_records(data: bytes) -> None:
    """Records of sizes and lengths that the input chooses: length (2 bytes), size (1 byte), payload."""
    aead = METHOD.aead(subkey(KEY, SALT))
    wire = bytearray(SALT)
    nonce = 0
    while len(data) > 3:
        for record in (data[:2], data[3 : 3 + data[2]]):
            wire += aead.encrypt(nonce.to_bytes(METHOD.nonce_size, "little"), record, None)
            nonce += 1
        data = data[3 + data[2] :]
    _feed(_server(), bytes(wire), max(1, len(wire)))


_TARGETS = (_raw_datagram, _raw_stream, _sealed_datagram, _sealed_stream, _sealed_records)


def _datagrams() -> Datagrams:
    return Datagrams(METHOD, KEY, bytes, ReplayFilter())


def _server() -> ServerStream:
    return ServerStream(METHOD, KEY, bytes(METHOD.salt_size), ReplayFilter())


def _feed(codec: ClientStream | ServerStream, data: bytes, step: int) -> bytes | None:
    """What comes out, or None for a BadPacket; a driver's buffer never has to hold more than one record."""
    out = b""
    waiting = b""
    for at in range(0, len(data), max(1, step)):
        waiting += data[at : at + step]
        try:
            pieces, used = codec.open_untrusted(memoryview(waiting))
        except BadPacket:
            return None
        assert 0 <= used <= len(waiting)
        waiting = waiting[used:]
        assert len(waiting) < max(METHOD.salt_size, LENGTH_RECORD, MAX_PAYLOAD + TAG_SIZE)
        out += b"".join(pieces)
    return out
