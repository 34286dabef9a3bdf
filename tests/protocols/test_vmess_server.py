"""The server's end of VMess: against the client's end, against who repeats, and against who knows nothing."""

from __future__ import annotations

import os

import pytest
from talk import hear, said

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.codec import Datagram
from tunflow.protocols.vmess.chunks import AES_128_GCM, CHACHA20_POLY1305, CHUNKS, MASKED_SIZES, PADDING
from tunflow.protocols.vmess.header import CONNECT, DATAGRAMS, Session, command_key, seal_request
from tunflow.protocols.vmess.server import CLOCKS, VMessServerStream, VMessUsers
from tunflow.protocols.vmess.stream import VMessClient, VMessFrames
from tunflow.protocols.xudp import COMMAND, XUDPFrames

TARGET = Endpoint("example.com", 443)
USER = "01234567-89ab-cdef-0123-456789abcdef"
OTHER = "11111111-89ab-cdef-0123-456789abcdef"
NOW = 1_700_000_000


class Server:
    def __init__(self, *users: str) -> None:
        self.now = NOW
        self.users = VMessUsers(users or (OTHER, USER), lambda: self.now)

    def stream(self) -> VMessServerStream:
        return VMessServerStream(self.users, os.urandom)


def client(security: int = AES_128_GCM, command: int = CONNECT, target: Endpoint = TARGET) -> VMessClient:
    return VMessClient(target, command_key(USER), security, NOW, os.urandom, command)


@pytest.mark.parametrize("security", [AES_128_GCM, CHACHA20_POLY1305])
@pytest.mark.parametrize("step", [None, 1, 5])
@pytest.mark.parametrize("target", [TARGET, Endpoint(bytes((192, 0, 2, 1)), 80), Endpoint(bytes(16), 1)])
def test_a_stream_both_ways(security, step, target):
    near, far = client(security, target=target), Server().stream()
    big = os.urandom(3000 if step else 100_000)
    assert far.seal([]) == []
    assert hear(far, b"".join([*near.seal([big]), *near.finish()]) + b"more", step) == big
    assert far.target == target
    assert far.frames is None
    down = b"".join([*far.seal([big]), *far.seal([b"wards"]), *far.finish()])
    assert hear(near, down, step) == big + b"wards"


def test_a_server_that_says_nothing_ends_in_order():
    near, far = client(), Server().stream()
    hear(far, said(near))
    assert hear(near, b"".join(far.finish())) == b""


@pytest.mark.parametrize("command", [DATAGRAMS, COMMAND])
def test_datagrams_both_ways(command):
    near, far = client(command=command), Server().stream()
    frames = VMessFrames(near, TARGET) if command == DATAGRAMS else XUDPFrames()
    sent = frames.seal(TARGET, b"ping")
    flow = hear(far, b"".join(sent if command == DATAGRAMS else near.seal(sent)), 3)
    assert far.is_per_target == (command == DATAGRAMS)
    assert far.frames.open_untrusted(memoryview(flow)) == ([Datagram(TARGET, b"ping")], len(flow))
    back = b"".join(far.seal(far.frames.seal(TARGET, b"pong")))
    if command == COMMAND:
        back = hear(near, back)
    assert frames.open_untrusted(memoryview(back))[0] == [Datagram(TARGET, b"pong")]


def request(key: bytes = command_key(USER), options: int = CHUNKS, security: int = AES_128_GCM, command: int = 1):
    session = Session(bytes(16), bytes(16), 7, options, security, command)
    return seal_request(key, TARGET, session, NOW, os.urandom)


def with_last_byte_changed(wire: bytes) -> bytes:
    return wire[:-1] + bytes((wire[-1] ^ 1,))


@pytest.mark.parametrize("options", [CHUNKS, CHUNKS | MASKED_SIZES, CHUNKS | MASKED_SIZES | PADDING])
def test_options_that_other_clients_send(options):
    far = Server().stream()
    assert hear(far, request(options=options)) == b""
    assert far.target == TARGET


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        (bytes(100), "no user id that is known"),
        (request(command_key("21111111-89ab-cdef-0123-456789abcdef")), "no user id that is known"),
        (request()[:20] + bytes(100), "is none, or somebody changed it"),
        (with_last_byte_changed(request()), "is none, or somebody changed it"),
        (request(security=5), "encryption is number 5: none, zero"),
        (request(options=CHUNKS | 0x10), "authenticated lengths"),
        (request(options=0), "options are 0x0"),
        (request(command=9), "command is 9"),
    ],
)
def test_who_is_none_of_the_users(wire, reason):
    with pytest.raises(BadPacket, match=reason):
        hear(Server().stream(), wire)


def test_a_request_is_good_once_and_for_two_minutes():
    server, wire = Server(), said(client())
    hear(server.stream(), wire)
    with pytest.raises(BadPacket, match="repeats a request"):
        hear(server.stream(), wire)
    server.now += CLOCKS
    with pytest.raises(BadPacket, match="repeats a request"):
        hear(server.stream(), wire)
    server.now += 1
    with pytest.raises(BadPacket, match="clock is 121 seconds off"):
        hear(server.stream(), wire)
    server.now = NOW - CLOCKS - 1
    with pytest.raises(BadPacket, match="clock is 121 seconds off"):
        hear(server.stream(), wire)
