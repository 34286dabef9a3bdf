"""AnyTLS: a session as a machine against the frames of a server, its padding, links and files of other programs."""

from __future__ import annotations

from hashlib import sha256

import pytest

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket, LocalError
from tunflow.profiles.imports.outbounds import of_sing_box
from tunflow.protocols.anytls import padding
from tunflow.protocols.anytls.session import (
    ALERT,
    ANSWER,
    ASK,
    FIN,
    IDLE,
    LINGER,
    PADDING,
    PATIENCE,
    PUSH,
    QUIET,
    SERVER_SETTINGS,
    SETTINGS,
    SYN,
    SYN_ACK,
    WASTE,
    WINDOW,
    AnyTLSSession,
    LatestScheme,
    TargetFirst,
    frame,
    waste,
)
from tunflow.protocols.anytls.settings import AnyTLSServer
from tunflow.protocols.codec import ProxyRefused
from tunflow.protocols.registry import clash_server, parse_server
from tunflow.protocols.transport.transport import Transport

PLAIN = b"stop=0"
VERSION_2 = frame(SERVER_SETTINGS, 0, b"v=2")
SECRET = "S3CRET"


class Wire:
    """A session and what its server reads of it."""

    def __init__(self, scheme: bytes = PLAIN) -> None:
        self.padding = LatestScheme()
        self.padding.scheme = padding.parse_untrusted(scheme)
        self.session = AnyTLSSession("password", self.padding, bytes)
        self.records: list[bytes] = []
        self.now = 0.0

    def begin(self):
        self.session.connected(self.now)
        return self.session.open(self.now)

    def turn(self) -> list[tuple[int, int, bytes]]:
        """The frames that the session has to say."""
        said = []
        while record := self.session.outgoing(self.now):
            said.append(record)
        self.records += said
        data = b"".join(said)
        if data.startswith(sha256(b"password").digest()):
            data = data[34 + int.from_bytes(data[32:34], "big") :]
        frames = []
        while data:
            end = 7 + int.from_bytes(data[5:7], "big")
            frames.append((data[0], int.from_bytes(data[1:5], "big"), data[7:end]))
            data = data[end:]
        return frames

    def hear(self, *frames: bytes, step: int | None = None) -> None:
        data = b"".join(frames)
        for at in range(0, len(data), step or len(data)):
            self.session.receive_untrusted(data[at : at + (step or len(data))], self.now)


def test_the_first_words_and_a_stream_both_ways():
    wire = Wire()
    stream = wire.begin()
    codec = TargetFirst(Endpoint("example.com", 443))
    stream.send(codec.seal([b"up"]), 0.0)
    assert codec.transparent
    settings = b"v=2\nclient=tunflow\npadding-md5=" + wire.padding.scheme.digest.encode()
    first = [(SETTINGS, 0, settings), (SYN, 1, b""), (PUSH, 1, b"\x03\x0bexample.com\x01\xbb")]
    assert wire.turn() == [*first, (PUSH, 1, b"up")]
    assert wire.records[0] == sha256(b"password").digest() + b"\0\0"
    assert len(wire.records) == 3
    wire.hear(VERSION_2, frame(SYN_ACK, 1), frame(PUSH, 1, b"down"), frame(WASTE, 0, b"xxx"), step=3)
    assert wire.session.take_changed() == [stream]
    assert b"".join(stream.take(100)) == b"down"
    wire.hear(frame(PUSH, 1, b"last"), frame(FIN, 1))
    assert b"".join(stream.take(100)) == b"last"
    assert stream.at_eof
    assert stream.closed
    assert not stream.was_reset
    assert wire.session.has_room
    wire.session.open(0.0).send([b"again"], 0.0)
    assert wire.turn() == [(SYN, 2, b""), (PUSH, 2, b"again")]


def test_the_usual_padding():
    """Packet 1 has 100 bytes at least, 2 is cut into pieces until all is said, 8 goes as it is."""
    wire = Wire()
    wire.padding.scheme = padding.USUAL
    wire.session = AnyTLSSession("password", wire.padding, bytes)
    stream = wire.begin()
    stream.send([b"target", b"x" * 700], 0.0)
    frames = wire.turn()
    assert [len(record) for record in wire.records] == [64, 100, 400, 500]
    assert b"".join(data for command, _, data in frames if command == PUSH) == b"target" + b"x" * 700
    for number in range(3, 9):
        wire.records.clear()
        stream.send([b"y"], 0.0)
        wire.turn()
        assert [len(record) for record in wire.records] == {3: [8, 500], 8: [8]}.get(number, [500])


def test_pieces_of_a_packet():
    assert padding.pieces(b"0123456789", [4, 3], waste) == [b"0123", b"456", b"789"]
    assert padding.pieces(b"0123", [4, 0, 9], waste) == [b"0123"]
    assert padding.pieces(b"01", [12, 9], waste) == [b"01" + waste(10), waste(9)]
    assert list(map(len, padding.pieces(b"01", [12, 9], waste))) == [12, 9]


def test_the_server_changes_the_padding_of_the_next_session():
    wire = Wire()
    wire.begin()
    wire.hear(VERSION_2, frame(PADDING, 0, b"stop=2\n0=5-5\n1=200-200"))
    after = AnyTLSSession("password", wire.padding, bytes)
    after.connected(0.0)
    assert len(after.outgoing(0.0)) == 34 + 5


@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        (b"", "no stop"),
        (b"stop=1000", "no stop"),
        (b"stop=-1", "no stop"),
        (b"stop=3\n1=9-5", "sizes that are none"),
        (b"stop=3\n1=0-5", "sizes that are none"),
        (b"stop=3\n1=5-99999", "sizes that are none"),
        (b"stop=3\n1=a", "sizes that are none"),
        (b"stop=3\n1=" + b",".join([b"c"] * 65), "more than 64 sizes"),
    ],
)
def test_schemes_that_are_none(scheme, words):
    with pytest.raises(BadPacket, match=words):
        padding.parse_untrusted(scheme)


def test_who_takes_nothing_holds_the_connection_up():
    wire = Wire()
    stream = wire.begin()
    for _ in range(WINDOW // 0xFFFF + 1):
        assert not wire.session.is_full
        wire.hear(frame(PUSH, 1, bytes(0xFFFF)))
    assert wire.session.is_full
    stream.take(WINDOW)
    assert not wire.session.is_full


def test_what_is_wrong_is_the_streams_to_tell():
    wire = Wire()
    stream = wire.begin()
    wire.session.end(BadPacket("the connection was closed"))
    with pytest.raises(ProxyRefused, match="check the password"):
        stream.take(1)
    wire = Wire()
    stream = wire.begin()
    wire.hear(VERSION_2, frame(SYN_ACK, 1, b"no route\n"))
    with pytest.raises(ProxyRefused, match=r"the server failed \(no route\?\)"):
        stream.take(1)
    assert wire.session.has_room
    with pytest.raises(ProxyRefused, match="too old"):
        wire.hear(frame(ALERT, 0, b"too old"))
    with pytest.raises(BadPacket, match="no AnyTLS server"):
        Wire().hear(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_a_session_that_waits_is_asked_whether_it_lives_and_ends_in_time():
    wire = Wire()
    stream = wire.begin()
    wire.hear(VERSION_2, frame(ASK, 7), frame(FIN, 1))
    assert (ANSWER, 7, b"") in wire.turn()
    wire.now = QUIET
    stream = wire.session.open(wire.now)
    stream.send([b"x"], wire.now)
    assert wire.turn()[0] == (ASK, 0, b"")
    assert wire.session.next_timeout() == QUIET + PATIENCE
    wire.session.handle_timeout(QUIET + PATIENCE)
    assert wire.session.is_over
    assert stream.was_reset
    wire = Wire()
    wire.begin()
    wire.hear(VERSION_2, frame(FIN, 1))
    assert wire.session.next_timeout() == IDLE
    wire.session.handle_timeout(IDLE)
    assert wire.session.is_over
    assert wire.session.failure is None


def test_an_end_of_ours_waits_for_the_servers():
    wire = Wire()
    stream = wire.begin()
    stream.send([b"x"], 0.0)
    wire.hear(VERSION_2)
    wire.turn()
    stream.close_write(0.0)
    assert wire.turn() == []
    wire.now = 5.0
    wire.hear(frame(PUSH, 1, b"late"))
    assert wire.session.next_timeout() == 5.0 + LINGER
    wire.session.handle_timeout(5.0 + LINGER)
    assert wire.turn() == [(FIN, 1, b"")]
    assert stream.closed


def test_a_server_of_version_1_has_one_stream_a_session():
    wire = Wire()
    wire.begin()
    wire.hear(frame(PUSH, 1, b"x"), frame(FIN, 1))
    assert wire.session.is_over
    assert wire.session.failure is None


INSECURE = Transport(tls=True, insecure=True)


@pytest.mark.parametrize(
    ("link", "server"),
    [
        ("anytls://p%40ss@host/?insecure=1#x", AnyTLSServer("host", 443, "p@ss", INSECURE, "x")),
        (
            "anytls://p@[::1]:8443?security=tls&sni=a&fp=chrome&insecure=0&allowInsecure=0&type=raw&headerType=none&udp=no",
            AnyTLSServer("::1", 8443, "p", Transport(tls=True, sni="a", browser="chrome"), None, False),
        ),
    ],
)  # fmt: skip
def test_links(link, server):
    assert parse_server(link) == server
    assert parse_server(server.to_link()) == server


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ("anytls://h:1", "has no password; it reads anytls://PASSWORD@HOST:PORT"),
        (f"anytls://{SECRET}@h:1?security=none", "anytls stands on TLS alone"),
        (f"anytls://{SECRET}@h:1?type=ws", "anytls stands on TLS alone"),
        (f"anytls://{SECRET}@h:1?security=reality&pbk=x", "43 characters of base64"),
        (f"anytls://{SECRET}@h:1?colour=red", "unknown parameter 'colour'; accepted: "),
    ],
)
def test_what_cannot_be_had(link, words):
    with pytest.raises(LocalError) as caught:
        parse_server(link)
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)


def test_files_of_other_programs():
    options = {"idle-session-check-interval": "30", "min-idle-session": "0", "client-fingerprint": "chrome"}
    entry = {"name": "n", "type": "anytls", "server": "h", "port": "1", "password": "p", "sni": "a", "udp": "true"}
    made, unread = clash_server(entry | options)
    assert made == AnyTLSServer("h", 1, "p", Transport(tls=True, sni="a", browser="chrome"), "n")
    assert unread == []
    outbound = {
        "type": "anytls",
        "tag": "n",
        "server": "h",
        "server_port": 1,
        "password": "p",
        "min_idle_session": 5,
        "tls": {"enabled": True, "server_name": "a"},
    }
    made, unread = clash_server(of_sing_box(outbound))
    assert made == AnyTLSServer("h", 1, "p", Transport(tls=True, sni="a"), "n")
    assert unread == []
    with pytest.raises(LocalError, match="anytls without TLS"):
        of_sing_box({**outbound, "tls": {}})
