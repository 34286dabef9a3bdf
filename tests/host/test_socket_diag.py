"""The kernel's answers about real sockets of this process: the right one, or none."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from tunflow.endpoint import Endpoint, endpoint
from tunflow.host.netlink.socket_diag import SocketDiag


@pytest.fixture
def diag() -> Iterator[SocketDiag]:
    made = SocketDiag()
    yield made
    made.close()


def ends(sock: socket.socket) -> tuple[Endpoint, Endpoint]:
    (host, port, *_), (peer, peer_port, *_) = sock.getsockname(), sock.getpeername()
    return endpoint(host.removeprefix("::ffff:"), port), endpoint(peer.removeprefix("::ffff:"), peer_port)


def inode(sock: socket.socket) -> int:
    return os.fstat(sock.fileno()).st_ino


@pytest.mark.parametrize(
    ("listen", "address"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("127.0.0.1", "::ffff:127.0.0.1")]
)
def test_a_tcp_client(diag: SocketDiag, listen: str, address: str) -> None:
    family = socket.AF_INET6 if ":" in listen else socket.AF_INET
    with socket.create_server((listen, 0), family=family) as listener:
        with socket.create_connection((address, listener.getsockname()[1])) as client:
            here, there = ends(client)
            facts = diag.find("tcp", here, there)
            assert facts is not None
            assert (facts.inode, facts.uid) == (inode(client), os.getuid())
            # The listener is no answer for a client that is not there, although it has the port.
            assert diag.find("tcp", there, endpoint(there.host_text, 1)) is None
            assert diag.find("udp", here, there) is None
            accepted, _ = listener.accept()
            accepted.close()
        assert diag.find("tcp", here, there) is None, "a closed socket is nobody's"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("connected", [True, False])
def test_a_udp_client(diag: SocketDiag, address: str, connected: bool) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        if connected:
            client.connect((address, 9))
        else:
            client.sendto(b"", (address, 9))
        host = address.removeprefix("::ffff:")
        facts = diag.find("udp", endpoint(host, client.getsockname()[1]), endpoint(host, 9))
        assert facts is not None
        assert facts.inode == inode(client)


def test_a_failed_question_does_not_spoil_the_next(diag: SocketDiag) -> None:
    nowhere = endpoint("192.0.2.1", 1)
    for _ in range(3):
        assert diag.find("tcp", nowhere, nowhere) is None
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        facts = diag.find("tcp", *ends(client))
        assert facts is not None
        assert facts.inode == inode(client)
