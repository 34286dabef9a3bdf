from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.shadowsocks.datagram import Datagrams
from tunflow.protocols.shadowsocks.keys import master_key, subkey
from tunflow.protocols.shadowsocks.methods import METHODS
from tunflow.protocols.shadowsocks.replay import ReplayFilter

DNS = endpoint("8.8.8.8", 53)
AES = METHODS["aes-128-gcm"]
KEY = master_key("test", AES.key_size)


def counting_salts(start: int = 0):
    counter = itertools.count(start)
    return lambda size: next(counter).to_bytes(size, "big")


def pair(method=AES, key=KEY) -> tuple[Datagrams, Datagrams]:
    return (
        Datagrams(method, key, counting_salts(0), ReplayFilter()),
        Datagrams(method, key, counting_salts(1 << 40), ReplayFilter()),
    )


def sealed_by_hand(plain: bytes, salt: bytes = bytes(16)) -> bytes:
    return salt + AES.aead(subkey(KEY, salt)).encrypt(bytes(12), plain, None)


def test_vector(vector):
    client = Datagrams(vector.method, vector.key, lambda size: vector.salt[:size], ReplayFilter())
    assert client.seal(DNS, b"hello") == vector.udp
    server = Datagrams(vector.method, vector.key, counting_salts(), ReplayFilter())
    peer, payload = server.open_untrusted(memoryview(vector.udp))
    assert (peer, bytes(payload)) == (DNS, b"hello")


def test_every_flipped_bit_is_refused(vector):
    server = Datagrams(vector.method, vector.key, counting_salts(), ReplayFilter())
    for bit in range(8 * len(vector.udp)):
        forged = bytearray(vector.udp)
        forged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadPacket):
            server.open_untrusted(forged)
    server.open_untrusted(vector.udp)  # and none of them used the salt up


def test_every_cut_and_every_trailing_byte_is_refused(vector):
    server = Datagrams(vector.method, vector.key, counting_salts(), ReplayFilter())
    for size in range(len(vector.udp)):
        with pytest.raises(BadPacket):
            server.open_untrusted(vector.udp[:size])
    with pytest.raises(BadPacket):
        server.open_untrusted(vector.udp + b"\0")


@given(st.binary(max_size=2000), st.sampled_from([DNS, endpoint("::1", 1), Endpoint("example.com", 53)]))
def test_both_ways(payload, peer):
    for method in METHODS.values():
        client, server = pair(method, master_key("secret", method.key_size))
        for sender, receiver in ((client, server), (server, client)):
            got, data = receiver.open_untrusted(sender.seal(peer, memoryview(payload)))
            assert (got, bytes(data)) == (peer, payload)


def test_each_datagram_has_its_own_salt():
    client, _ = pair()
    salts = {client.seal(DNS, b"same")[: AES.salt_size] for _ in range(100)}
    assert len(salts) == 100


def test_replayed_datagram_is_refused():
    client, server = pair()
    datagram = client.seal(DNS, b"query")
    server.open_untrusted(datagram)
    with pytest.raises(BadPacket, match="seen before"):
        server.open_untrusted(datagram)


def test_own_datagram_sent_back_is_refused():
    client, _ = pair()
    with pytest.raises(BadPacket, match="seen before"):
        client.open_untrusted(client.seal(DNS, b"query"))


def test_wrong_key_is_refused():
    client, _ = pair()
    stranger = Datagrams(AES, master_key("other", AES.key_size), counting_salts(), ReplayFilter())
    with pytest.raises(BadPacket, match="authenticate"):
        stranger.open_untrusted(client.seal(DNS, b"query"))


@pytest.mark.parametrize("plain", [b"", b"\x01\x08\x08", b"\x03", b"\x07\x00\x00\x00\x00\x00\x00"])
def test_authentic_datagram_with_a_bad_address_is_refused(plain):
    with pytest.raises(BadPacket):
        pair()[1].open_untrusted(sealed_by_hand(plain))


def test_empty_payload():
    peer, payload = pair()[1].open_untrusted(sealed_by_hand(b"\x01\x08\x08\x08\x08\x00\x35"))
    assert (peer, bytes(payload)) == (DNS, b"")
