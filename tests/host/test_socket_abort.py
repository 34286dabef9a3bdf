"""Connections that end with the address that they have here, real ones of this process; others stay."""

from __future__ import annotations

import errno
import socket
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from tun_lab import ip, net_namespace

from tunflow.host.netlink.socket_abort import abort_sockets


@pytest.fixture(autouse=True)
def _host() -> Iterator[None]:
    with net_namespace():
        ip("link", "set", "lo", "up")
        ip("addr", "add", "fd00::9/128", "dev", "lo", "nodad")
        yield


def outcome(sock: socket.socket) -> int:
    """The error that the kernel has for `sock`; 0 where it is sound."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


@pytest.mark.parametrize(
    ("own", "listen", "connect"),
    [
        ("127.0.0.9", "127.0.0.1", "127.0.0.1"),
        ("fd00::9", "::1", "::1"),
        ("::ffff:127.0.0.9", "127.0.0.1", "::ffff:127.0.0.1"),
    ],
)
def test_of_tcp_and_udp_those_with_the_address_end(own: str, listen: str, connect: str) -> None:
    family = socket.AF_INET6 if ":" in own else socket.AF_INET
    gone = ip_address(own.removeprefix("::ffff:"))
    with socket.create_server((listen, 0), family=socket.AF_INET6 if ":" in listen else socket.AF_INET) as listener:
        port = listener.getsockname()[1]
        with (
            socket.create_connection((connect, port), source_address=(own, 0)) as flow,
            socket.create_connection((connect, port)) as other_flow,
            socket.socket(family, socket.SOCK_DGRAM) as datagrams,
            socket.socket(family, socket.SOCK_DGRAM) as other_datagrams,
        ):
            datagrams.bind((own, 0))
            for each in (datagrams, other_datagrams):
                each.connect((connect, port))
            abort_sockets([gone])
            assert [outcome(each) for each in (flow, datagrams)] == [errno.ECONNABORTED] * 2
            assert [outcome(each) for each in (other_flow, other_datagrams)] == [0, 0]


def test_a_socket_that_listens_stays() -> None:
    with socket.create_server(("127.0.0.9", 0)) as listener:
        abort_sockets([ip_address("127.0.0.9")])
        with socket.create_connection(listener.getsockname()):
            pass


def test_what_no_process_holds_any_more_ends() -> None:
    """What was written before the program ended: the kernel would go on to deliver it, for minutes."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        flow = socket.create_connection(listener.getsockname()[:2], source_address=("fd00::9", 0))
        accepted, _ = listener.accept()
        with accepted:
            flow.close()
            abort_sockets([ip_address("fd00::9")])
            assert "FIN-WAIT" not in states(), states()


def test_many_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=400) as listener:
        flows = [socket.create_connection(listener.getsockname(), source_address=("127.0.0.9", 0)) for _ in range(300)]
        abort_sockets([ip_address("127.0.0.9")])
        assert {outcome(flow) for flow in flows} == {errno.ECONNABORTED}
        for flow in flows:
            flow.close()


def states() -> str:
    """The connections of this namespace, as ss(8) lists them."""
    return subprocess.run(["ss", "-Hatn"], check=True, capture_output=True, text=True).stdout
