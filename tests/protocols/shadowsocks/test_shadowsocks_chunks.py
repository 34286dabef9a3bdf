from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.errors import BadPacket
from tunflow.protocols.shadowsocks.chunks import LENGTH_RECORD, Opener, SaltedSealer
from tunflow.protocols.shadowsocks.keys import master_key, subkey
from tunflow.protocols.shadowsocks.methods import MAX_PAYLOAD, METHODS, TAG_SIZE, Method

AES = METHODS["aes-128-gcm"]
KEY = master_key("test", AES.key_size)
SALT = bytes(range(AES.salt_size))
OVERHEAD = LENGTH_RECORD + TAG_SIZE
MAX_RECORD = OVERHEAD + MAX_PAYLOAD


def always(salt: bytes) -> bool:
    return True


def opener() -> Opener:
    return Opener(AES, KEY, always)


def wire(*pieces: bytes) -> bytes:
    return b"".join(SaltedSealer(AES, KEY, SALT).seal(pieces))


def by_hand(*records: bytes, method: Method = AES, key: bytes = KEY, salt: bytes = SALT) -> bytes:
    """A salt and records sealed one by one, so that any of them can be wrong."""
    aead = method.aead(subkey(key, salt))
    nonces = (n.to_bytes(method.nonce_size, "little") for n in itertools.count())
    return salt + b"".join(aead.encrypt(nonce, record, None) for nonce, record in zip(nonces, records, strict=False))


def opened(data: bytes, cuts: list[int]) -> tuple[bytes, bytes]:
    """What comes out when `data` arrives in the given sizes, as a driver would feed it; and what is left over."""
    codec = opener()
    waiting = b""
    out = []
    sizes = itertools.chain(cuts, itertools.repeat(len(data) + 1))
    at = 0
    while at < len(data):
        size = max(1, next(sizes))
        buffer = bytearray(waiting + data[at : at + size])
        at += size
        view = memoryview(buffer)
        pieces, used = codec.open_untrusted(view)
        waiting = bytes(view[used:])
        buffer[:] = bytes(len(buffer))  # what came out must not refer to it
        out += pieces
        assert len(waiting) < MAX_RECORD
    return b"".join(out), waiting


@given(
    st.lists(st.integers(0, 40_000) | st.sampled_from([0, 1, 4096, 4097, MAX_PAYLOAD, MAX_PAYLOAD + 1]), max_size=6),
    st.lists(st.integers(1, 30_000), max_size=10),
)
def test_round_trip_of_any_pieces_and_cuts(sizes, cuts):
    pieces = [bytes((index % 251,)) * size for index, size in enumerate(sizes)]
    assert opened(wire(*pieces), cuts) == (b"".join(pieces), b"")


def test_byte_by_byte():
    assert opened(wire(b"hello", b"x" * 5000), [1] * 6000) == (b"hello" + b"x" * 5000, b"")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_pieces_may_be_any_buffer(kind):
    assert opened(wire(kind(b"a" * 20_000), kind(b"b")), []) == (b"a" * 20_000 + b"b", b"")


def chunk_sizes(*sizes: int) -> list[int]:
    return [
        len(record) - TAG_SIZE for record in SaltedSealer(AES, KEY, SALT).seal([bytes(size) for size in sizes])[2::2]
    ]


@pytest.mark.parametrize(
    ("pieces", "chunks"),
    [
        ([], []),
        ([0, 0], []),
        ([5], [5]),
        ([7, 0, 5], [12]),
        ([MAX_PAYLOAD], [MAX_PAYLOAD]),
        ([MAX_PAYLOAD + 1], [MAX_PAYLOAD, 1]),
        ([65536], [MAX_PAYLOAD] * 4 + [4]),
        ([65536, 100], [MAX_PAYLOAD] * 4 + [104]),
        ([19, 65483], [19] + [MAX_PAYLOAD] * 3 + [16334]),
        ([1448] * 12, [1448 * 11, 1448]),
        ([10, 5000, 10], [10, 5000, 10]),
    ],
)
def test_cutting(pieces, chunks):
    assert chunk_sizes(*pieces) == chunks


def test_a_big_piece_is_not_copied_before_it_is_sealed(monkeypatch):
    seen = []
    piece = bytearray(40_000)
    aead = AES.aead(KEY)

    class Spy:
        def encrypt(self, nonce, data, associated_data):
            seen.append(data)
            return aead.encrypt(nonce, data, associated_data)

    monkeypatch.setattr(Method, "aead", lambda self, key: Spy())
    SaltedSealer(AES, KEY, SALT).seal([piece])
    assert all(chunk.obj is piece for chunk in seen[1::2])


def test_salt_comes_once():
    sealer = SaltedSealer(AES, KEY, SALT)
    assert sealer.seal([]) == []
    assert b"".join(sealer.seal([b"a"])).startswith(SALT)
    assert len(b"".join(sealer.seal([b"a"]))) == OVERHEAD + 1


def test_nonces_go_on_over_the_calls():
    sealer = SaltedSealer(AES, KEY, SALT)
    assert b"".join(sealer.seal([b"a"]) + sealer.seal([b"b"])) == by_hand(b"\0\1", b"a", b"\0\1", b"b")


def test_a_length_is_used_up_before_its_payload_is_there():
    codec = opener()
    data = memoryview(wire(b"hello"))
    head = len(SALT) + LENGTH_RECORD
    assert codec.open_untrusted(data[: len(SALT) - 1]) == ([], 0)
    assert codec.open_untrusted(data[: len(SALT) + 1]) == ([], len(SALT))
    assert codec.open_untrusted(data[len(SALT) : head - 1]) == ([], 0)
    assert codec.open_untrusted(data[len(SALT) : head]) == ([], LENGTH_RECORD)
    assert codec.open_untrusted(data[head:-1]) == ([], 0)
    assert codec.open_untrusted(data[head:]) == ([b"hello"], 5 + TAG_SIZE)


def test_trailing_part_of_a_chunk_is_left():
    data = wire(b"hello", b"x" * 6000)
    assert opened(data[:-1], []) == (b"hello", data[-6000 - TAG_SIZE : -1])


@pytest.mark.parametrize("length", [0, MAX_PAYLOAD + 1, 0x4005, 0x8005, 0xFFFF])
def test_lengths_out_of_range_are_refused(length):
    with pytest.raises(BadPacket, match=f"chunk of {length} bytes"):
        opened(by_hand(length.to_bytes(2, "big"), bytes(length)), [])


def test_every_flipped_bit_is_refused():
    data = wire(b"hello")
    for bit in range(8 * len(data)):
        forged = bytearray(data)
        forged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadPacket, match="authenticate"):
            opener().open_untrusted(memoryview(forged))


def test_swapped_and_repeated_chunks_are_refused():
    records = SaltedSealer(AES, KEY, SALT).seal([b"a" * 5000, b"b" * 5000])
    first, second = b"".join(records[1:3]), b"".join(records[3:])
    for body in (second + first, first + first):
        with pytest.raises(BadPacket, match="authenticate"):
            opener().open_untrusted(memoryview(SALT + body))


def test_admission_is_asked_once_and_only_of_an_authentic_salt():
    asked: list[bytes] = []

    def admit(salt: bytes) -> bool:
        asked.append(salt)
        return True

    codec = Opener(AES, KEY, admit)
    data = memoryview(wire(b"hello", b"x" * 5000))
    codec.open_untrusted(data[: len(SALT)])
    assert asked == []
    codec.open_untrusted(data[len(SALT) :])
    assert asked == [SALT]
    with pytest.raises(BadPacket, match="authenticate"):
        Opener(AES, KEY, admit).open_untrusted(memoryview(bytes(100)))
    assert asked == [SALT]


def test_a_salt_that_is_not_admitted_is_refused():
    with pytest.raises(BadPacket, match="seen before"):
        Opener(AES, KEY, lambda salt: False).open_untrusted(memoryview(wire(b"hello")))
