"""ShadowVPN's wire format: the vectors, and what no attacker may get through."""

from __future__ import annotations

import tomllib
from ipaddress import IPv4Interface
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.errors import BadPacket
from tunflow.protocols.shadowvpn import boxes, sodium
from tunflow.protocols.shadowvpn.boxes import make_box
from tunflow.protocols.shadowvpn.salsa208 import PureBox, keystream
from tunflow.protocols.shadowvpn.seal import OVERHEAD, Sealer, master_key
from tunflow.protocols.shadowvpn.sodium import SodiumBox
from tunflow.protocols.shadowvpn.users import TunnelUsers

VECTORS = tomllib.loads((Path(__file__).parent.parent / "vectors" / "shadowvpn.toml").read_text())
KEY = bytes.fromhex(VECTORS["key"])
NONCE = bytes.fromhex(VECTORS["nonce"])
BOXES = pytest.mark.parametrize("box", [PureBox(KEY), SodiumBox(KEY)], ids=["pure", "sodium"])


def test_the_key_of_a_password():
    assert master_key(VECTORS["password"].encode()) == KEY


def test_the_keystream():
    stream = VECTORS["keystream"]
    key, nonce, expected = (bytes.fromhex(stream[name]) for name in ("key", "nonce", "bytes"))
    assert keystream(key, nonce, 64) == expected
    assert keystream(key, nonce, 5) == expected[:5]
    assert keystream(key, nonce, 1000)[:64] == expected


@BOXES
@pytest.mark.parametrize("vector", VECTORS["packets"], ids=["without token", "with token"])
def test_the_vectors(box, vector):
    sealer = Sealer(box, lambda size: NONCE[:size])
    token, datagram = bytes.fromhex(vector["token"]), bytes.fromhex(vector["datagram"])
    plaintext = vector["plaintext"].encode()
    assert sealer.seal([plaintext], token) == [datagram]
    opened_token, opened = sealer.open_untrusted(datagram, len(token))
    assert (opened_token, bytes(opened)) == (token, plaintext)


@given(
    packets=st.lists(st.binary(max_size=2000), max_size=3),
    token=st.sampled_from([b"", bytes(range(8))]),
    nonces=st.binary(min_size=24, max_size=24),
)
def test_both_ciphers_say_the_same_and_any_packet_comes_back(packets, token, nonces):
    pure, sodium = (Sealer(box, lambda size: nonces[:size]) for box in (PureBox(KEY), SodiumBox(KEY)))
    datagrams = pure.seal(packets, token)
    assert sodium.seal([memoryview(packet) for packet in packets], token) == datagrams
    for sealer in (pure, sodium):
        for packet, datagram in zip(packets, datagrams, strict=True):
            assert len(datagram) == len(token) + len(packet) + OVERHEAD
            assert sealer.open_untrusted(memoryview(datagram), len(token)) == (token, packet)


@given(packet=st.binary(max_size=200), where=st.integers(0), bit=st.integers(0, 7))
def test_any_flipped_bit_is_dropped(packet, where, bit):
    for box in (PureBox(KEY), SodiumBox(KEY)):
        datagram = bytearray(Sealer(box, lambda size: NONCE).seal([packet])[0])
        datagram[where % len(datagram)] ^= 1 << bit
        with pytest.raises(BadPacket):
            Sealer(box, lambda size: NONCE).open_untrusted(datagram)


@BOXES
def test_of_a_batch_what_authenticates_comes_out_in_order(box):
    """Forged and short datagrams among good ones of all sizes, more than were ever opened at once before."""
    sealer = Sealer(box, lambda size: bytes(range(200))[:size])
    packets = [bytes([number]) * (number * 700) for number in range(13)]
    datagrams = sealer.seal(packets, bytes(8))
    mixed = [b"", datagrams[3][:-1], *datagrams[:5], datagrams[5][:31], bytes(32), *datagrams[5:], bytes(1500)]
    assert [bytes(each) for each in sealer.open_all_untrusted(mixed, 8)] == [bytes(8) + packet for packet in packets]
    assert sealer.open_all_untrusted([], 8) == []
    assert [bytes(each) for each in box.open(datagrams * 20)] == [bytes(8) + packet for packet in packets] * 20


@BOXES
@given(datagram=st.binary(max_size=60))
def test_what_is_too_short_or_made_up_is_dropped(box, datagram):
    with pytest.raises(BadPacket):
        Sealer(box, lambda size: NONCE).open_untrusted(datagram, 8)


def test_four_hours_without_drift():
    """No counter, no time, nothing kept: packets at intervals over four hours seal and open as the first one did."""
    asked: list[int] = []

    def random(size: int) -> bytes:
        asked.append(size)
        return NONCE

    client, server = Sealer(SodiumBox(KEY), random), Sealer(SodiumBox(KEY), random)
    users: TunnelUsers[int] = TunnelUsers(IPv4Interface("10.7.0.1/24"), (bytes(8), bytes(range(8))))
    packet = bytes.fromhex("4500001c00000000401100000a0700090a070001") + bytes(8)
    first: tuple[bytes, bytes] | None = None
    seconds = 4 * 3600
    for second in range(seconds):
        (up,) = client.seal([packet], bytes(range(8)))
        token, opened = server.open_untrusted(up, users.token_size)
        taken = bytes(users.from_user_untrusted(token, opened, second))
        back = taken[:12] + taken[16:20] + taken[12:16] + taken[20:]
        user, mended = users.to_user_untrusted(memoryview(back))
        (down,) = server.seal([mended], user.token)
        assert user.where == second  # whoever moved is answered where it was heard last
        first = first or (up, down)
        assert (up, down) == first
    assert asked == [len(NONCE)] * (2 * seconds)


def test_without_libsodium_one_line_says_so_and_the_datagrams_are_the_same(monkeypatch):
    lines: list[str] = []
    with_library = Sealer(make_box(KEY, lines.append), lambda size: NONCE[:size])
    assert lines == []
    monkeypatch.setattr(boxes, "library", lambda: None)
    without = Sealer(make_box(KEY, lines.append), lambda size: NONCE[:size])
    assert len(lines) == 1
    assert "libsodium" in lines[0]
    assert "\n" not in lines[0]
    (datagram,) = without.seal([b"a packet"], bytes(8))
    assert [datagram] == with_library.seal([b"a packet"], bytes(8))
    assert with_library.open_untrusted(datagram, 8) == without.open_untrusted(datagram, 8) == (bytes(8), b"a packet")


@pytest.mark.parametrize("have", ["nothing", "a minimal build"])
def test_a_libsodium_without_salsa208_is_none(monkeypatch, have):
    def load(name: str) -> object:
        if have == "nothing":
            raise OSError(name)
        return SimpleNamespace(sodium_init=lambda: 0)

    monkeypatch.setattr(sodium.ctypes, "CDLL", load)
    sodium.library.cache_clear()
    try:
        assert sodium.library() is None
    finally:
        sodium.library.cache_clear()
