"""The Shadowsocks server end to end on loopback: streams, their ends, and what strangers get."""

from __future__ import annotations

import contextlib
import os
import socket
from hashlib import sha256
from pathlib import Path
from typing import NoReturn

import pytest
from server_rig import LOOPBACK, at_end, is_reset, running, take, target_socket

from nobody import nobody_at
from open_files import open_files, opened_since
from tunflow.endpoint import Endpoint
from tunflow.errors import LocalError
from tunflow.inbound.budget import KEPT_FREE
from tunflow.inbound.pipe import READ_SIZE
from tunflow.inbound.server import InboundServer
from tunflow.loop.reactor import Reactor
from tunflow.protocols.shadowsocks.methods import METHODS
from tunflow.protocols.shadowsocks.settings import ShadowsocksServer


@pytest.mark.parametrize("method", sorted(METHODS))
def test_bytes_pass_both_ways_and_half_close_is_kept(method: str) -> None:
    sent = os.urandom(300_000)
    with running(method) as rig, target_socket() as (listening, target):
        client = rig.client(target)
        client.send(sent[:100_000])
        served = rig.accept(listening)
        client.send(sent[100_000:])
        client.socket.shutdown(socket.SHUT_WR)
        got = bytearray()

        def all_came() -> bool:
            got.extend(take(served))
            return len(got) == len(sent) and at_end(served)

        rig.until(all_came)
        assert got == sent
        served.sendall(b"after the end of the other direction")
        served.close()
        rig.until(lambda: client.poll() or client.ended)
        assert client.received == b"after the end of the other direction"
        rig.until(lambda: rig.server.descriptors_used == 0)
        assert rig.lines == []


def test_a_target_that_speaks_first_and_ends_first_is_heard() -> None:
    with running() as rig, target_socket() as (listening, target):
        client = rig.client(target)
        client.send()
        served = rig.accept(listening)
        served.sendall(b"banner")
        served.shutdown(socket.SHUT_WR)
        rig.until(lambda: client.poll() or client.ended)
        assert client.received == b"banner"
        client.send(b"still here")
        rig.until(lambda: take(served) == b"still here")


def test_a_header_that_comes_byte_by_byte() -> None:
    with running() as rig, target_socket() as (listening, target):
        client = rig.client(target)
        for byte in b"".join(client.codec.seal([b"x"])):
            client.socket.sendall(bytes((byte,)))
            rig.reactor.run_once(0.005)
        served = rig.accept(listening)
        rig.until(lambda: take(served) == b"x")


def test_a_name_is_resolved_by_the_server() -> None:
    with running() as rig, target_socket() as (listening, target):
        client = rig.client(Endpoint("localhost", target.port))
        client.send(b"by name")
        served = rig.accept(listening)
        rig.until(lambda: take(served) == b"by name")


def test_an_address_sent_as_a_name_is_taken_as_an_address() -> None:
    with running() as rig, target_socket() as (listening, target):
        rig.client(Endpoint("127.0.0.1", target.port)).send(b"")
        rig.accept(listening).close()


def test_rewrite_leads_elsewhere() -> None:
    wanted = Endpoint(socket.inet_aton("198.51.100.80"), 80)
    with target_socket() as (listening, target), running(rewrite={wanted: target}) as rig:
        rig.client(wanted).send(b"")
        rig.accept(listening).close()


def test_a_refused_target_resets_the_client_and_is_told_once() -> None:
    with nobody_at() as (_, port), running() as rig:
        target = Endpoint(LOOPBACK, port)
        for _ in range(3):
            client = rig.client(target)
            client.send(b"hello")
            rig.until(lambda client=client: is_reset(client.socket))
        assert rig.lines == [f"cannot reach {target}: Connection refused"]


def test_an_unknown_name_resets_the_client() -> None:
    with running() as rig:
        client = rig.client(Endpoint("no-such-host.invalid", 80))
        client.send(b"hello")
        rig.until(lambda: is_reset(client.socket))
        assert rig.lines == ["cannot reach no-such-host.invalid:80: no such name"]


def reset(stream: socket.socket) -> None:
    """Close with a reset."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    stream.close()


def test_a_reset_passes_on_in_both_directions() -> None:
    with running() as rig, target_socket() as (listening, target):
        client = rig.client(target)
        client.send(b"a")
        served = rig.accept(listening)
        reset(served)
        rig.until(lambda: is_reset(client.socket))
        client = rig.client(target)
        client.send()
        served = rig.accept(listening)
        reset(client.socket)
        rig.until(lambda: is_reset(served))


def test_a_stream_cut_within_a_record_is_not_taken_for_a_whole_one() -> None:
    with running() as rig, target_socket() as (listening, target):
        client = rig.client(target)
        client.send()
        served = rig.accept(listening)
        client.socket.sendall(b"".join(client.codec.seal([b"x" * 100]))[:-1])
        client.socket.shutdown(socket.SHUT_WR)
        rig.until(lambda: is_reset(served))
        assert len(rig.lines) == 1
        assert rig.lines[0].endswith("the stream ends within a record; stream reset")


def test_a_slow_reader_slows_the_sender_and_loses_nothing() -> None:
    size = 24 << 20
    data = os.urandom(1 << 16) * (size >> 16)
    with running() as rig, target_socket() as (listening, target):
        client = rig.client(target)
        client.send()
        served = rig.accept(listening)
        wire = memoryview(b"".join(client.codec.seal([data])))
        sent = stuck = 0
        while stuck < 20:
            try:
                sent += client.socket.send(wire[sent:])
                stuck = 0
            except BlockingIOError:
                stuck += 1
            rig.reactor.run_once(0.005)
        assert sent < len(wire), "the kernel's buffers took it all: the test proves nothing"
        assert 0 < rig.server.waiting <= READ_SIZE
        digest, got = sha256(), 0

        def all_came() -> bool:
            nonlocal sent, got
            if sent < len(wire):
                with contextlib.suppress(BlockingIOError):
                    sent += client.socket.send(wire[sent:])
            piece = take(served)
            digest.update(piece)
            got += len(piece)
            return got == size

        rig.until(all_came)
        assert digest.digest() == sha256(data).digest()


@pytest.mark.parametrize("amount", [1, 51, 5000])
def test_a_wrong_key_meets_silence(amount: int) -> None:
    with running() as rig:
        client = rig.client(Endpoint(LOOPBACK, 9), password="wrong")
        client.socket.sendall(b"".join(client.codec.seal([bytes(6000)]))[:amount])
        rig.settle()
        assert client.silent()
        client.socket.sendall(bytes(3000))
        rig.settle()
        assert client.silent()
        assert rig.server.descriptors_used
        client.socket.shutdown(socket.SHUT_WR)
        rig.until(lambda: rig.server.descriptors_used == 0)


def test_strangers_are_told_in_one_line_and_let_go_after_about_a_minute() -> None:
    with running(rng=lambda size: b"\x80" * size) as rig:  # the middle of what is drawn: a minute
        clients = [rig.client(Endpoint(LOOPBACK, 9), password="wrong") for _ in range(5)]
        clients.append(rig.client(Endpoint(LOOPBACK, 9)))  # says nothing at all
        for client in clients[:-1]:
            client.send(b"probe")
        rig.until(lambda: rig.server.counters.refused == 5)
        rig.settle()
        assert len(rig.lines) == 1
        rig.ahead = 44
        rig.reactor.run_once(0)
        assert all(client.silent() for client in clients)
        rig.ahead = 76
        rig.reactor.run_once(0)
        assert all(at_end(client.socket) for client in clients)
        assert rig.server.descriptors_used == 0


def test_a_replayed_stream_meets_silence() -> None:
    with running() as rig, target_socket() as (listening, target):
        client = rig.client(target)
        recorded = client.send(b"once only")
        rig.accept(listening)
        with socket.create_connection(("127.0.0.1", rig.port)) as prober:
            prober.sendall(recorded)
            prober.setblocking(False)
            rig.until(lambda: rig.server.counters.refused == 1)
            with pytest.raises(BlockingIOError):
                prober.recv(1)
            with pytest.raises(BlockingIOError):
                listening.accept()
        assert rig.server.counters.streams == 1


def test_at_the_descriptor_limit_connections_wait_and_strangers_go_first() -> None:
    with running(descriptors=KEPT_FREE + 8) as rig, target_socket() as (listening, target):
        stranger = rig.client(target, password="wrong")
        stranger.send(b"probe")
        quiet = rig.client(target)
        rig.until(lambda: rig.server.counters.refused == 1)
        clients = [rig.client(target) for _ in range(5)]
        for client in clients:
            client.send(b"x")
        served = [rig.accept(listening) for _ in range(3)]
        assert at_end(stranger.socket)
        rig.settle()
        with pytest.raises(BlockingIOError):
            listening.accept()
        assert quiet.silent(), "who has just come is given time to name a target"
        assert [line for line in rig.lines if "wait until others end" in line] == rig.lines[1:]
        assert len(rig.lines) == 2
        served[0].close()
        clients[0].socket.close()
        served.append(rig.accept(listening))
        rig.ahead = 6
        rig.reactor.run_once(0)
        rig.reactor.run_once(0)
        assert at_end(quiet.socket)
        rig.accept(listening).close()


def without_descriptors(_: socket.socket) -> NoReturn:
    """As `accept` in a process without a free descriptor."""
    raise OSError(24, "Too many open files")


def test_the_system_s_refusal_of_descriptors_is_survived() -> None:
    with running() as rig, target_socket() as (listening, target):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket.socket, "accept", without_descriptors)
            client = rig.client(target)
            client.send(b"x")
            rig.until(lambda: len(rig.lines) == 1)
            rig.settle()
        assert rig.lines == ["Too many open files: new connections wait until others end"]
        rig.ahead = 1.1
        rig.reactor.run_once(0)
        rig.accept(listening).close()


def test_closing_gives_everything_back() -> None:
    before = open_files()
    with target_socket() as (listening, target), running() as rig:
        client = rig.client(target)
        client.send(b"x")
        served = rig.accept(listening)
        rig.until(lambda: take(served) == b"x")
        rig.server.close()
        assert is_reset(client.socket)
        assert is_reset(served)
        client.socket.close()
        served.close()
    assert not opened_since(before)


@pytest.mark.parametrize(
    ("host", "says"), [("192.0.2.1", "not an address of this machine"), ("no-such-host.invalid", "no such host")]
)
def test_where_it_cannot_listen_is_one_clear_line(host: str, says: str) -> None:
    with pytest.raises(LocalError, match=says) as caught:
        InboundServer(Reactor(), ShadowsocksServer(host, 1, "aes-128-gcm", "x"), log=print)
    assert "\n" not in str(caught.value)


def test_a_port_in_use_is_one_clear_line() -> None:
    with target_socket() as (_, taken):
        spec = ShadowsocksServer("127.0.0.1", taken.port, "aes-128-gcm", "x")
        with pytest.raises(LocalError, match=f"127.0.0.1:{taken.port}: the port is in use"):
            InboundServer(Reactor(), spec, log=print)


def test_an_empty_host_listens_on_both_families() -> None:
    server = InboundServer(reactor := Reactor(), ShadowsocksServer("", 0, "aes-128-gcm", "x"), log=print)
    port = server.addresses[0].port
    hosts = ["127.0.0.1", "::1"] if Path("/proc/net/if_inet6").exists() else ["127.0.0.1"]
    for host in hosts:
        socket.create_connection((host, port)).close()
    server.close()
    reactor.close()
