"""The vectors, byte for byte."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tunflow.endpoint import endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.wireguard import handshake, noise
from tunflow.protocols.wireguard.cookies import CookieGuard, CookieJar
from tunflow.protocols.wireguard.handshake import KeyPair
from tunflow.protocols.wireguard.messages import CookieReply, Initiation
from tunflow.protocols.wireguard.transport import Keypair, padding_of

VECTORS = tomllib.loads((Path(__file__).parents[2] / "vectors" / "wireguard.toml").read_text())
HANDSHAKE = {key: bytes.fromhex(value) for key, value in VECTORS["handshake"].items() if isinstance(value, str)}
INITIATOR = KeyPair.of(HANDSHAKE["initiator_private"])
RESPONDER = KeyPair.of(HANDSHAKE["responder_private"])
INITIATOR_INDEX = VECTORS["handshake"]["initiator_index"]
RESPONDER_INDEX = VECTORS["handshake"]["responder_index"]


@pytest.mark.parametrize("vector", VECTORS["kdf"])
def test_kdf(vector: dict[str, str | list[str]]):
    key, data = bytes.fromhex(str(vector["key"])), bytes.fromhex(str(vector["input"]))
    for count in (1, 2, 3):
        assert [key.hex() for key in noise.kdf(count, key, data)] == vector["keys"][:count]


def test_where_the_transcript_starts():
    first = noise.digest(noise.CONSTRUCTION)
    assert first.hex() == VECTORS["construction"]
    assert noise.digest(first, noise.IDENTIFIER).hex() == VECTORS["construction_and_identifier"]


def test_public_keys_and_the_timestamp():
    assert INITIATOR.public == HANDSHAKE["initiator_public"]
    assert RESPONDER.public == HANDSHAKE["responder_public"]
    assert handshake.tai64n(VECTORS["handshake"]["unix_seconds"] * 10**9) == HANDSHAKE["timestamp"]
    assert handshake.tai64n(10**9 - 1)[8:] == (999_999_999 & ~0xFFFFFF).to_bytes(4, "big")


def initiation() -> tuple[bytes, handshake.PendingInitiation]:
    return handshake.create_initiation(
        INITIATOR, RESPONDER.public, HANDSHAKE["initiator_ephemeral"], HANDSHAKE["timestamp"], INITIATOR_INDEX
    )


def test_initiation():
    message, pending = initiation()
    assert CookieJar(RESPONDER.public).signed(message, 0.0) == HANDSHAKE["initiation"]
    assert pending.transcript.chaining_key == HANDSHAKE["chaining_key"]
    assert pending.transcript.hash == HANDSHAKE["hash"]
    opened = handshake.read_initiation_untrusted(RESPONDER, HANDSHAKE["initiation"])
    assert (opened.public, opened.timestamp) == (INITIATOR.public, HANDSHAKE["timestamp"])


def test_response_and_keys():
    opened = handshake.read_initiation_untrusted(RESPONDER, HANDSHAKE["initiation"])
    message, responder_keys = handshake.create_response(
        opened, HANDSHAKE["preshared"], HANDSHAKE["responder_ephemeral"], RESPONDER_INDEX
    )
    assert CookieJar(INITIATOR.public).signed(message, 0.0) == HANDSHAKE["response"]
    _, pending = initiation()
    keys = handshake.read_response_untrusted(INITIATOR, HANDSHAKE["preshared"], pending, HANDSHAKE["response"])
    assert (keys.send, keys.receive) == (HANDSHAKE["initiator_to_responder"], HANDSHAKE["responder_to_initiator"])
    assert (responder_keys.receive, responder_keys.send) == (keys.send, keys.receive)
    assert (keys.local_index, keys.remote_index) == (INITIATOR_INDEX, RESPONDER_INDEX)


@pytest.mark.parametrize("bit", range(8 * 60))
def test_a_flipped_bit_of_a_response_is_refused_and_changes_nothing(bit: int):
    _, pending = initiation()
    broken = bytearray(HANDSHAKE["response"])
    broken[bit // 8] ^= 1 << bit % 8
    is_sender = 4 <= bit // 8 < 8  # which nothing but mac1 protects; a stray index only makes the session useless
    if not is_sender:
        with pytest.raises(BadPacket):
            handshake.read_response_untrusted(INITIATOR, HANDSHAKE["preshared"], pending, bytes(broken))
    assert pending.transcript.hash == HANDSHAKE["hash"]
    handshake.read_response_untrusted(INITIATOR, HANDSHAKE["preshared"], pending, HANDSHAKE["response"])


def test_another_preshared_key_is_refused():
    _, pending = initiation()
    with pytest.raises(BadPacket, match="authenticate"):
        handshake.read_response_untrusted(INITIATOR, bytes(32), pending, HANDSHAKE["response"])


@pytest.mark.parametrize("public", [bytes(32), (1).to_bytes(32, "little")], ids=["zero", "one"])
def test_public_keys_of_low_order_are_refused(public: bytes):
    with pytest.raises(BadPacket, match="low order"):
        noise.agree_untrusted(INITIATOR.private, public)


def keypairs() -> tuple[Keypair, Keypair]:
    _, pending = initiation()
    keys = handshake.read_response_untrusted(INITIATOR, HANDSHAKE["preshared"], pending, HANDSHAKE["response"])
    swapped = keys._replace(send=keys.receive, receive=keys.send, local_index=RESPONDER_INDEX, is_initiator=False)
    return Keypair(keys, 0.0), Keypair(swapped, 0.0)


def test_transport():
    ours, theirs = keypairs()
    transport = VECTORS["transport"]
    padded = bytes.fromhex(transport["padded"])
    message, keepalive = ours.seal([padded[: transport["size"]], b""], 1420)
    assert (message.hex(), keepalive.hex()) == (transport["message"], transport["keepalive"])
    assert [bytes(packet) for packet in theirs.open_all_untrusted([bytes(message), bytes(keepalive)])] == [padded, b""]
    assert theirs.open_all_untrusted([bytes(message), bytes(keepalive)]) == []  # replayed


def test_cookie():
    cookie = VECTORS["cookie"]
    given = iter([bytes.fromhex(cookie["secret"]), bytes.fromhex(cookie["nonce"])])
    guard = CookieGuard(RESPONDER.public, lambda size: next(given))
    source = endpoint(cookie["source"], cookie["port"])
    reply = guard.reply(HANDSHAKE["initiation"], source, 0.0)
    assert reply.hex() == cookie["reply"]
    jar = CookieJar(RESPONDER.public)
    message, _ = initiation()
    jar.signed(message, 0.0)
    jar.take_untrusted(CookieReply.unpack_untrusted(reply), 0.0)
    signed = jar.signed(message, 1.0)
    assert signed[-16:].hex() == cookie["mac2"]
    assert guard.has_mac1(signed)
    assert guard.has_mac2(signed, source, 1.0)
    assert not guard.has_mac2(signed, endpoint(cookie["source"], cookie["port"] + 1), 1.0)
    assert not guard.has_mac2(signed, source, 120.0)
    assert jar.signed(message, 120.0)[-16:] == bytes(16)


def test_a_cookie_is_taken_once_and_for_our_own_message_only():
    jar = CookieJar(RESPONDER.public)
    reply = CookieReply.unpack_untrusted(bytes.fromhex(VECTORS["cookie"]["reply"]))
    with pytest.raises(BadPacket, match="not asked"):
        jar.take_untrusted(reply, 0.0)
    jar.signed(b"x" * 100, 0.0)
    with pytest.raises(BadPacket, match="authenticate"):
        jar.take_untrusted(reply, 0.0)


@pytest.mark.parametrize(
    ("size", "mtu", "padding"), [(0, 1420, 0), (1, 1420, 15), (16, 1420, 0), (1410, 1420, 10), (1420, 1420, 0),
                                 (1419, 1420, 1), (1500, 1420, 0)],
)  # fmt: skip
def test_padding(size: int, mtu: int, padding: int):
    assert padding_of(size, mtu) == padding


def test_messages_of_a_wrong_size_or_kind():
    for data in (b"", HANDSHAKE["initiation"][:-1], HANDSHAKE["response"], b"\x01\0\0\1" + HANDSHAKE["initiation"][4:]):
        with pytest.raises(BadPacket):
            Initiation.unpack_untrusted(data)
