"""Data packets under every cipher: opened once, in any order, and never when a bit is another."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.errors import BadPacket
from tunflow.protocols.openvpn import data_epochs, data_key
from tunflow.protocols.openvpn.data_channel import make_key
from tunflow.protocols.openvpn.data_epochs import EpochKey
from tunflow.protocols.openvpn.data_key import CIPHERS, NO_PEER, AEADKey, DataKey
from tunflow.protocols.openvpn.tunnel_options import TunnelOptions

KEYS = bytes(range(256))
PACKETS = [b"", b"a", b"x" * 15, b"y" * 16, b"z" * 1500]


def pair(cipher: str, *, epochs: bool = False, peer_id: int = 5) -> tuple[DataKey, DataKey]:
    options = TunnelOptions(cipher=cipher, peer_id=peer_id, epochs=epochs)
    client, server = (make_key(KEYS, options, "sha256", 3, bytes, server=server) for server in (False, True))
    return client, server


KINDS = [(cipher, False, peer) for cipher in CIPHERS for peer in (5, NO_PEER)]
KINDS += [(cipher, True, 5) for cipher in CIPHERS if not cipher.endswith("CBC")]


@pytest.mark.parametrize(("cipher", "epochs", "peer_id"), KINDS)
def test_both_ways_in_any_order_and_once(cipher: str, epochs: bool, peer_id: int) -> None:
    client, server = pair(cipher, epochs=epochs, peer_id=peer_id)
    for one, other in ((client, server), (server, client)):
        sealed = one.seal(PACKETS)
        assert [packet[0] & 7 for packet in sealed] == [3] * len(PACKETS)
        assert [other.open_untrusted(packet) for packet in reversed(sealed)] == list(reversed(PACKETS))
        for packet in sealed:
            with pytest.raises(BadPacket):
                other.open_untrusted(packet)


@pytest.mark.parametrize(("cipher", "epochs", "peer_id"), KINDS)
def test_no_bit_may_be_another(cipher: str, epochs: bool, peer_id: int) -> None:
    client, server = pair(cipher, epochs=epochs, peer_id=peer_id)
    (sealed,) = client.seal([b"hello"])
    head = 8 if peer_id == NO_PEER else 32
    is_bare = cipher.endswith("CBC") or peer_id == NO_PEER  # then the head is not authenticated
    for bit in range(head if is_bare else 0, 8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadPacket):
            server.open_untrusted(bytes(changed))
    for size in range(len(sealed)):
        with pytest.raises(BadPacket):
            server.open_untrusted(sealed[:size])
    assert server.open_untrusted(sealed) == b"hello"


def test_a_worn_key_says_so_and_an_old_one_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_key, "WORN", 2)
    monkeypatch.setattr(data_key, "LAST", 4)
    client, _ = pair("AES-256-GCM")
    assert isinstance(client, AEADKey)
    client.seal([b"a"])
    assert not client.is_worn
    client.seal([b"b"])
    assert client.is_worn
    assert len(client.seal([b"c", b"d", b"e"])) == 2
    assert client.seal([b"d"]) == []


def test_epochs_follow_each_other_and_the_other_end_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_epochs, "PER_EPOCH", 3)
    client, server = pair("AES-256-GCM", epochs=True)
    assert isinstance(client, EpochKey)
    numbers = [str(number).encode() for number in range(10)]
    sealed = client.seal(numbers)
    assert [packet[4:6].hex() for packet in sealed] == ["0001"] * 3 + ["0002"] * 3 + ["0003"] * 3 + ["0004"]
    assert [server.open_untrusted(packet) for packet in sealed] == numbers
    (back,) = server.seal([b"back"])
    assert back[4:6].hex() == "0004", "whoever hears of a later epoch sends under it"
    assert client.open_untrusted(back) == b"back"


def test_an_epoch_too_far_ahead_or_over_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_epochs, "PER_EPOCH", 1)
    client, server = pair("AES-256-GCM", epochs=True)
    sealed = client.seal([b"x"] * 19)
    with pytest.raises(BadPacket):
        server.open_untrusted(sealed[17])  # epoch 18: sixteen ahead of the first are kept ready
    assert server.open_untrusted(sealed[16]) == b"x"
    assert server.open_untrusted(sealed[15]) == b"x"  # the one before is kept for packets that come late
    with pytest.raises(BadPacket):
        server.open_untrusted(sealed[14])
    assert server.open_untrusted(sealed[18]) == b"x"


@pytest.mark.parametrize("epochs", [False, True])
@given(
    arrived=st.lists(
        st.tuples(st.integers(0, 39), st.integers(1, 12), st.sampled_from(["", "", "", "forged", "cut", "other head"])),
        max_size=12,
    ),
    per_batch=st.integers(1, 60),
    per_epoch=st.integers(5, 50),
)
def test_batches_open_what_one_by_one_does(
    epochs: bool,
    arrived: list[tuple[int, int, str]],
    per_batch: int,
    per_epoch: int,
) -> None:
    """Runs of packets, some of them again, out of order or wrong, in batches and one at a time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(data_epochs, "PER_EPOCH", per_epoch)
        client, batched = pair("AES-256-GCM", epochs=epochs)
        _, single = pair("AES-256-GCM", epochs=epochs)
        sealed = client.seal([b"packet %d" % number for number in range(40)])
    packets: list[bytes] = []
    for first, count, wrong in arrived:
        run = sealed[first : first + count]
        if wrong == "forged":
            run[-1] = run[-1][:-1] + bytes([run[-1][-1] ^ 1])
        elif wrong == "cut":
            run[-1] = run[-1][: len(run[-1]) // 2]
        elif wrong:
            run[0] = bytes([run[0][0] ^ 0x80]) + run[0][1:]
        packets += run
    opened: list[bytes] = []
    for at in range(0, len(packets), per_batch):
        opened += batched.open_all_untrusted(packets[at : at + per_batch])
    expected: list[bytes] = []
    for packet in packets:
        with suppress(BadPacket):
            expected.append(single.open_untrusted(packet))
    assert opened == expected
