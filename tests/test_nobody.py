"""Who comes to a port at which nobody is learns that at once, as long as it is kept."""

from __future__ import annotations

import socket

import pytest

from nobody import nobody_at


def test_connections_are_refused() -> None:
    with nobody_at() as where, pytest.raises(ConnectionRefusedError):
        socket.create_connection(where).close()


def test_datagrams_are_answered_by_the_system() -> None:
    with nobody_at(socket.SOCK_DGRAM) as where, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(60)
        client.connect(where)
        client.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            client.recv(100)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_nobody_else_is_given_the_port(kind: socket.SocketKind) -> None:
    with nobody_at(kind) as where, socket.socket(socket.AF_INET, kind) as other, pytest.raises(OSError, match="in use"):
        other.bind(where)
