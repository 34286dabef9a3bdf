"""What is wrong with a server, by each protocol: the line that is told names the cause."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tunflow.endpoint import Endpoint
from tunflow.errors import LocalError
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import UNMARKED
from tunflow.outbound.chain import outbound_of
from tunflow.outbound.client import StreamClient
from tunflow.outbound.tls_context import client_context
from tunflow.protocols.registry import parse_server

USER = "01234567-89ab-cdef-0123-456789abcdef"
TARGET = Endpoint("example.com", 80)
DAY = datetime.timedelta(days=1)


class Certificate:
    """For the server's name, and its own authority."""

    def __init__(self, directory: Path, until: datetime.timedelta) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority {until.days}")])
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - 10 * DAY)
            .not_valid_after(now + until)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("server.example")]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.file = directory / f"{until.days}.pem"
        self.public = made.public_bytes(pem)
        self.file.write_bytes(plain + self.public)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Certificate]]:
    """One that is good, one that has expired, and one that nobody trusts."""
    folder = tmp_path_factory.mktemp("certificates")
    made = {
        "good": Certificate(folder, DAY),
        "expired": Certificate(folder, -DAY),
        "foreign": Certificate(folder, 2 * DAY),
    }
    trusted = folder / "trusted.pem"
    trusted.write_bytes(b"".join(made[name].public for name in ("good", "expired")))
    client_context.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(trusted))
        yield made
    client_context.cache_clear()


class Server:
    """Takes connections in a thread and treats each as it is told."""

    def __init__(self, treat: Callable[[socket.socket], None]) -> None:
        self._treat = treat
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(30)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.settimeout(20)
                with client, suppress(OSError):
                    self._treat(client)


def shows(certificate: Certificate) -> Callable[[socket.socket], None]:
    """Shakes hands in TLS, and then is silent until the client ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file)
    context.set_alpn_protocols(["h2", "http/1.1"])

    def treat(client: socket.socket) -> None:
        with context.wrap_socket(client, server_side=True) as tls:
            while tls.recv(65536):
                pass

    return treat


def says(words: bytes) -> Callable[[socket.socket], None]:
    """Answers the first bytes with these, and reads until the client ends."""

    def treat(client: socket.socket) -> None:
        client.recv(65536)
        client.sendall(words)
        while client.recv(65536):
            pass

    return treat


def hangs_up(client: socket.socket) -> None:
    """Ends it when it has heard something."""
    client.recv(65536)


def reason(link: str, heard: list[bytes] | None = None) -> str:
    """Why a flow by a server of this link comes to nothing, or ends; what came of it goes to `heard`."""
    reactor = Reactor()
    told: list[str] = []
    kept = [] if heard is None else heard
    route = outbound_of([link]).stream(TARGET)
    client = StreamClient(
        reactor, route, lambda data: kept.append(bytes(data)), lambda why, _: told.append(why), UNMARKED
    )
    client.send([b"GET / HTTP/1.0\r\n\r\n"])
    deadline = time.monotonic() + 30
    while not told:
        assert time.monotonic() < deadline
        reactor.run_once(1.0)
    reactor.close()
    return told[0]


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[socket.socket], None]], int]]:
    """Starts servers; their ports."""
    servers: list[Server] = []

    def start(treat: Callable[[socket.socket], None]) -> int:
        servers.append(Server(treat))
        return servers[-1].port

    yield start
    for server in servers:
        server.close()


def asks(server: Certificate, client: Certificate) -> Callable[[socket.socket], None]:
    """As `shows`, to who shows a certificate that `client` vouches for; says a line then."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.file)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=client.public.decode())

    def treat(client: socket.socket) -> None:
        tls = context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        try:
            tls.do_handshake()
            tls.recv(65536)
            tls.sendall(b"\0\0known")
        except ssl.SSLError:
            pass
        with socket.socket(fileno=tls.detach()) as plain:
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(65536):  # what is unread would become a reset, and the alert be lost
                pass

    return treat


def test_a_client_that_shows_its_certificate(
    certificates: dict[str, Certificate], serve: Callable[[Callable[[socket.socket], None]], int]
) -> None:
    port = serve(asks(certificates["good"], certificates["foreign"]))
    link = f"vless://{USER}@127.0.0.1:{port}?encryption=none&security=tls&sni=server.example"
    assert "certificate required" in reason(link).lower().replace("_", " ")
    heard: list[bytes] = []
    why = reason(f"{link}&certificate={quote(str(certificates['foreign'].file), safe='')}", heard)
    assert (b"".join(heard), "closed" in why) == (b"known", True)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("&certificate=/no/such/file", "no such file"),
        ("&certificate=/etc/hostname", "no certificate and key in PEM that go together"),
        ("&key=/etc/hostname", "names a key and no certificate"),
        ("&certificate=-----BEGIN", "names of files in PEM"),
    ],
)
def test_client_certificates_that_are_none(more: str, words: str) -> None:
    with pytest.raises(LocalError, match=words):
        outbound_of([f"vless://{USER}@127.0.0.1:1?encryption=none&security=tls{more}"])
    with pytest.raises(LocalError, match="no TLS"):
        parse_server(f"vless://{USER}@127.0.0.1:1?encryption=none&certificate=a.pem")


IN_TLS = {
    "trojan": "trojan://p@127.0.0.1:{port}?sni={name}",
    "trojan in WebSocket": "trojan://p@127.0.0.1:{port}?sni={name}&type=ws&path=/a",
    "trojan in gRPC": "trojan://p@127.0.0.1:{port}?sni={name}&type=grpc&serviceName=a",
    "anytls": "anytls://p@127.0.0.1:{port}?sni={name}",
    "vless": "vless://" + USER + "@127.0.0.1:{port}?encryption=none&security=tls&sni={name}",
    "vless in HTTPUpgrade": "vless://"
    + USER
    + "@127.0.0.1:{port}?encryption=none&security=tls&sni={name}&type=httpupgrade",
    "vless in XHTTP": "vless://"
    + USER
    + "@127.0.0.1:{port}?encryption=none&security=tls&sni={name}&type=xhttp&path=/a",
    "vmess": "vmess://" + USER + "@127.0.0.1:{port}?security=tls&sni={name}",
    "v2ray-plugin": "ss://aes-128-gcm:p@127.0.0.1:{port}/?plugin=v2ray-plugin%3Bmux%3D0%3Btls%3Bhost%3D{name}",
}


@pytest.mark.parametrize("kind", IN_TLS)
@pytest.mark.parametrize(
    ("shown", "name", "words"),
    [
        ("expired", "server.example", "certificate is not valid (certificate has expired"),
        ("good", "other.example", "certificate is not valid (Hostname mismatch"),
        ("foreign", "server.example", "certificate is not valid (self-signed certificate"),
    ],
)
def test_certificates(
    kind: str,
    shown: str,
    name: str,
    words: str,
    certificates: dict[str, Certificate],
    serve: Callable[[Callable[[socket.socket], None]], int],
) -> None:
    assert words in reason(IN_TLS[kind].format(port=serve(shows(certificates[shown])), name=name))


@pytest.mark.parametrize("kind", [*IN_TLS, "https"])
def test_servers_that_speak_no_tls(kind: str, serve: Callable[[Callable[[socket.socket], None]], int]) -> None:
    shape = IN_TLS.get(kind, "https://127.0.0.1:{port}")
    why = reason(shape.format(port=serve(says(b"SSH-2.0-OpenSSH_9.2p1\r\n")), name="server.example"))
    assert "TLS" in why
    assert "wrong version number" in why.lower().replace("_", " ")


IN_THE_CLEAR = {
    "shadowsocks": ("ss://aes-128-gcm:p@127.0.0.1:{port}", "a Shadowsocks record does not authenticate"),
    "vmess": ("vmess://" + USER + "@127.0.0.1:{port}", "is no VMess server, or knows another id"),
    "vless": ("vless://" + USER + "@127.0.0.1:{port}?encryption=none", "VLESS"),
    "vless in WebSocket": ("vless://" + USER + "@127.0.0.1:{port}?encryption=none&type=ws", "no WebSocket server"),
    "socks5": ("socks5://127.0.0.1:{port}", "SOCKS"),
    "http": ("http://127.0.0.1:{port}", "HTTP"),
    "obfs": ("ss://aes-128-gcm:p@127.0.0.1:{port}/?plugin=obfs-local%3Bobfs%3Dtls", "obfs=tls"),
}


@pytest.mark.parametrize("kind", IN_THE_CLEAR)
def test_servers_that_speak_something_else(kind: str, serve: Callable[[Callable[[socket.socket], None]], int]) -> None:
    link, words = IN_THE_CLEAR[kind]
    assert words in reason(link.format(port=serve(says(b"SSH-2.0-OpenSSH_9.2p1 " + b"x" * 2000 + b"\r\n"))))


@pytest.mark.parametrize("kind", [*IN_TLS, *IN_THE_CLEAR])
def test_servers_that_end_a_connection_are_said_to(
    kind: str, serve: Callable[[Callable[[socket.socket], None]], int]
) -> None:
    shape = IN_TLS.get(kind) or IN_THE_CLEAR[kind][0]
    assert "closed" in reason(shape.format(port=serve(hangs_up), name="server.example"))


def test_records_that_come_at_once_are_handed_on_as_one(
    certificates: dict[str, Certificate], serve: Callable[[Callable[[socket.socket], None]], int]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates["good"].file)

    def treat(client: socket.socket) -> None:
        with context.wrap_socket(client, server_side=True) as tls:
            asked = b""
            while b"GET" not in asked:
                asked += tls.recv(65536)
            tls.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
            for word in (b"one ", b"two ", b"three"):
                tls.sendall(word)
            tls.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)

    heard: list[bytes] = []
    port = serve(treat)
    reason(f"trojan://p@127.0.0.1:{port}?allowInsecure=1", heard)
    assert heard == [b"one two three"]
