from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.shadowsocks.datagram2022 import ClientDatagrams2022, ServerDatagrams2022
from tunflow.protocols.shadowsocks.methods import METHODS
from tunflow.protocols.shadowsocks.packet2022 import Ids, packets, request_body

VECTORS = tomllib.loads((Path(__file__).parents[2] / "vectors" / "shadowsocks_2022.toml").read_text())
PEER = endpoint("8.8.8.8", 53)
OTHER = Endpoint("example.com", 4433)
NOW = 1_700_000_000.0
AES = [name for name in VECTORS if METHODS[name].has_identities]
"""SIP023 is for these."""
IDS = Ids(bytes(range(1, 9)), 0)


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


def rng_from(start):
    def rng(size):
        nonlocal start
        start += 1
        return bytes((start + index) % 256 for index in range(size))

    return rng


@pytest.fixture(params=VECTORS)
def method(request):
    return METHODS[request.param]


@pytest.fixture
def key(method):
    return bytes(range(method.key_size))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def client(method, key, clock):
    return ClientDatagrams2022(method, (key,), rng_from(0), clock)


@pytest.fixture
def server(method, key, clock):
    return ServerDatagrams2022(method, key, rng_from(100), clock)


# Vectors: see the file.


def test_a_request(method, key):
    sealed = packets(method, (key,), lambda size: bytes(range(size))).seal(IDS, request_body(PEER, b"hello", NOW, b""))
    assert sealed.hex() == VECTORS[method.name]["udp"]
    _, target, payload = ServerDatagrams2022(method, key, rng_from(0), lambda: NOW).open_untrusted(sealed)
    assert (target, payload) == (PEER, b"hello")


@pytest.mark.parametrize("method", AES, indirect=True)
def test_identity_headers(method, key):
    keys = (key, bytes(range(100, 100 + method.key_size)))
    sealed = packets(method, keys, rng_from(0)).seal(IDS, request_body(PEER, b"hello", NOW, b""))
    assert sealed.hex() == VECTORS[method.name]["eih_udp"]


# Sessions.


def test_both_ways(client, server):
    for target, payload in ((PEER, b"query"), (OTHER, b""), (OTHER, bytes(1400))):
        session, found, opened = server.open_untrusted(client.seal(target, payload))
        assert (found, opened) == (target, payload)
        assert client.open_untrusted(server.seal(session, target, payload)) == (target, payload)


def test_datagrams_to_resolvers_do_not_show_their_size(client):
    assert len({len(client.seal(PEER, b"query")) for _ in range(5)}) > 1
    assert len({len(client.seal(OTHER, b"query")) for _ in range(5)}) == 1


def test_replays_are_refused_both_ways(client, server):
    wire = client.seal(PEER, b"query")
    session, _, _ = server.open_untrusted(wire)
    with pytest.raises(BadPacket, match="seen before"):
        server.open_untrusted(wire)
    answer = server.seal(session, PEER, b"answer")
    client.open_untrusted(answer)
    with pytest.raises(BadPacket, match="seen before"):
        client.open_untrusted(answer)


def test_out_of_order_is_fine(client, server):
    sent = [client.seal(OTHER, bytes((number,))) for number in range(50)]
    assert [bytes(server.open_untrusted(wire)[2])[0] for wire in reversed(sent)] == list(reversed(range(50)))


@pytest.mark.parametrize("skew", [-31, 31])
def test_a_timestamp_that_is_off(client, server, clock, skew):
    wire = client.seal(PEER, b"query")
    clock.now += skew
    with pytest.raises(BadPacket, match="timestamp"):
        server.open_untrusted(wire)


def test_our_own_datagram_sent_back_is_no_answer(client):
    with pytest.raises(BadPacket):
        client.open_untrusted(client.seal(OTHER, bytes(60)))


def test_an_answer_for_another_session(client, server, method, key, clock):
    other = ClientDatagrams2022(method, (key,), rng_from(50), clock)
    session, _, _ = server.open_untrusted(other.seal(PEER, b"query"))
    with pytest.raises(BadPacket, match="another session"):
        client.open_untrusted(server.seal(session, PEER, b"answer"))


# SIP022 §3.2.3: after a restart of the server both sessions are good, and sessions do not change all the time
def test_a_restarted_server(client, method, key, clock):
    servers = [ServerDatagrams2022(method, key, rng_from(start), clock) for start in (60, 120, 180)]
    wire = client.seal(PEER, b"query")
    sessions = [(server, server.open_untrusted(wire)[0]) for server in servers]
    for server, session in sessions[:2]:
        assert client.open_untrusted(server.seal(session, PEER, b"x"))[1] == b"x"
    late = sessions[0][0].seal(sessions[0][1], PEER, b"late")
    assert client.open_untrusted(late)[1] == b"late"
    server, session = sessions[2]
    with pytest.raises(BadPacket, match="too often"):
        client.open_untrusted(server.seal(session, PEER, b"y"))
    clock.now += 60
    assert client.open_untrusted(server.seal(session, PEER, b"z"))[1] == b"z"


def test_a_restarted_server_after_the_clock_was_set_back(client, method, key, clock):
    clock.now += 80 * 365 * 86_400
    servers = [ServerDatagrams2022(method, key, rng_from(start), clock) for start in (60, 120, 180)]
    wire = client.seal(PEER, b"query")
    sessions = [(server, server.open_untrusted(wire)[0]) for server in servers]
    for server, session in sessions[:2]:
        assert client.open_untrusted(server.seal(session, PEER, b"x"))[1] == b"x"
    clock.now = NOW
    server, session = sessions[2]
    assert client.open_untrusted(server.seal(session, PEER, b"y"))[1] == b"y"


def test_a_forgotten_session_begins_anew(client, server):
    wire = client.seal(PEER, b"query")
    session, _, _ = server.open_untrusted(wire)
    server.forget(session)
    again, _, _ = server.open_untrusted(wire)
    assert again is not session


@pytest.mark.parametrize("size", [0, 1, 15, 31, 39, 55, 60])
def test_what_is_too_short_or_forged(client, server, size):
    for codec in (client, server):
        with pytest.raises(BadPacket):
            codec.open_untrusted(bytes(size))
    wire = bytearray(client.seal(OTHER, b"hello"))
    wire[-1] ^= 1
    with pytest.raises(BadPacket, match="authenticate"):
        server.open_untrusted(wire)


@given(st.binary(max_size=80))
def test_any_body_that_authenticates_opens_or_is_refused(body):
    method = METHODS["2022-blake3-aes-128-gcm"]
    sealed = packets(method, (bytes(16),), rng_from(0)).seal(IDS, body)
    server = ServerDatagrams2022(method, bytes(16), rng_from(0), lambda: NOW)
    with pytest.raises(BadPacket):
        server.open_untrusted(sealed)
