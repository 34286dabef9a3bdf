"""TLS as a codec, against OpenSSL's server side in memory."""

from __future__ import annotations

import datetime
import ssl
from contextlib import suppress
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from openssl_server import OpenSSLServer, served
from talk import hear, said

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket
from tunflow.outbound.tls_context import client_context
from tunflow.protocols.chain import ChainedStream
from tunflow.protocols.codec import ProxyRefused, Refusal
from tunflow.protocols.http.connect import HTTPConnectClient
from tunflow.protocols.transport.resumption import LIFETIME, Resumption
from tunflow.protocols.transport.tls import TLSClient


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A file with a key and a certificate for `proxy.example`, which is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "proxy.example")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("proxy.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    file.write_bytes(plain + made.public_bytes(pem))
    return file


def client(certificate, host="proxy.example"):
    return TLSClient(ssl.create_default_context(cafile=certificate), host)


@pytest.mark.parametrize("step", [None, 1, 100])
def test_handshake_flow_and_end(certificate, step):
    codec, server = client(certificate), OpenSSLServer(served(certificate))
    while not codec.established:
        assert server.take(said(codec)) == b""
        assert hear(codec, server.answer(), step) == b""
    big = bytes(range(256)) * 1000
    assert server.take(b"".join(codec.seal([b"hello ", big]))) == b"hello " + big
    server.tls.write(big)
    assert hear(codec, server.answer(), step and 1000) == big
    assert not codec.transparent
    with pytest.raises(ssl.SSLWantReadError):
        server.tls.read(1)
    server.incoming.write(b"".join(codec.finish()))
    assert server.tls.read(1) == b""
    server.tls.write(b"still answering")  # RFC 8446 §6.1: each side closes its own direction
    assert hear(codec, server.answer()) == b"still answering"
    assert not codec.over
    server.tls.unwrap()
    assert hear(codec, server.answer()) == b""
    assert codec.over


def test_the_server_ends_first(certificate):
    codec, server = client(certificate), OpenSSLServer(served(certificate))
    while not codec.established:
        server.take(said(codec))
        hear(codec, server.answer())
    server.take(said(codec))
    server.tls.write(b"the last")
    with suppress(ssl.SSLWantReadError):
        server.tls.unwrap()
    assert hear(codec, server.answer()) == b"the last"
    assert codec.over


def test_connect_inside_tls_speaks_once_tls_stands(certificate):
    inner = HTTPConnectClient(Endpoint("site.example", 443))
    codec, server = ChainedStream(client(certificate), inner), OpenSSLServer(served(certificate))
    heard = b""
    while not heard:
        heard = server.take(said(codec))
        if not heard:
            hear(codec, server.answer())
            assert not codec.established
    assert heard.startswith(b"CONNECT site.example:443 HTTP/1.1\r\n")
    server.tls.write(b"HTTP/1.1 200 OK\r\n\r\nflow")
    assert hear(codec, server.answer()) == b"flow"
    assert codec.established
    assert server.take(b"".join(codec.seal([b"up"]))) == b"up"


@pytest.mark.parametrize(("trusted", "host"), [(False, "proxy.example"), (True, "other.example")])
def test_a_certificate_that_is_not_valid_is_refused(certificate, trusted, host):
    context = ssl.create_default_context(cafile=certificate if trusted else None)
    codec, server = TLSClient(context, host), OpenSSLServer(served(certificate))
    server.take(said(codec))
    with pytest.raises(ProxyRefused, match="certificate is not valid") as caught:
        hear(codec, server.answer())
    assert caught.value.refusal is Refusal.CERTIFICATE
    assert caught.value.refusal.is_servers_fault
    with pytest.raises(ssl.SSLError, match="alert"):
        server.take(said(codec))


def test_what_does_not_speak_tls(certificate):
    with pytest.raises(BadPacket, match="TLS"):
        hear(client(certificate), b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_a_pinned_certificate_needs_no_authority_and_no_other_is_taken(certificate):
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text().partition("-----END PRIVATE KEY-----\n")[2])
    settings = client_context(verified=False)
    for pin, is_taken in ((sha256(der).digest(), True), (bytes(32), False)):
        codec, server = TLSClient(settings, "other.example", pin), OpenSSLServer(served(certificate))
        server.take(said(codec))
        if is_taken:
            hear(codec, server.answer())
            assert codec.established
        else:
            with pytest.raises(ProxyRefused, match=f"its fingerprint is {sha256(der).hexdigest()}, not the pinned"):
                hear(codec, server.answer())
            assert not codec.established


class Again:
    """A server, and the connections of one client to it, which keep a ticket."""

    def __init__(self, certificate, newest=ssl.TLSVersion.TLSv1_3, pin=None):
        self.context = served(certificate, newest)
        self.settings = client_context(verified=False) if pin else ssl.create_default_context(cafile=certificate)
        self.pin = pin
        self.now = 1000.0
        self.resumption = Resumption(lambda: self.now)

    def connection(self):
        """Return True if it was resumed."""
        codec = TLSClient(self.settings, "proxy.example", self.pin, self.resumption)
        server = OpenSSLServer(self.context)
        while not codec.established:
            server.take(said(codec))
            hear(codec, server.answer())
        assert server.take(b"".join(codec.seal([b"asked"]))) == b"asked"
        server.tls.write(b"answered")
        assert hear(codec, server.answer()) == b"answered"
        return server.tls.session_reused


def test_the_next_connection_needs_no_certificate_for_a_while(certificate):
    one = Again(certificate)
    assert [one.connection() for _ in range(4)] == [False, True, True, True]
    one.now += LIFETIME
    assert [one.connection() for _ in range(2)] == [False, True]
    one.now -= 10 * LIFETIME  # the clock was set
    assert [one.connection() for _ in range(2)] == [False, True]


def test_a_server_that_does_not_know_the_ticket_any_more_gives_another(certificate):
    one = Again(certificate)
    assert [one.connection() for _ in range(2)] == [False, True]
    one.context = served(certificate)
    assert [one.connection() for _ in range(3)] == [False, True, True]


def test_tls_1_2_is_not_resumed_and_tickets_that_are_not_given_are_not_looked_for(certificate):
    old = Again(certificate, ssl.TLSVersion.TLSv1_2)
    assert [old.connection() for _ in range(3)] == [False] * 3
    none = Again(certificate)
    none.context.num_tickets = 0
    assert [none.connection() for _ in range(3)] == [False] * 3


def test_a_pin_holds_for_what_is_resumed(certificate):
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text().partition("-----END PRIVATE KEY-----\n")[2])
    one = Again(certificate, pin=sha256(der).digest())
    assert [one.connection() for _ in range(3)] == [False, True, True]
    one.pin = bytes(32)
    with pytest.raises(ProxyRefused, match="not the pinned"):
        one.connection()
    assert one.resumption.session is None


def test_a_ticket_that_a_server_stumbles_over_is_offered_once(certificate):
    one = Again(certificate)
    assert [one.connection() for _ in range(2)] == [False, True]
    codec = TLSClient(one.settings, "proxy.example", None, one.resumption)
    said(codec)
    with pytest.raises(BadPacket, match="TLS"):
        hear(codec, b"\x15\x03\x03\x00\x02\x02\x28")  # handshake_failure
    assert not one.connection()
