"""The client of TLS 1.3, against OpenSSL's server side in memory, and against a REALITY server in memory."""

from __future__ import annotations

import datetime
import random
import ssl
from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from openssl_server import OpenSSLServer, served
from reality_peer import SECOND, RealityPeer
from talk import hear, said

from tunflow.errors import BadPacket, LocalError
from tunflow.protocols.codec import ProxyRefused
from tunflow.protocols.tls13.chrome_hello import ChromeHello
from tunflow.protocols.tls13.client import CERTIFICATE, NotTLS13, TLS13Client
from tunflow.protocols.tls13.key_schedule import KeySchedule
from tunflow.protocols.tls13.server_hello import parse_server_hello_untrusted
from tunflow.protocols.transport.reality import VERSION, RealityClient, RealityServer, check_algorithms
from tunflow.sniff.tls import parse_records_untrusted

BIG = bytes(range(256)) * 400


def drawn(seed: int = 1):
    return random.Random(seed).randbytes


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A file with a key and a certificate, and its public key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "site.example")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = tmp_path_factory.mktemp("tls13") / "both.pem"
    file.write_bytes(plain + made.public_bytes(pem))
    return file, key.public_key()


def believing(public_key):
    """What believes a certificate by its public key."""

    def believe(kind, body, _hellos):
        assert kind == CERTIFICATE
        assert len(body) > 100

        def verify(scheme, signature, signed):
            assert scheme == 0x0403
            try:
                public_key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
            except InvalidSignature:
                raise BadPacket("not signed by it") from None

        return verify

    return believe


def client(public_key, seed=1):
    return TLS13Client(ChromeHello("site.example", ["h2"], drawn(seed)), believing(public_key))


@pytest.mark.parametrize("step", [None, 1, 7, 100])
def test_handshake_flow_and_end_with_openssl(certificate, step):
    file, key = certificate
    codec, server = client(key), OpenSSLServer(served(file))
    assert server.take(said(codec)) == b""
    assert not codec.established
    assert hear(codec, server.answer(), step) == b""
    assert codec.established
    assert server.take(said(codec)) == b""
    assert server.shaken
    assert server.tls.version() == "TLSv1.3"
    tickets = server.answer()
    assert server.take(b"".join(codec.seal([b"hello ", BIG]))) == b"hello " + BIG
    server.tls.write(BIG)
    assert hear(codec, tickets + server.answer(), step and 1000 * step) == BIG
    server.incoming.write(b"".join(codec.finish()))
    assert server.tls.read(1) == b""
    server.tls.write(b"still answering")
    assert hear(codec, server.answer()) == b"still answering"
    server.tls.unwrap()
    assert hear(codec, server.answer()) == b""
    assert codec.over


@pytest.mark.parametrize("suite", ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"])
def test_every_cipher_suite(certificate, suite):
    file, key = certificate
    hello = ChromeHello("site.example", ["h2"], drawn())
    names = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]
    number = dict(zip(names, (0x1301, 0x1302, 0x1303), strict=True))
    others = b"".join(each.to_bytes(2, "big") for each in number.values())
    assert others in hello.raw
    hello.raw = hello.raw.replace(others, number[suite].to_bytes(2, "big") * 3)
    codec, server = TLS13Client(hello, believing(key)), OpenSSLServer(served(file))
    server.take(said(codec))
    hear(codec, server.answer())
    assert server.take(said(codec) + b"".join(codec.seal([b"up"]))) == b"up"
    assert server.tls.cipher()[0] == suite


def test_the_post_quantum_exchange_and_the_plain_one():
    """As the RFC's drafts have it: the secret of ML-KEM first, its ciphertext in front of the share."""
    for group in (0x11EC, 0x001D):
        peer = RealityPeer(group=group)
        codec = peer.client()
        peer.shake(codec)
        assert peer.take(b"".join(codec.seal([b"up"]))) == b"up"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"newest": ssl.TLSVersion.TLSv1_2}, "version 0x0303"),
        ({"curve": "secp384r1"}, "other than X25519"),
    ],
)
def test_what_the_server_has_not_is_told(certificate, settings, why):
    file, key = certificate
    codec, server = client(key), OpenSSLServer(served(file, **settings))
    server.take(said(codec))
    with pytest.raises(NotTLS13, match=why):
        hear(codec, server.answer())


def test_a_signature_by_another_is_not_taken(certificate):
    file, _ = certificate
    codec, server = client(ec.generate_private_key(ec.SECP256R1()).public_key()), OpenSSLServer(served(file))
    server.take(said(codec))
    with pytest.raises(BadPacket, match="not signed by it"):
        hear(codec, server.answer())


@pytest.mark.parametrize("place", range(0, 1100, 97))
def test_what_is_changed_on_its_way_is_not_taken(certificate, place):
    file, key = certificate
    codec, server = client(key), OpenSSLServer(served(file))
    server.take(said(codec))
    answer = bytearray(server.answer())
    answer[min(place, len(answer) - 1)] ^= 1
    with suppress(BadPacket):
        hear(codec, bytes(answer))
    assert not codec.established


def test_the_hello_is_one_that_others_read():
    hello = ChromeHello("site.example", ["h2", "http/1.1"], drawn())
    record = b"\x16\x03\x01" + len(hello.raw).to_bytes(2, "big") + hello.raw
    read = parse_records_untrusted(record)
    assert read is not None
    assert (read.server_name, read.protocols) == ("site.example", (b"h2", b"http/1.1"))
    nameless = parse_records_untrusted(
        b"\x16\x03\x01" + len((bare := ChromeHello(None, ["h2"], drawn())).raw).to_bytes(2, "big") + bare.raw
    )
    assert nameless is not None
    assert nameless.server_name is None
    assert ChromeHello("site.example", ["h2"], drawn(1)).raw == ChromeHello("site.example", ["h2"], drawn(1)).raw
    assert ChromeHello("site.example", ["h2"], drawn(1)).raw != ChromeHello("site.example", ["h2"], drawn(2)).raw


def kinds_of_extensions(raw):
    at = 4 + 34 + 33
    at += 2 + int.from_bytes(raw[at : at + 2], "big") + 2
    end = at + 2 + int.from_bytes(raw[at : at + 2], "big")
    at += 2
    kinds = []
    while at < end:
        kinds.append(int.from_bytes(raw[at : at + 2], "big"))
        at += 4 + int.from_bytes(raw[at + 2 : at + 4], "big")
    assert at == end == len(raw)
    return kinds


def test_the_hello_has_chromes_extensions_in_an_order_of_its_own():
    orders = {tuple(kinds_of_extensions(ChromeHello("a.example", ["h2"], drawn(seed)).raw)) for seed in range(8)}
    assert len(orders) == 8
    for order in orders:
        assert order[0] & 0x0F0F == order[-1] & 0x0F0F == 0x0A0A
        assert order[0] != order[-1]
        assert sorted(order[1:-1]) == [0, 5, 10, 11, 13, 16, 18, 23, 27, 35, 43, 45, 51, 0x44CD, 0xFE0D, 0xFF01]


def test_key_schedule_of_rfc_8448():
    """Section 3: the secrets of a simple handshake."""
    shared = bytes.fromhex("8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d")
    schedule = KeySchedule("sha256")
    schedule.mix(shared)
    seen = bytes.fromhex("860c06edc07858ee8e78f0e7428c58edd6b43f2ca3e6e95f02ed063cf0e1cad8")
    server = schedule.secret("s hs traffic", seen)
    assert server.hex() == "b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38"
    assert schedule.secret("c hs traffic", seen).hex() == (
        "b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21"
    )
    assert schedule.derive(server, "key", size=16).hex() == "3fce516009c21727d0f2e4e86ee403bc"
    assert schedule.derive(server, "iv", size=12).hex() == "5d313eb2671276ee13000b30"
    seen = bytes.fromhex("9608102a0f1ccc6db6250b7b7e417b1a000eaada3daae4777a7686c9ff83df13")
    schedule.mix(None)
    assert schedule.secret("c ap traffic", seen).hex() == (
        "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5"
    )


# REALITY.


@pytest.mark.parametrize("step", [None, 1, 50])
def test_reality_is_known_by_its_key(step):
    peer = RealityPeer()
    codec = peer.client()
    peer.shake(codec, step)
    version, short_id, at = peer.stranger
    assert (version, short_id, at) == (VERSION, b"\x01\x23" + bytes(6), 1_700_000_000)
    assert peer.take(b"".join(codec.seal([BIG, b"x"]))) == BIG + b"x"
    assert hear(codec, peer.say(b"answer") + peer.say(b"") + peer.say(b"padded", padding=300), step) == b"answerpadded"


@pytest.mark.parametrize(
    "more", [{"public_key": b"\x09" + bytes(31)}, {"short_id": b"\x01\x24"}, {"name": "other.example"}], ids=str
)
def test_a_stranger_sees_the_site_and_says_so(more):
    peer = RealityPeer()
    codec = peer.client(**more)
    with pytest.raises(ProxyRefused, match="REALITY servers do to strangers: check pbk, sid, sni"):
        peer.shake(codec)
    assert not codec.established


@pytest.mark.parametrize("lie", ["signature", "hmac", "finished", "scheme", "compressed"])
def test_who_only_looks_like_the_server_is_refused(lie):
    peer = RealityPeer(lie=lie)
    with pytest.raises(BadPacket):
        peer.shake(peer.client())


@pytest.mark.parametrize("lie", ["", "second"])
def test_a_second_signature_is_asked_for_where_its_key_is_given(lie):
    peer = RealityPeer(lie=lie)
    codec = peer.client(verify_key=SECOND.public_key().public_bytes_raw())
    if lie:
        with pytest.raises(ProxyRefused, match="no signature by the key of pqv"):
            peer.shake(codec)
    else:
        peer.shake(codec)
    RealityPeer(lie=lie).shake(RealityPeer().client())


def test_a_server_of_older_tls_is_no_reality(certificate):
    codec = RealityPeer().client()
    server = OpenSSLServer(served(certificate[0], ssl.TLSVersion.TLSv1_2))
    server.take(said(codec))
    with pytest.raises(ProxyRefused, match="no REALITY server for us"):
        hear(codec, server.answer())


def test_a_real_site_is_no_reality(certificate):
    codec, server = RealityPeer().client(), OpenSSLServer(served(certificate[0]))
    server.take(said(codec))
    with pytest.raises(ProxyRefused, match=r"shows that of site\.example itself"):
        hear(codec, server.answer())


def test_new_keys_both_ways():
    peer = RealityPeer()
    codec = peer.client()
    peer.shake(codec)
    said(codec)
    wire = peer.say(b"old") + peer.update(asks=False) + peer.say(b"new") + peer.update(asks=True) + peer.say(b"newer")
    assert hear(codec, wire, 3) == b"oldnewnewer"
    assert peer.take(b"".join(codec.seal([b"under the next key"]))) == b"under the next key"
    assert peer.updates == 1


@pytest.mark.parametrize(
    ("kind", "content", "why"),
    [
        (22, b"\x18\0\0\1\2", "in the middle of a message"),
        (22, b"\x18\0\0\1\0\x18", "in the middle of a message"),
        (22, b"\x01\0\0\0", "type 1 out of order"),
        (22, b"\x0d\0\0\0", "type 13 out of order"),
        (22, b"", "out of order"),
        (22, b"\x04\x03\0\0", "too long"),
        (21, b"\2\x28", "alert 40 .handshake failure."),
        (21, b"\2", "of another size"),
        (20, b"\1", "a kind that is not sealed"),
        (9, b"x", "out of order"),
    ],
)
def test_records_that_may_not_come(kind, content, why):
    peer = RealityPeer()
    codec = peer.client()
    peer.shake(codec)
    with pytest.raises(BadPacket, match=why):
        hear(codec, peer.seal(kind, content))


def test_a_message_of_the_handshake_may_be_cut_but_nothing_stands_between():
    ticket = b"\x04\0\0\x05abcde"
    peer = RealityPeer()
    codec = peer.client()
    peer.shake(codec)
    assert hear(codec, peer.seal(22, ticket[:3]) + peer.seal(22, ticket[3:]) + peer.say(b"data")) == b"data"
    with pytest.raises(BadPacket, match="in the middle of a message"):
        hear(codec, peer.seal(22, ticket[:3]) + peer.say(b"data"))


def test_records_that_are_not_sealed_or_none():
    for wire in (b"\x15\3\3\0\2\2\x28", b"\x16\3\3\0\1\0", b"HTTP/1.1 400 Bad", b"\x14\3\3\0\1\1", b"\x17\3\3\xff\xff"):
        peer = RealityPeer()
        codec = peer.client()
        peer.shake(codec)
        with pytest.raises(BadPacket):
            hear(codec, wire)
    for wire in (b"HTTP/1.1 400 Bad", b"\x17\3\3\0\1a", b"\x14\3\3\0\1\2", b"\x15\3\3\0\2\1\0", b"\x15\3\3\0\2\2\x50"):
        with pytest.raises(BadPacket):
            hear(RealityPeer().client(), wire)


def test_close_notify_and_what_is_behind_it():
    peer = RealityPeer()
    codec = peer.client()
    peer.shake(codec)
    assert hear(codec, peer.say(b"last") + peer.seal(21, b"\1\x5a") + peer.seal(21, b"\1\0") + b"garbage") == b"last"
    assert codec.over
    assert peer.take(b"".join(codec.seal([b"we may go on"]))) == b"we may go on"


@given(st.binary(max_size=200))
def test_any_server_hello_is_one_or_a_bad_packet(data):
    for message in (data, b"\x02\0\0\x28\3\3" + bytes(32) + data):
        try:
            hello = parse_server_hello_untrusted(message)
        except BadPacket:
            continue
        assert len(hello.random) == 32


def test_what_cryptography_is_built_without_is_told(monkeypatch):
    def none(_seed):
        raise UnsupportedAlgorithm("not in this OpenSSL")

    check_algorithms(SECOND.public_key().public_bytes_raw())
    monkeypatch.setattr("tunflow.protocols.transport.reality.MLKEM768PrivateKey.from_seed_bytes", none)
    with pytest.raises(LocalError, match="REALITY needs ML-KEM-768"):
        check_algorithms(b"")


def test_a_key_that_nobody_can_have_is_refused():
    with pytest.raises(BadPacket, match="nobody can have"):
        RealityClient(RealityServer("a.example", bytes(32), b"", ("h2",)), 0.0, drawn())
