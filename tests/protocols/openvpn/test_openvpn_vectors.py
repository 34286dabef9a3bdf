"""OpenVPN's own unit tests' vectors (tests/unit_tests/openvpn), and packets of a client that real servers took."""

from __future__ import annotations

import pytest

from tunflow.errors import BadPacket
from tunflow.protocols.openvpn.data_key import AEADKey, DirectionKeys, halves
from tunflow.protocols.openvpn.key_derivation import KeySource, expand_label, master_secret, prf_keys, tls1_prf
from tunflow.protocols.openvpn.packet import Control, Head, Opcode, control_untrusted, head_untrusted
from tunflow.protocols.openvpn.static_key import StaticKey
from tunflow.protocols.openvpn.wrapping import Plain, TLSAuth, TLSCrypt

KEY = StaticKey(bytes.fromhex(
    "37268ea8f95d7f71f9fb8fc03770c460daf714a483d815c013ce0a537efc18f28f4f172669d9e6a413bac6741d8ea05400f49b7fd6326470f23798c606bf53d4"
    "de63ebc64ec59d57ce5d04d5b62e68b53ca6e5354351097fa370446c4d269f187bb6ae54af2dc70ff7317fe2f8754b8282aad4202f9fa42c8640245d883e2c54"
    "a0c1c489a036cf3a8964d8d289c1583b9447c262b1da5fd167a5d27bd5ac514317bc2343a31a2efc38dd920d910375f51c2e27f3afd36c49269da079f7ce466e"
    "bb0f9ad13e9bbb4665974e6bc24b513c5700393bf4a3e7f967e2f384069ac8a8e78b18b15604993fd16515cce9c0f3e42b4126b999005ade802797b0eeb8b9e6"
))  # fmt: skip
RESET = Control([], b"", 0, b"")


def test_the_prf_of_tls_1_0() -> None:
    secret = (
        b"Lorem ipsum dolor sit amet, consectetur adipisici elit, sed eiusmod tempor incidunt ut labore et dolore "
        b"magna aliqua."
    )
    seed = b"Quis aute iure reprehenderit in voluptate velit esse cillum dolore"
    assert tls1_prf(secret, seed, 32).hex() == "d98c8518c85e946927916acfc2d592fbb1567e4b4b1459e6a904ac2ddab72d67"


def test_expand_label() -> None:
    secret = bytes.fromhex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5")
    assert expand_label(secret, b"unit test", 16).hex() == "185eaa1c7f228ab8eb29773214d92046"


@pytest.mark.parametrize(
    ("text", "wrapping"),
    [
        ("386891923fa31034370000000000", Plain()),
        (
            "38de694c5c7bfba27493537c1ded4e781529ae7cfe4b8c6d6b2b51f05a0000000161d3bf6c0000000000",
            TLSAuth(KEY, "sha1", 0, 1),
        ),
        (
            "38f419cb12d1f9e48f0000000161d3f8e1330206f56802be44fbed905064e3db43416bec5e526719462b7eb90c96defc9b05c44879f7",
            TLSCrypt(KEY, 0, 1),
        ),
    ],
)
def test_a_clients_reset(text: str, wrapping: Plain | TLSAuth | TLSCrypt) -> None:
    packet = bytes.fromhex(text)
    head = head_untrusted(packet)
    assert head == Head(Opcode.RESET_CLIENT, 0, packet[1:9])
    assert control_untrusted(head.opcode, wrapping.unwrap_untrusted(packet)) == Control((), b"", 0, b"")
    client: Plain | TLSAuth | TLSCrypt = wrapping
    time = 0
    if isinstance(wrapping, TLSAuth):
        client, time = TLSAuth(KEY, "sha1", 1, 0), 0x61D3BF6C
    elif isinstance(wrapping, TLSCrypt):
        client, time = TLSCrypt(KEY, 1, 0), 0x61D3F8E1
    assert client.wrap(head, RESET.pack(), time) == packet


@pytest.mark.parametrize("wrapping", [TLSAuth(KEY, "sha1", 0, 1), TLSCrypt(KEY, 0, 1)])
def test_a_replay_and_every_flipped_bit_are_refused(wrapping: TLSAuth | TLSCrypt) -> None:
    is_auth = isinstance(wrapping, TLSAuth)
    client: TLSAuth | TLSCrypt = TLSAuth(KEY, "sha1", 1, 0) if is_auth else TLSCrypt(KEY, 1, 0)
    packet = client.wrap(Head(Opcode.RESET_CLIENT, 0, b"sessions"), RESET.pack(), 1_700_000_000)
    for bit in range(8 * len(packet)):
        changed = bytearray(packet)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadPacket):
            wrapping.unwrap_untrusted(bytes(changed))
    assert wrapping.unwrap_untrusted(packet) == RESET.pack()
    with pytest.raises(BadPacket, match="seen before"):
        wrapping.unwrap_untrusted(packet)


def test_an_acknowledgement() -> None:
    packet = bytes.fromhex("28aeb9afe1f01d79c803000000000000000100000002dd85db535623b02e")
    control = control_untrusted(head_untrusted(packet).opcode, Plain().unwrap_untrusted(packet))
    assert control == Control((0, 1, 2), bytes.fromhex("dd85db535623b02e"), None, b"")
    assert Plain().wrap(head_untrusted(packet), control.pack(), 0) == packet


CLIENT = KeySource(b"\1" * 48, b"\2" * 32, b"\3" * 32)
SERVER = KeySource(b"", b"\4" * 32, b"\5" * 32)


def keys() -> bytes:
    return prf_keys(CLIENT, SERVER, b"\6" * 8, b"\7" * 8)


def test_data_keys_by_the_prf() -> None:
    assert master_secret(CLIENT, SERVER).hex() == (
        "94038ec644a1be8052d10fa6f636c2633ce51a01928088210892d685f98cab51728d50abaca2f4c54bb30294f19d7788"
    )
    send, receive = halves(keys(), server=False)
    assert send.cipher[:32].hex() == "df52f010932d0764260f7117f367cf5db8be673c44d375c93cf4f84586955473"
    assert send.hmac[:8].hex() == "5dbcab3aba37f853"
    assert receive.cipher[:32].hex() == "f1233ce79964fef2a7f2f1c2df849c2a100115e89e6888cc3053ecc978f8c55c"
    assert receive.hmac[:8].hex() == "a46cd9de5bae086d"


@pytest.mark.parametrize(
    ("cipher", "text"),
    [
        ("AES-256-GCM", "48000001000000012a402335730be34e0cc1ee2086fbab39cdc050f469"),
        ("CHACHA20-POLY1305", "4800000100000001a8e0f0a24fa9e414f329c830402b8e440ced244ea3"),
    ],
)
def test_a_data_packet(cipher: str, text: str) -> None:
    send, receive = halves(keys(), server=False)
    assert AEADKey(cipher, 0, 1, send, receive).seal([b"hello"]) == [bytes.fromhex(text)]
    server = AEADKey(cipher, 0, 1, *halves(keys(), server=True))
    assert server.open_untrusted(bytes.fromhex(text)) == b"hello"
    with pytest.raises(BadPacket, match="seen before"):
        server.open_untrusted(bytes.fromhex(text))


def test_halves_are_each_others() -> None:
    client, server = halves(keys(), server=False), halves(keys(), server=True)
    assert client == (server[1], server[0])
    assert isinstance(client[0], DirectionKeys)
