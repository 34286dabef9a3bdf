"""`tunflow.embed.attach`: a device of the caller's, served in three lines."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tunflow.dataplane.decision import Carry
from tunflow.embed import Attachment, attach
from tunflow.endpoint import endpoint
from tunflow.errors import LocalError
from tunflow.outbound.direct import DirectOutbound
from tunflow.testing.packet_script import ScriptedClient
from tunflow.wire import protocols
from tunflow.wire.tcp import SYN


@contextmanager
def running(tunnel: Attachment) -> Iterator[None]:
    thread = threading.Thread(target=tunnel.run)
    thread.start()
    try:
        yield
    finally:
        tunnel.stop()
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, int]]:
    """The program's end of a device, and the descriptor to be served, which `attach` takes over."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(60)
    yield ours, theirs.detach()
    ours.close()


def test_a_descriptor_is_served_until_told_to_stop(pair: tuple[socket.socket, int]) -> None:
    ours, fd = pair
    tunnel = attach(fd, "block://")
    with running(tunnel):
        ours.send(ScriptedClient().packet(SYN, seq=0))
        assert ours.recv(2000)[9] == protocols.ICMP  # administratively prohibited
    assert tunnel.statistics.tcp_flows == 1
    with pytest.raises(OSError, match="Broken pipe"):
        ours.send(b"x")  # the device is closed


def test_a_policy_decides(pair: tuple[socket.socket, int]) -> None:
    class There:
        def stream(self, case):
            return Carry(DirectOutbound(), there)

        def datagrams(self, case):
            return None

    ours, fd = pair
    with socket.create_server(("127.0.0.1", 0)) as listener:
        there = endpoint(*listener.getsockname())
        listener.settimeout(60)
        with running(attach(fd, "block://", policy=There())):
            ours.send(ScriptedClient().packet(SYN, seq=0))
            listener.accept()[0].close()
            assert ours.recv(2000)[33] == 0x12  # SYN, ACK


def test_what_is_wrong_is_a_local_error() -> None:
    with pytest.raises(LocalError, match="no server given"):
        attach(3)
    with pytest.raises(LocalError, match="no network device 'nosuch0'"):
        attach("nosuch0", "direct://")
    with pytest.raises(LocalError, match="file descriptor 9999"):
        attach(9999, "direct://")
