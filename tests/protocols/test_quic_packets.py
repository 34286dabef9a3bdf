"""Packets of a QUIC connection that are taken and made without aioquic's general way mean what they mean to it."""

from __future__ import annotations

import os
from random import Random

import pytest
from aioquic.quic import events
from hypothesis import given
from hypothesis import strategies as st
from test_quic_session import PIN, Pair

from tunflow.protocols.quic import connection as quic_connection
from tunflow.protocols.quic.fast_packets import only_stream_frame_untrusted
from tunflow.protocols.quic.session import QUICPeer

SIZE = 700_000


def pair_of(peer: QUICPeer | None = None) -> Pair:
    made = Pair(peer or QUICPeer("s.example", ("h3",), insecure=True, pinned=PIN))
    made.move()
    assert made.session.stands
    return made


class LossyPair:
    """A session and its server over a wire that loses, repeats and mixes up, as a seed says."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.pair = pair_of()
        self.up = b""
        self.down = b""

    def through(self, datagrams: list[bytes]) -> list[bytes]:
        kept = [each for each in datagrams if self.random.random() > 0.03]
        if kept and self.random.random() < 0.3:
            kept.append(self.random.choice(kept))
        if self.random.random() < 0.2:
            self.random.shuffle(kept)
        return kept

    def move(self, stream, left_up: bytes) -> bytes:
        """One round: some of what is left goes up; what is left then."""
        pair = self.pair
        now = pair.now = pair.now + 0.01
        if (room := min(stream.send_room, 60_000)) and left_up:
            stream.send([left_up[:room]], now)
            left_up = left_up[room:]
        if (when := pair.session.next_timeout()) is not None and when <= now:
            pair.session.handle_timeout(now)
        for datagram in self.through(pair.session.outgoing(now)):
            pair.server.receive_datagram(datagram, ("client", 1), now)
        while (event := pair.server.next_event()) is not None:
            if isinstance(event, events.StreamDataReceived):
                self.up += event.data
        if (when := pair.server.get_timer()) is not None and when <= now:
            pair.server.handle_timer(now)
        for datagram in self.through([data for data, _ in pair.server.datagrams_to_send(now)]):
            pair.session.receive_untrusted(datagram, now)
        while stream.readable:
            self.down += b"".join(stream.take(100_000))
        return left_up


@pytest.mark.parametrize("seed", range(4))
def test_bytes_arrive_whole_over_a_bad_wire(seed: int) -> None:
    wire = LossyPair(seed)
    stream = wire.pair.session.open_stream()
    up, down = os.urandom(SIZE), os.urandom(SIZE)
    left = wire.move(stream, up)
    rounds = 0
    has_sent = False
    while len(wire.up) < SIZE or len(wire.down) < SIZE:
        if wire.up and not has_sent:
            has_sent = True
            wire.pair.server.send_stream_data(stream.number, down)
        left = wire.move(stream, left)
        rounds += 1
        assert rounds < 20_000
        assert wire.pair.session.over is None
    assert (wire.up, wire.down) == (up, down)


def test_nearly_all_of_a_transfer_goes_this_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is fast here is what is used: else the others would be measured."""
    taken = []
    made = []
    take, write = quic_connection.take_stream_frame, quic_connection.write_full_packets
    monkeypatch.setattr(quic_connection, "take_stream_frame", lambda *given: taken.append(take(*given)) or taken[-1])

    def count(connection, builder, now):
        before = builder.packet_number
        write(connection, builder, now)
        made.append(builder.packet_number - before)

    monkeypatch.setattr(quic_connection, "write_full_packets", count)
    pair = pair_of()
    stream = pair.session.open_stream()
    stream.send([bytes(400_000)], pair.now)
    pair.move(200)
    assert len(pair.heard(stream)) == 400_000
    assert sum(made) * 1100 > 300_000
    pair.server.send_stream_data(stream.number, bytes(400_000))
    pair.move(200)
    assert stream.readable == 400_000
    assert sum(taken) * 1100 > 300_000


def test_a_forged_or_repeated_packet_is_none() -> None:
    pair = pair_of()
    stream = pair.session.open_stream()
    stream.send([b"x"], pair.now)
    pair.move(3)
    pair.server.send_stream_data(stream.number, bytes(1000))
    pair.now += 0.01
    (datagram,) = [data for data, _ in pair.server.datagrams_to_send(pair.now)]
    for at in (0, 5, 10, len(datagram) - 1):
        forged = bytearray(datagram)
        forged[at] ^= 0x10
        pair.session.receive_untrusted(bytes(forged), pair.now)
    assert stream.readable == 0
    pair.session.receive_untrusted(datagram, pair.now)
    pair.session.receive_untrusted(datagram, pair.now)
    assert stream.readable == 1000


def test_a_server_may_use_another_identifier_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """quic-go does when the handshake is over, and after some ten thousand packets."""
    taken = []
    take = quic_connection.take_stream_frame
    monkeypatch.setattr(quic_connection, "take_stream_frame", lambda *given: taken.append(take(*given)) or taken[-1])
    pair = pair_of()
    stream = pair.session.open_stream()
    stream.send([b"x"], pair.now)
    pair.move(3)
    pair.server.change_connection_id()
    pair.server.send_stream_data(stream.number, bytes(100_000))
    pair.move(60)
    assert stream.readable == 100_000
    assert sum(taken) * 1100 > 70_000


@given(st.binary(max_size=60))
def test_frames_are_what_they_say(payload: bytes) -> None:
    frame = only_stream_frame_untrusted(payload)
    if frame is not None:
        assert payload.endswith(frame.data)
        assert len(frame.data) + 2 <= len(payload)
        assert frame.is_last == bool(payload[0] & 1)
