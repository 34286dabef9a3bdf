"""A resolver over QUIC, against aioquic's own server on loopback."""

from __future__ import annotations

import asyncio
import datetime
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from random import Random

import pytest
from aioquic.asyncio import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import StreamDataReceived
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from resolver_rig import answer, query

from tunflow.dns.messages import HEADER
from tunflow.dns.upstream import parse_upstream
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import UNMARKED
from tunflow.names.upstreams import make_upstream
from tunflow.outbound.direct import DirectOutbound
from tunflow.protocols.block.outbound import BlockOutbound

Answers = Callable[[bytes], bytes | None]


class DoQ:
    """A server in a thread of its own; `answers` gives the bytes of a stream's answer, None to reset it."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[bytes] = []
        self.connections = 0
        self.answers: Answers = framed
        self.certificate = _certificate(folder)
        self.alpn = "doq"
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(folder,), daemon=True)
        self._thread.start()
        assert self._ready.wait(60)

    def _run(self, folder: Path) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(folder))
        self._loop.run_forever()

    async def _serve(self, folder: Path) -> None:
        server = self

        class Protocol(QuicConnectionProtocol):
            def __init__(self, *given, **options) -> None:
                super().__init__(*given, **options)
                server.connections += 1
                server.protocol = self
                self.bytes: dict[int, bytes] = {}

            def datagram_received(self, data, addr) -> None:
                server.client = addr
                super().datagram_received(data, addr)

            def quic_event_received(self, event) -> None:
                if isinstance(event, StreamDataReceived):
                    self.bytes[event.stream_id] = self.bytes.get(event.stream_id, b"") + event.data
                    if event.end_stream:
                        message = self.bytes.pop(event.stream_id)
                        server.asked.append(message)
                        made = server.answers(message)
                        if made is None:
                            self._quic.reset_stream(event.stream_id, 1)
                        else:
                            self._quic.send_stream_data(event.stream_id, made, end_stream=True)
                        self.transmit()

        configuration = QuicConfiguration(is_client=False, alpn_protocols=["doq"])
        configuration.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        made = QuicServer(configuration=configuration, create_protocol=Protocol)
        self._transport, _ = await self._loop.create_datagram_endpoint(lambda: made, ("127.0.0.1", 0))
        self._server = made
        self.port = self._transport.get_extra_info("sockname")[1]
        self._ready.set()

    def say(self, *datagrams: bytes) -> None:
        """Send bytes of no QUIC packet to the last client."""
        for each in datagrams:
            self._loop.call_soon_threadsafe(self._transport.sendto, each, self.client)

    def close_connection(self) -> None:
        self._loop.call_soon_threadsafe(self.protocol.close)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()


def framed(message: bytes) -> bytes:
    made = answer(message[2:], "192.0.2.1")
    return len(made).to_bytes(2, "big") + made


def _certificate(folder: Path) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dns.lab")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("dns.lab"), x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1)).add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    return str(folder / "cert.pem")


class Client:
    """The resolver under test, on a reactor that a test drives."""

    def __init__(self, link: str, dialer=DirectOutbound) -> None:
        self.reactor = Reactor()
        self.upstream = make_upstream(self.reactor, parse_upstream(link), dialer, UNMARKED, Random(1).getrandbits)
        self.heard: list[bytes] = []
        self.ended: list[str] = []

    def ask(self, name: str = "www.example.org") -> None:
        self.upstream.ask(
            query(name), lambda reply, _label, _now: self.heard.append(reply), lambda why, _now: self.ended.append(why)
        )

    def until(self, done: Callable[[], object], seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, (self.heard, self.ended)
            self.reactor.run_once(0.05)

    def close(self) -> None:
        self.upstream.close()
        assert not self.reactor.watched
        self.reactor.close()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DoQ]:
    made = DoQ(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", made.certificate)
    yield made
    made.close()


@pytest.fixture
def client(server: DoQ) -> Iterator[Client]:
    made = Client(f"quic://dns.lab@127.0.0.1:{server.port}")
    yield made
    made.close()


def test_queries_go_on_streams_of_one_connection_with_identifier_0(server: DoQ, client: Client) -> None:
    for number in range(20):
        client.ask(f"a{number}.example.org")
    client.until(lambda: len(client.heard) == 20)
    client.ask("later.example.org")
    client.until(lambda: len(client.heard) == 21)
    assert server.connections == 1
    assert {message[2:4] for message in server.asked} == {b"\0\0"}
    assert all(len(message) == 2 + int.from_bytes(message[:2], "big") for message in server.asked)
    assert {len(message) - 2 for message in server.asked} == {128}, "not padded"
    assert all(message[-4:] == bytes([192, 0, 2, 1]) or b"\xc0\x00\x02\x01" in message for message in client.heard)


@pytest.mark.parametrize(
    "answers",
    [
        lambda message: None,
        lambda message: b"",
        lambda message: framed(message)[:-1],
        lambda message: framed(message) + b"x",
    ],
)
def test_a_stream_that_is_no_answer_ends_its_query_and_no_other(server: DoQ, client: Client, answers: Answers) -> None:
    server.answers = answers
    client.ask()
    client.until(lambda: client.ended)
    assert client.ended == ["it answered with an error"]
    server.answers = framed
    client.ask()
    client.until(lambda: client.heard)
    assert server.connections == 1


def test_an_endless_answer_ends_the_connection(server: DoQ, client: Client) -> None:
    server.answers = lambda message: bytes(70_000)
    client.ask()
    client.until(lambda: client.ended)
    assert not client.heard


def test_a_connection_that_is_closed_is_made_again(server: DoQ, client: Client) -> None:
    client.ask()
    client.until(lambda: client.heard)
    server.close_connection()
    end = time.monotonic() + 1
    client.until(lambda: time.monotonic() > end)
    client.ask()
    client.until(lambda: len(client.heard) == 2)
    assert server.connections == 2


def test_another_servers_certificate_is_not_believed(server: DoQ) -> None:
    client = Client(f"quic://other.lab@127.0.0.1:{server.port}")
    client.ask()
    client.until(lambda: client.ended)
    assert "other.lab" in client.ended[0]
    assert not server.asked
    client.close()


def test_a_way_that_carries_no_datagrams_is_told() -> None:
    client = Client("quic://127.0.0.1:853", BlockOutbound)
    client.ask()
    client.until(lambda: client.ended)
    assert client.ended == ["blocked by block://"]
    client.close()


def test_garbage_ends_nothing(server: DoQ, client: Client) -> None:
    client.ask()
    client.until(lambda: client.heard)
    server.say(b"", b"\x00", bytes(1200), HEADER.pack(1, 2, 3, 4, 5, 6) * 50)
    client.ask()
    client.until(lambda: len(client.heard) == 2)
    assert server.connections == 1
