"""A QUIC session against aioquic's server, both in memory: streams, windows, ends, datagrams and who is trusted."""

from __future__ import annotations

import datetime
from hashlib import sha256

import pytest
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tunflow.protocols.quic.connection import WINDOW
from tunflow.protocols.quic.session import QUICMachine, QUICPeer
from tunflow.protocols.quic.stream import SEND_ROOM


def make_certificate():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "s.example")])
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("s.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return made, key


CERTIFICATE, KEY = make_certificate()
PIN = sha256(CERTIFICATE.public_bytes(Encoding.DER)).hexdigest()


class Words:
    """A dialect without any."""

    signed_in = False
    advice = "check the password"
    refused = None
    has_flows = False

    def __init__(self):
        self.datagrams = []
        self.connection = None

    def begin(self, connection):
        self.connection = connection
        self.signed_in = True

    def heard_untrusted(self, event):
        pass

    def datagram_untrusted(self, data):
        self.datagrams.append(data)

    def keep_alive(self):
        pass


class Pair:
    """A session and its server, whose datagrams arrive at once."""

    def __init__(self, peer):
        self.now = 0.0
        self.words = Words()
        self.session = QUICMachine(peer, self.words, 1200)
        self.server = None
        self.events = []
        self.session.connect(self.now)

    def move(self, rounds=40):
        for _ in range(rounds):
            self.now += 0.01
            when = self.session.next_timeout()
            if when is not None and when <= self.now:
                self.session.handle_timeout(self.now)
            up = self.session.outgoing(self.now)
            for datagram in up:
                self._to_server(datagram)
            if self.server is not None:
                when = self.server.get_timer()
                if when is not None and when <= self.now:
                    self.server.handle_timer(self.now)
                for datagram, _ in self.server.datagrams_to_send(self.now):
                    self.session.receive_untrusted(datagram, self.now)

    def _to_server(self, datagram):
        if self.server is None:
            configuration = QuicConfiguration(
                is_client=False, alpn_protocols=["h3"], certificate=CERTIFICATE, private_key=KEY
            )
            configuration.max_datagram_frame_size = 65535
            self.server = QuicConnection(
                configuration=configuration, original_destination_connection_id=datagram[6 : 6 + datagram[5]]
            )
        self.server.receive_datagram(datagram, ("client", 1), self.now)
        while (event := self.server.next_event()) is not None:
            self.events.append(event)

    def heard(self, stream):
        found = [each for each in self.events if isinstance(each, events.StreamDataReceived)]
        return b"".join(each.data for each in found if each.stream_id == stream.number)


@pytest.fixture
def pair():
    made = Pair(QUICPeer("s.example", ("h3",), insecure=True, pinned=PIN))
    made.move()
    assert made.session.stands
    return made


def take_all(stream):
    return b"".join(b"".join(stream.take(100_000)) for _ in range(1 + stream.readable // 100_000))


def test_bytes_go_both_ways_and_each_way_ends_for_itself(pair):
    stream = pair.session.open_stream()
    stream.send([b"up ", b"stream"], pair.now)
    assert stream.unacknowledged == 9
    assert not pair.session.is_drained
    pair.move()
    assert pair.heard(stream) == b"up stream"
    assert stream.unacknowledged == 0
    stream.close_write(pair.now, [b"!"])
    assert stream.unacknowledged == 2
    pair.server.send_stream_data(stream.number, b"down", end_stream=True)
    pair.move()
    assert stream in pair.session.changed
    assert (stream.readable, stream.at_eof) == (4, False)
    assert stream.take(3) == [b"dow"]
    assert take_all(stream) == b"n"
    assert stream.at_eof
    assert stream.closed
    assert not stream.was_reset
    assert pair.heard(stream) == b"up stream!"
    assert not pair.session.is_used
    assert pair.session.is_drained


def test_only_what_the_servers_keys_opened_counts_as_heard(pair):
    heard = pair.session.heard_at
    reset_of_a_server_started_anew = b"\x40" + bytes(range(1, 60))
    pair.session.receive_untrusted(reset_of_a_server_started_anew, pair.now + 1)
    pair.session.receive_untrusted(b"", pair.now + 1)
    assert pair.session.heard_at == heard
    pair.server.send_ping(1)
    pair.move()
    assert pair.session.heard_at > heard


def test_a_server_waits_for_who_does_not_take(pair):
    stream = pair.session.open_stream()
    stream.send([b"?"], pair.now)
    pair.move()
    pair.server.send_stream_data(stream.number, bytes(3 * WINDOW))
    pair.move(3000)
    assert stream.readable == WINDOW  # and no more, however long nobody takes
    got = 0
    for _ in range(12):
        got += len(take_all(stream))
        pair.move(300)
    assert got + stream.readable == 3 * WINDOW


def test_there_is_room_again_when_the_server_has_acknowledged(pair):
    stream = pair.session.open_stream()
    stream.send([bytes(SEND_ROOM)], pair.now)
    assert stream.send_room == 0
    pair.move(1000)
    assert stream.send_room == SEND_ROOM
    assert stream in pair.session.changed


def test_a_server_that_reads_no_more_may_still_send(pair):
    stream = pair.session.open_stream()
    stream.send([b"request"], pair.now)
    pair.move()
    pair.server.stop_stream(stream.number, 0)
    pair.server.send_stream_data(stream.number, b"answer", end_stream=True)
    pair.move()
    assert take_all(stream) == b"answer"
    assert stream.closed
    assert not stream.was_reset


def test_a_reset_is_one(pair):
    stream = pair.session.open_stream()
    stream.send([b"request"], pair.now)
    pair.move()
    pair.server.reset_stream(stream.number, 0)
    pair.move()
    assert stream.closed
    assert stream.was_reset


def test_what_is_given_up_is_reset_at_the_server(pair):
    stream = pair.session.open_stream()
    stream.send([b"request"], pair.now)
    pair.move()
    stream.abort()
    assert stream.closed
    pair.move()
    assert any(isinstance(each, events.StreamReset) for each in pair.events)
    assert not pair.session.is_used


def test_datagrams_go_both_ways(pair):
    assert pair.words.connection.queue_datagram(bytes(pair.words.connection.largest_datagram))
    pair.server.send_datagram_frame(b"down")
    pair.move()
    assert [len(each.data) for each in pair.events if isinstance(each, events.DatagramFrameReceived)] == [
        pair.words.connection.largest_datagram
    ]
    assert pair.words.datagrams == [b"down"]


def test_the_end_of_the_connection_ends_its_streams(pair):
    stream = pair.session.open_stream()
    pair.server.close(error_code=7, reason_phrase="enough")
    pair.move()
    assert pair.session.over == "it closed the connection (enough): check the password"
    assert stream.was_reset
    assert stream in pair.session.changed


@pytest.mark.parametrize(
    ("peer", "words"),
    [
        (QUICPeer("s.example", ("h3",)), "the server's certificate is not valid"),
        (QUICPeer("s.example", ("h3",), insecure=True, pinned="00" * 32), "not the pinned one"),
        (QUICPeer("s.example", ("other",), insecure=True), "does not speak other"),
    ],
)
def test_who_is_not_trusted_is_told_nothing(peer, words):
    pair = Pair(peer)
    pair.move()
    assert words in pair.session.over
    assert not pair.words.signed_in
