"""What is wrong with a server of sessions (QUIC, SSH): the line that is told names the cause."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import asyncssh
import pytest
from aioquic.asyncio.server import QuicServer
from aioquic.quic.configuration import QuicConfiguration
from test_causes_are_told import TARGET, USER, Certificate, certificates, says, serve  # noqa: F401 (fixtures)

from tunflow.loop.reactor import Reactor
from tunflow.loop.rounds import serve_while
from tunflow.loop.sockets import UNMARKED
from tunflow.outbound import machine_session, ssh_session
from tunflow.outbound.chain import make_outbound
from tunflow.outbound.client import carrier_on
from tunflow.outbound.sessions import KeptSessions
from tunflow.protocols.contract import ConduitRoute
from tunflow.protocols.registry import parse_server

QUIC = {
    "hysteria2": "hysteria2://p@127.0.0.1:{port}?sni={name}",
    "tuic": "tuic://" + USER + ":p@127.0.0.1:{port}?sni={name}",
}


def reason(link: str) -> str:
    """What is said of a server when a flow by it comes to nothing."""
    reactor, sessions = Reactor(), KeptSessions()
    said: list[str] = []
    route = make_outbound([parse_server(link)], sessions=sessions).stream(TARGET)
    assert isinstance(route, ConduitRoute)
    sessions.start(reactor, said.append)
    deadline = time.monotonic() + 60
    over: list[object] = []
    reactor.call_later(60, lambda: None)

    def goes_on() -> bool:
        if not over and not said:
            assert time.monotonic() < deadline
            return True
        return False

    def begin() -> None:
        route.dial(lambda _, error: over.append(error), carrier_on(reactor, UNMARKED))

    reactor.call_soon(begin)
    serve_while(reactor, goes_on, sessions.close, coroutines=sessions.wants_coroutines)
    reactor.close()
    return " ".join(said)


class Background:
    """asyncio in a thread; `begin` makes a server there and gives its port."""

    def __init__(self, begin: Callable[[], Any]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.port: int = asyncio.run_coroutine_threadsafe(begin(), self._loop).result(30)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()


@pytest.fixture
def background() -> Iterator[Callable[[Callable[[], Any]], int]]:
    """Starts servers of asyncio's; their ports."""
    made: list[Background] = []

    def start(begin: Callable[[], Any]) -> int:
        made.append(Background(begin))
        return made[-1].port

    yield start
    for each in made:
        each.close()


def shows(certificate: Certificate) -> Callable[[], Any]:
    """A QUIC server with a certificate."""

    async def begin() -> int:
        configuration = QuicConfiguration(is_client=False, alpn_protocols=["h3"], max_datagram_frame_size=65536)
        configuration.load_cert_chain(certificate.file, certificate.file)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: QuicServer(configuration=configuration), ("127.0.0.1", 0)
        )
        return int(transport.get_extra_info("sockname")[1])

    return begin


@pytest.mark.parametrize("kind", QUIC)
@pytest.mark.parametrize(
    ("shown", "name"), [("expired", "server.example"), ("good", "other.example"), ("foreign", "server.example")]
)
def test_certificates(
    kind: str,
    shown: str,
    name: str,
    certificates: dict[str, Certificate],  # noqa: F811
    background: Callable[[Callable[[], Any]], int],
) -> None:
    words = {"expired": "no longer valid", "good": "other.example", "foreign": "self-signed"}[shown]
    told = reason(QUIC[kind].format(port=background(shows(certificates[shown])), name=name))
    assert "certificate is not valid" in told
    assert words in told.lower()


@pytest.mark.parametrize("kind", QUIC)
def test_what_answers_by_something_else_than_quic(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_session, "PATIENCE", 2.0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def answer() -> None:
            with suppress(OSError):
                while True:
                    data, client = server.recvfrom(65536)
                    if not data:
                        return
                    server.sendto(b"HTTP/1.1 400 Bad Request\r\n\r\n", client)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            told = reason(QUIC[kind].format(port=server.getsockname()[1], name="a.example"))
        finally:
            server.sendto(b"", server.getsockname())
            thread.join(30)
    assert "what answers is no server of this protocol" in told


class Door(asyncssh.SSHServer):
    """Knows one password."""

    def begin_auth(self, _user: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, _user: str, password: str) -> bool:
        return password == "right"


KEY = asyncssh.generate_private_key("ssh-ed25519")
PRINT = KEY.convert_to_public().get_fingerprint()


async def door() -> int:
    server = await asyncssh.create_server(Door, "127.0.0.1", 0, server_host_keys=[KEY])
    return int(server.sockets[0].getsockname()[1])


@pytest.mark.parametrize(
    ("password", "key", "words"),
    [
        ("wrong", PRINT, "it does not accept the user me with the password"),
        ("right", f"SHA256:{'A' * 43}", "not the one that is given: somebody may sit on the way"),
    ],
    ids=["password", "host key"],  # the key is a new one each time
)
def test_ssh(password: str, key: str, words: str, background: Callable[[Callable[[], Any]], int]) -> None:
    assert words in reason(f"ssh://me:{password}@127.0.0.1:{background(door)}?host-key={key}")


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x03\0\x02\x02\x28"])
def test_what_answers_is_no_ssh_server(
    greeting: bytes,
    serve: Callable[[Callable[[socket.socket], None]], int],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ssh_session, "PATIENCE", 2.0)
    told = reason(f"ssh://me:p@127.0.0.1:{serve(says(greeting))}?host-key={PRINT}")
    assert "what answers is no SSH server: it begins with" in told
    assert told.isprintable()
