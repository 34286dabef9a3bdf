"""QUIC Initial packets: the vectors of RFC 9001 and RFC 9369, and a real client's."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from hellos import client_hello
from tunflow.errors import BadPacket
from tunflow.sniff.quic import FlowSniffer, InitialSniffer, expand_label

# RFC 9001 appendix A.2 and RFC 9369 appendix A.2: the same CRYPTO frame, 917 bytes of padding behind it.
PAYLOAD = bytes.fromhex(
    "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302010000c000"
    "000010000e00000b6578616d706c652e636f6dff01000100000a00080006001d0017001800100007000504616c706e00050005010000"
    "0000003300260024001d00209370b2c9caa47fbabaf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b0003020304000d00"
    "10000e0403050306030203080408050806002d00020101001c00024001003900320408ffffffffffffffff05048000ffff07048000ff"
    "ff0801100104800075300901100f088394c8f03e51570806048000ffff"
) + bytes(917)

# Appendix A.1 of each: the client's key, IV and header protection key for this connection id.
CONNECTION_ID = bytes.fromhex("8394c8f03e515708")
KEYS = {
    1: ("1f369613dd76d5467730efcbe3b1a22d", "fa044b2f42a3fd3b46fb255c", "9f50449e04a0e810283a1e9933adedd2"),
    2: ("8b1a0bc121284290a29e0971b5cd045d", "91f73e2351d8fa91660e909f", "45b95e15235d6f45a6b19cbcb0294ba9"),
}
HEADERS = {1: "c300000001088394c8f03e5157080000449e00000002", 2: "d36b3343cf088394c8f03e5157080000449e00000002"}
# The first and last bytes of the protected packets as printed there.
BEGINNINGS = {
    1: "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11",
    2: "d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485",
}
ENDS = {1: "e221af44860018ab0856972e194cd934", 2: "a18b2faa745b6fe189cf772a9f84cbfc"}


def seal(version: int, header: bytes, payload: bytes, number: int) -> bytes:
    """Protects a packet with the published keys; `header` ends with a packet number of four bytes."""
    key, iv, hp = map(bytes.fromhex, KEYS[version])
    nonce = (int.from_bytes(iv, "big") ^ number).to_bytes(12, "big")
    sealed = AESGCM(key).encrypt(nonce, payload, header)
    mask = Cipher(AES(hp), ECB()).encryptor().update(sealed[:16])
    first = header[0] ^ (mask[0] & 0x0F)
    hidden = bytes(a ^ b for a, b in zip(header[-4:], mask[1:5], strict=True))
    return bytes((first,)) + header[1:-4] + hidden + sealed


def packet(version: int, payload: bytes, number: int = 2) -> bytes:
    """An Initial with the published connection id."""
    length = 4 + len(payload) + 16
    start = bytes.fromhex(HEADERS[version])[:-6]
    return seal(version, start + (0x4000 | length).to_bytes(2, "big") + number.to_bytes(4, "big"), payload, number)


def crypto(offset: int, data: bytes) -> bytes:
    return b"\6" + (0x4000 | offset).to_bytes(2, "big") + (0x4000 | len(data)).to_bytes(2, "big") + data


@pytest.mark.parametrize("version", [1, 2])
def test_the_published_packet_gives_its_name(version: int) -> None:
    protected = seal(version, bytes.fromhex(HEADERS[version]), PAYLOAD, 2)
    assert protected.hex().startswith(BEGINNINGS[version])
    assert protected.hex().endswith(ENDS[version])
    hello = InitialSniffer().receive_untrusted(protected)
    assert hello is not None
    assert hello.server_name == "example.com"
    assert hello.protocols == (b"alpn",)


def test_the_published_secret_expands_to_the_published_keys() -> None:
    """RFC 9001 appendix A.1."""
    secret = bytes.fromhex("c00cf151ca5be075ed0ebfb5c80323c42d6b7db67881289af4008f1f6c357aea")
    assert expand_label(secret, b"quic key", 16).hex() == KEYS[1][0]
    assert expand_label(secret, b"quic iv", 12).hex() == KEYS[1][1]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("version", [1, 2])
def test_a_hello_may_come_in_any_order_in_several_packets(version: int, seed: int) -> None:
    """RFC 9000 §19.6: CRYPTO frames may be cut, repeated and overlap; §12.2: packets may share a datagram."""
    rng = random.Random(seed)
    message = client_hello(b"far.example", padding=rng.randrange(3000))
    cuts = sorted({0, len(message), *(rng.randrange(len(message)) for _ in range(rng.randrange(8)))})
    frames = [crypto(a, message[a:b]) for a, b in itertools.pairwise(cuts)]
    frames += rng.sample(frames, rng.randrange(len(frames)))
    rng.shuffle(frames)
    sniffer = InitialSniffer()
    found = None
    number = 0
    while frames:
        datagram = b""
        for _ in range(rng.choice((1, 1, 2))):
            taken, frames = frames[:3], frames[3:]
            payload = b"\1" + b"".join(taken) + bytes(rng.randrange(1, 30)) + b"\2\0\0\0\0"
            datagram += packet(version, payload + bytes(40), number)
            number += 1
        found = sniffer.receive_untrusted(datagram + bytes(rng.randrange(20)))
    assert found is not None
    assert found.server_name == "far.example"


def test_a_real_client_with_a_long_hello() -> None:
    """aioquic; its ALPN list makes the hello longer than a packet."""
    protocols = [f"protocol-{number}" + "x" * 60 for number in range(40)]
    configuration = QuicConfiguration(is_client=True, server_name="Quic.Example", alpn_protocols=protocols)
    client = QuicConnection(configuration=configuration)
    client.connect(("192.0.2.1", 443), now=0.0)
    datagrams = [datagram for datagram, _ in client.datagrams_to_send(now=0.0)]
    assert len(datagrams) > 1
    sniffer = InitialSniffer()
    answers = [sniffer.receive_untrusted(datagram) for datagram in datagrams]
    assert answers[0] is None
    assert answers[-1] is not None
    assert answers[-1].server_name == "quic.example"


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\0" * 1200,
        b"\x40" * 1200,
        bytes.fromhex("c0000000000811"),
        b"\xc0\0\0\0\2" + bytes(1200),
        b"\xc0\0\0\0\1\xff" + bytes(1200),
        packet(1, crypto(0, b"\1\0\0\5"))[:-1],
        packet(1, crypto(0, b"\1\0\0\5") + bytes(30))[:-1] + b"x",
        packet(1, crypto(0, b"\2" + bytes(50))),
        packet(1, crypto(0x3FFF, b"\1" * 500)),
        packet(1, b"\6\0\x40\xff" + bytes(30)),
        packet(1, b"\x1c" + bytes(40)),
        packet(1, b"\2\0\0\x80\xff\xff\xff" + bytes(40)),
        packet(1, bytes(39) + b"\6"),
    ],
)
def test_what_is_not_a_clients_first_packet_is_refused(datagram: bytes) -> None:
    with pytest.raises(BadPacket):
        InitialSniffer().receive_untrusted(datagram)


def test_memory_is_bounded() -> None:
    sniffer = InitialSniffer()
    datagrams = [
        packet(1, b"".join(crypto(1 + number * 100 + n, b"x") for n in range(100)), number) for number in range(3)
    ]
    assert [sniffer.receive_untrusted(datagram) for datagram in datagrams[:2]] == [None, None]
    with pytest.raises(BadPacket, match="more than a ClientHello"):
        sniffer.receive_untrusted(datagrams[2])


@pytest.mark.parametrize("is_other_first", [False, True])
def test_a_hello_that_says_two_things_is_refused(is_other_first: bool) -> None:
    """Which of them counts is up to the server: to aioquic the one that came last."""
    one, other = client_hello(b"one.example"), client_hello(b"two.example")
    first, second = (crypto(50, other[50:]), crypto(40, one[40:]))[:: 1 if is_other_first else -1]
    sniffer = InitialSniffer()
    assert sniffer.receive_untrusted(packet(1, first + bytes(40), 0)) is None
    with pytest.raises(BadPacket, match="two things"):
        sniffer.receive_untrusted(packet(1, second + bytes(40), 1))


def test_another_version_under_the_same_connection_id_is_another_connection() -> None:
    """A server that speaks the second only knows nothing of what came before; its keys are others (RFC 9369 §3.3)."""
    sniffer = FlowSniffer()
    assert sniffer.receive_untrusted(packet(1, crypto(0, client_hello(b"one.example")[:40]) + bytes(40))) is None
    hello = sniffer.receive_untrusted(packet(2, crypto(0, client_hello(b"two.example")) + bytes(40)))
    assert hello is not None
    assert hello.server_name == "two.example"


def test_a_second_hello_for_which_the_server_asked() -> None:
    """It comes behind the first, in packets with the server's connection id and the client's first keys."""
    sniffer = FlowSniffer()
    one, two = client_hello(b"one.example"), client_hello(b"two.example")
    heard = sniffer.receive_untrusted(packet(1, crypto(0, one) + bytes(40), 0))
    assert heard is not None
    assert heard.server_name == "one.example"
    for number, frames in enumerate((crypto(0, one), crypto(len(one) + 60, two[60:]), b"\1" * 20), 1):
        with pytest.raises(BadPacket, match="later packet"):
            sniffer.receive_untrusted(packet(1, frames + bytes(40), number))
    hello = sniffer.receive_untrusted(packet(1, crypto(len(one), two[:60]) + bytes(40), 9))
    assert hello is not None
    assert hello.server_name == "two.example"


def test_a_browser_that_cuts_and_shuffles_on_purpose() -> None:
    vector = Path(__file__).parent.parent / "vectors" / "chromium_quic_initial.txt"
    datagrams = [bytes.fromhex(line) for line in vector.read_text().splitlines() if not line.startswith("#")]
    for order in itertools.permutations(datagrams):
        sniffer = InitialSniffer()
        hello = None
        for datagram in order:
            hello = hello or sniffer.receive_untrusted(datagram)
        assert hello is not None
        assert hello.server_name == "quic.example"
        assert hello.protocols == (b"h3",)
