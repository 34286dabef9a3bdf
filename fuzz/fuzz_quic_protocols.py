"""What servers of Hysteria2 and TUIC say inside of QUIC: any bytes are understood, dropped, or are a BadPacket.

The first byte chooses what is fed, the second how a stream is cut or which stream it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import StreamDataReceived

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.codec import Datagram
from tunflow.protocols.hysteria2.dialect import Hysteria2Dialect
from tunflow.protocols.hysteria2.messages import TCPRequest, open_message_untrusted, seal_message
from tunflow.protocols.hysteria2.salamander import Salamander
from tunflow.protocols.quic.connection import QUICConnection
from tunflow.protocols.tuic.commands import open_packet_untrusted
from tunflow.protocols.tuic.dialect import TUICDialect

TARGET = Endpoint("example.com", 443)
LONGEST_ANSWER = 6200
LARGEST_DATAGRAM = 255 * 70_000

SEEDS: list[bytes] = [
    b"\x00\x00\x00\x00\x00flow",
    b"\x00\x03\x01\x12connection refused\x02pp",
    b"\x00\x01\x00\x40\x05hello\x40\x02ppflow",
    b"\x01\x00\x00\x00\x00\x01\x00\x01\x00\x01\x0c192.0.2.1:53answer",
    b"\x01\x02\x00\x00\x00\x01\x00\x07\x00\x02\x05a:443one\x00\x00\x00\x01\x00\x07\x01\x02\x05a:443two",
    b"\x02\x00\x05\x02\x00\x00\x00\x01\x01\x00\x00\x06\x01\xc0\x00\x02\x01\x00\x35answer",
    b"\x02\x02\x05\x02\x00\x00\x00\x07\x02\x00\x00\x03\x00\x01a\x00\x35one\x05\x02\x00\x00\x00\x07\x02\x01\x00\x03\xfftwo",
    b"\x03\x00\x01\x08\x00\x00\x5f\x09\x03233",
    b"\x03\x00\x01\x03\x00\x00\xdb",
    b"\x03\x03\x00\x04\x00",
    b"\x04\x0f\x05\x02\x00\x00\x00\x01\x01\x00\x00\x06\x01\xc0\x00\x02\x01\x00\x35answer",
    b"\x05salt and a packet",
]


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    if len(data) < 2:
        return
    (_answer, _hysteria2_datagram, _tuic_datagram, _hysteria2_stream, _tuic_stream, _salamander)[data[0] % 6](
        data[1], data[2:]
    )


def _answer(cut: int, data: bytes) -> None:
    whole = _fed(data, len(data) + 1)
    pieces = _fed(data, 1 + cut)
    assert whole is None or pieces is None or whole == pieces


def _fed(data: bytes, step: int) -> bytes | None:
    """What an answer to a request brings; None for a refusal."""
    codec = TCPRequest(TARGET, bytes)
    codec.seal([])
    out = waiting = b""
    for at in range(0, len(data), step):
        waiting += data[at : at + step]
        try:
            pieces, used = codec.open_untrusted(memoryview(waiting))
        except BadPacket as refused:
            error = refused
            break
        waiting = waiting[used:]
        assert len(waiting) <= LONGEST_ANSWER + step
        out += b"".join(pieces)
    else:
        return out
    assert str(error).isprintable()
    return None


def _connection() -> QUICConnection:
    return QUICConnection(QuicConfiguration(is_client=True, alpn_protocols=["h3"], server_name="a"))


def _received(datagrams: Sequence[Datagram]) -> None:
    for each in datagrams:
        assert len(each.payload) <= LARGEST_DATAGRAM
        assert str(each.peer)


def _hysteria2_datagram(cut: int, data: bytes) -> None:
    dialect = Hysteria2Dialect("p", 0, bytes)
    dialect.begin(_connection())
    dialect.carries_datagrams = True
    flow = dialect.open_flow(_received)
    middle = len(data) * cut // 256
    for piece in (data[:middle], data[middle:], data):
        dialect.datagram_untrusted(piece)
        try:
            message = open_message_untrusted(piece)
        except BadPacket:
            continue
        assert open_message_untrusted(seal_message(message)) == message
    flow.close()


def _tuic_datagram(cut: int, data: bytes) -> None:
    dialect = TUICDialect(bytes(16), "p", by_streams=False)
    dialect.open_flow(_received)
    middle = len(data) * cut // 256
    for piece in (data[:middle], data[middle:], data):
        dialect.datagram_untrusted(piece)
        try:
            packet = open_packet_untrusted(piece)
        except BadPacket:
            continue
        assert packet is None or len(packet.payload) <= len(piece)


def _hysteria2_stream(stream: int, data: bytes) -> None:
    dialect = Hysteria2Dialect("p", 0, bytes)
    dialect.begin(_connection())
    middle = len(data) // 2
    for piece, is_last in ((data[:middle], False), (data[middle:], True)):
        dialect.heard_untrusted(StreamDataReceived(piece, is_last, stream))
    assert dialect.refused is None or dialect.refused.isprintable()
    assert not (dialect.signed_in and dialect.refused)


def _tuic_stream(stream: int, data: bytes) -> None:
    dialect = TUICDialect(bytes(16), "p", by_streams=True)
    dialect.open_flow(_received)
    middle = len(data) // 2
    for piece, is_last in ((data[:middle], False), (data[middle:], True)):
        dialect.heard_untrusted(StreamDataReceived(piece, is_last, stream | 3))


def _salamander(_cut: int, data: bytes) -> None:
    disguise = Salamander("password", bytes)
    opened = disguise.open_untrusted(data)
    assert (opened is None) == (len(data) <= 8)
    assert disguise.open_untrusted(disguise.seal(data)) == (data or None)
