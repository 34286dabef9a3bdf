"""TUIC: its commands, what it says in a connection, links and Clash entries."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket, LocalError
from tunflow.protocols.registry import clash_server, parse_server
from tunflow.protocols.tuic import commands
from tunflow.protocols.tuic.dialect import TUICDialect

USER = "01234567-89ab-cdef-0123-456789abcdef"
TARGET = Endpoint("example.com", 443)


@pytest.mark.parametrize(
    ("target", "wire"),
    [
        (TARGET, b"\x00\x0bexample.com\x01\xbb"),
        (Endpoint(b"\x7f\0\0\x01", 80), b"\x01\x7f\0\0\x01\0P"),
        (Endpoint(bytes(15) + b"\x01", 80), b"\x02" + bytes(15) + b"\x01\0P"),
    ],
)
def test_a_stream_begins_with_its_target(target, wire):
    codec = commands.connect(target)
    assert codec.seal([b"flow"]) == [b"\x05\x01" + wire, b"flow"]
    assert codec.transparent
    assert commands.read_address_untrusted(wire, 0) == (target, len(wire))
    for size in range(len(wire)):
        with pytest.raises(BadPacket):
            commands.read_address_untrusted(wire[:size], 0)


class Connection:
    """What a dialect uses of a connection."""

    largest_datagram = 100

    def __init__(self):
        self.streams, self.datagrams = [], []

    def export_key(self, label, context, size):
        assert (label, context) == (UUID(USER).bytes, b"secret")
        return b"T" * size

    def get_next_available_stream_id(self, is_unidirectional):
        assert is_unidirectional
        return 2 + 4 * len(self.streams)

    def send_stream_data(self, stream, data, end_stream):
        assert end_stream
        self.streams.append(data)

    def queue_datagram(self, data):
        self.datagrams.append(data)
        return True


@pytest.mark.parametrize("by_streams", [False, True])
@given(payload=st.binary(max_size=2000))
def test_datagrams_arrive_in_pieces_or_in_streams(by_streams, payload):
    connection, got = Connection(), []
    dialect = TUICDialect(UUID(USER).bytes, "secret", by_streams=by_streams)
    dialect.begin(connection)
    assert connection.streams == [b"\x05\x00" + UUID(USER).bytes + b"T" * 32]
    flow = dialect.open_flow(got.extend)
    assert flow.send(TARGET, [payload]) == 0
    sent = connection.streams[1:] if by_streams else connection.datagrams
    assert by_streams or all(len(each) <= 100 for each in sent)
    for each in sent:
        dialect.datagram_untrusted(each)
    assert [(each.peer, bytes(each.payload)) for each in got] == [(TARGET, payload)]
    flow.close()
    assert connection.streams[-1] == b"\x05\x03\x00\x00"
    assert not dialect.has_flows


@given(st.binary(max_size=80))
def test_what_is_no_packet_is_dropped(data):
    dialect = TUICDialect(UUID(USER).bytes, "secret", by_streams=False)
    dialect.begin(Connection())
    dialect.open_flow([].extend)
    dialect.datagram_untrusted(data)
    dialect.datagram_untrusted(b"\x05\x02" + data)


LINKS = [
    f"tuic://{USER}:p%40ss@h.example:443#name",
    f"tuic://{USER}:p@h.example:443?congestion_control=bbr&udp_relay_mode=quic&alpn=h3%2Cx&sni=s&allow_insecure=1&udp=no",
]


@pytest.mark.parametrize("link", LINKS)
def test_links_come_back_as_they_were(link):
    assert parse_server(link).to_link() == link
    assert USER not in repr(parse_server(link))


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ("tuic://h.example:443", "has no UUID and password"),
        ("tuic://x:S3CRET@h.example:443", "is no UUID"),
        (f"tuic://{USER}:S3CRET@h.example?udp_relay_mode=x", "udp_relay_mode is one of native, quic"),
        (f"tuic://{USER}:S3CRET@h.example?congestion_control=x", "congestion_control is one of cubic"),
        (f"tuic://{USER}:S3CRET@h.example?what=x", "unknown parameter 'what'"),
    ],
)
def test_links_that_cannot_be_done_are_refused(link, words):
    with pytest.raises(LocalError, match=words) as caught:
        parse_server(link)
    assert "S3CRET" not in str(caught.value)


def test_a_clash_entry_is_the_same_server():
    entry = {"name": "name", "type": "tuic", "server": "h.example", "port": "443", "uuid": USER, "password": "p@ss"}
    server, unread = clash_server({**entry, "alpn": ["h3"], "reduce-rtt": "true"})
    assert not unread
    assert server == parse_server(LINKS[0])
    with pytest.raises(LocalError, match="version 4"):
        clash_server({**entry, "token": "t"})
