"""A flow from a scripted client through the driver to a real socket on loopback, and back."""

from __future__ import annotations

import errno
import os
import socket
import struct

import pytest
from driver_rig import DriverRig, LoopbackDialer

from nobody import nobody_at
from tunflow.outbound.chain import make_outbound
from tunflow.protocols.shadowsocks.settings import ShadowsocksServer
from tunflow.wire import tcp
from tunflow.wire.tcp import ACK, FIN, PSH, RST, SYN, Options


class Bench(DriverRig):
    """With a listener on loopback."""

    def __init__(self, dialer=None, listening=True):
        self.listener = socket.create_server(("127.0.0.1", 0))
        super().__init__(dialer or LoopbackDialer(), self.listener.getsockname()[1])
        if not listening:
            self.listener.close()
        self.far = None

    def receive(self, count=1):
        """The next `count` segments from the stack."""
        segments = []

        def enough():
            segments.extend(self.answers())
            return len(segments) >= count

        self.until(enough)
        return segments

    def establish(self):
        self.send(SYN, seq=0, options=Options(mss=1460, window_scale=7))
        (answer,) = self.receive()
        assert answer.flags == "SA"
        self.send(ACK, seq=1, ack=1, window=512)
        self.far, _ = self.listener.accept()
        self.far.settimeout(60)

    def far_reads(self, size):
        """Bytes that arrive at the far side, while the loop runs."""
        self.far.setblocking(False)
        got = bytearray()

        def enough():
            try:
                piece = self.far.recv(size - len(got))
            except BlockingIOError:
                return False
            got.extend(piece)
            return not piece or len(got) >= size

        self.until(enough)
        return bytes(got)

    def close(self):
        if self.far is not None:
            self.far.close()
        self.listener.close()
        super().close()


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.close()


@pytest.fixture
def sleeps(bench, monkeypatch):
    """How often the loop was asked for a sleep; the connection stands."""
    asked = []
    bench.establish()
    monkeypatch.setattr(bench.reactor, "sleep_next", lambda: asked.append(1))
    return asked


@pytest.mark.interpreted
@pytest.mark.parametrize(("size", "is_bulk"), [(8 * 1024, False), (32 * 1024, True)])
def test_after_a_super_segment_up_the_loop_sleeps(bench, sleeps, size, is_bulk):
    bench.send(ACK | PSH, seq=1, ack=1, payload=bytes(size))
    assert bench.far_reads(size) == bytes(size)
    assert bool(sleeps) == is_bulk


@pytest.mark.interpreted
@pytest.mark.parametrize(("size", "is_bulk"), [(8 * 1024, False), (32 * 1024, True)])
def test_after_as_much_down_the_loop_sleeps(bench, sleeps, size, is_bulk):
    bench.far.sendall(bytes(size))
    assert bench.receive()
    assert bool(sleeps) == is_bulk


def test_bytes_both_ways_and_an_orderly_end(bench):
    bench.establish()
    bench.send(ACK | PSH, seq=1, ack=1, payload=b"question")
    assert bench.far_reads(8) == b"question"
    bench.far.sendall(b"answer")
    (segment,) = bench.receive()
    assert segment.payload == b"answer"
    bench.send(ACK | FIN, seq=9, ack=7, window=512)
    assert bench.far_reads(1) == b""
    bench.far.close()
    assert any("F" in segment.flags for segment in bench.receive())
    bench.send(ACK, seq=10, ack=8)
    bench.until(lambda: not bench.slots.relays and not bench.stack.connections)


def test_the_far_side_closes_first_and_still_gets_the_clients_last_bytes(bench):
    bench.establish()
    bench.far.shutdown(socket.SHUT_WR)
    (segment,) = bench.receive()
    assert segment.flags == "FA"
    bench.send(ACK, seq=1, ack=2, window=512)
    bench.send(ACK | FIN | PSH, seq=1, ack=2, payload=b"last words", window=512)
    assert bench.far_reads(100) == b"last words"
    assert bench.far_reads(1) == b""  # an end, not a reset
    bench.until(lambda: not bench.slots.relays)


def test_bytes_behind_urgent_data_and_in_front_of_the_end_arrive(bench):
    # recv(2) stops in front of urgent data: a short read is not the end though FIN has arrived (tcp(7), EPOLLPRI).
    bench.establish()
    bench.far.sendall(b"before")
    bench.far.send(b"!", socket.MSG_OOB)
    bench.far.sendall(b"behind")
    bench.far.close()
    got = {}

    def all_came():
        for packet in bench.card.read(100):
            segment = bench.client.parse(packet)
            got[segment.seq] = segment.payload
            if "F" in segment.flags:
                return True
        return False

    bench.until(all_came)
    assert b"".join(got[seq] for seq in sorted(got)) == b"beforebehind"


def test_nagle_is_turned_off_when_a_flow_sends_a_second_time(bench):
    # RFC 9293 §3.7.4: the first small segment is never held back, the next one would be.
    bench.establish()
    (relay,) = bench.slots.relays

    sock = socket.socket(fileno=os.dup(relay.fileno()))

    def is_off():
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    bench.send(ACK | PSH, seq=1, ack=1, payload=b"one")
    assert bench.far_reads(3) == b"one"
    assert not is_off()
    bench.send(ACK | PSH, seq=4, ack=1, payload=b"two")
    assert bench.far_reads(3) == b"two"
    assert is_off()


def test_refused_is_refused():
    bench = Bench(listening=False)
    bench.send(SYN, seq=0)
    (answer,) = bench.receive()
    assert answer.flags == "RA"
    assert bench.context.statistics.tcp_failed == 1
    assert not bench.slots.relays
    bench.close()


def test_a_reset_from_the_client_resets_the_far_side(bench):
    bench.establish()
    bench.send(RST, seq=1)
    bench.until(lambda: not bench.slots.relays)
    with pytest.raises(ConnectionResetError):
        bench.far.recv(1)


def test_a_reset_from_the_far_side_resets_the_client(bench):
    bench.establish()
    bench.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    bench.far.close()
    assert bench.receive()[-1].flags == "RA"
    assert bench.stack.connections == 0


def test_a_far_side_that_does_not_read_slows_the_client(bench):
    bench.establish()
    bench.far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sent = 0
    window = 65535
    while window > 0 and sent < 64 << 20:
        size = min(1460, window)
        bench.send(ACK, seq=1 + sent, ack=1, payload=bytes(size), window=512)
        sent += size
        bench.reactor.run_once(0.01)
        for packet in bench.card.read(100):
            segment = bench.client.parse(packet)
            window = (segment.window << 7) - (1 + sent - segment.ack)
    assert window <= 0
    assert sum(relay.connection.readable for relay in bench.slots.relays) <= bench.stack.receive_limit


def test_no_descriptor_means_wait_not_refused(bench, monkeypatch):
    def none_left(*_args, **_kwargs):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr("tunflow.loop.sockets.socket.SocketType", none_left)
        bench.send(SYN, seq=0)
        bench.until(lambda: bench.lines)
    assert bench.card.read(10) == []
    assert "ulimit -n" in bench.lines[0]
    bench.send(SYN, seq=0)  # the client's kernel tries again
    (answer,) = bench.receive()
    assert answer.flags == "SA"


def test_a_proxy_that_is_down_is_named_once_and_refuses_the_client():
    with nobody_at() as (_, port):
        bench = Bench(make_outbound([ShadowsocksServer("127.0.0.1", port, "aes-128-gcm", "secret")]))
        bench.send(SYN, seq=0)
        (answer,) = bench.receive()
    assert answer.flags == "RA"
    (line,) = bench.lines
    assert f"127.0.0.1:{port}" in line
    assert "refused" in line
    assert "secret" not in line
    bench.close()


def test_junk_from_a_proxy_resets_the_flow_and_only_that():
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    bench = Bench(make_outbound([ShadowsocksServer("127.0.0.1", port, "aes-128-gcm", "secret")]))
    bench.listener = listener
    bench.establish()
    assert len(bench.far_reads(16 + 18 + 23)) == 57  # salt, sealed length, sealed address: nobody spoke first
    bench.far.sendall(bytes(200))
    assert bench.receive()[-1].flags == "RA"
    assert "check the password" in bench.lines[0]
    assert bench.stack.connections == 0
    bench.close()


def test_a_proxy_that_ends_a_flow_whose_client_has_not_spoken_is_told_of():
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    bench = Bench(make_outbound([ShadowsocksServer("127.0.0.1", port, "aes-128-gcm", "secret")]))
    bench.listener = listener
    bench.establish()
    bench.context.openings.handle_timeout(bench.reactor.now + 1)
    bench.far.close()  # with what it has not read: a reset
    bench.until(lambda: not bench.slots.relays)
    assert "check the password" in bench.lines[0]
    bench.close()


def test_a_proxy_that_resets_before_it_is_told_the_target_resets_the_flow():
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    bench = Bench(make_outbound([ShadowsocksServer("127.0.0.1", port, "aes-128-gcm", "secret")]))
    bench.listener = listener
    bench.establish()
    (relay,) = bench.slots.relays
    with socket.socket(fileno=os.dup(relay.fileno())) as sock:
        sock.shutdown(socket.SHUT_WR)  # as good as gone: the next write fails
    bench.context.openings.handle_timeout(bench.reactor.now + 1)
    assert "R" in bench.receive()[-1].flags
    assert not bench.slots.relays
    bench.close()


def test_a_flow_that_lasts_is_kept_alive(bench, monkeypatch):
    monkeypatch.setattr("tunflow.dataplane.slots.SETTLED_AFTER", 0.01)
    bench.establish()
    (relay,) = bench.slots.relays
    with socket.socket(fileno=os.dup(relay.fileno())) as sock:
        bench.until(lambda: sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


def test_nothing_but_tcp_flags_confuses_the_driver(bench):
    bench.card.write([[bytes(10), b"\x45"], [bytes(10), bytes(60)], [bytes(10), bench.client.packet(tcp.URG, seq=5)]])
    assert [segment.flags for segment in bench.receive()] == ["RA"]  # a segment of no connection
    bench.establish()
