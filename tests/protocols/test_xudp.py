"""XUDP: frames of mux.cool with datagrams, in streams of VLESS and VMess."""

from __future__ import annotations

import pytest

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket, LocalError
from tunflow.outbound.chain import make_outbound
from tunflow.protocols.codec import Datagram
from tunflow.protocols.contract import FramedDatagrams
from tunflow.protocols.registry import clash_server, parse_server
from tunflow.protocols.vless.stream import VLESSClient
from tunflow.protocols.xudp import COMMAND, LONGEST, XUDPFrames, parse_port_and_address_untrusted, port_and_address

V4, NAME = Endpoint(b"\x0a\0\0\x01", 53), Endpoint("a.example", 443)
USER = "01234567-89ab-cdef-0123-456789abcdef"


def test_the_first_frame_begins_the_session_and_the_others_keep_it():
    frames = XUDPFrames()
    assert b"".join(frames.seal(V4, b"one")) == b"\0\x0c\0\0\x01\x01\x02\x005\x01\x0a\0\0\x01\0\x03one"
    assert b"".join(frames.seal(NAME, b"two")) == b"\0\x12\0\0\x02\x01\x02\x01\xbb\x02\x09a.example\0\x03two"
    for payload in (b"", bytes(LONGEST + 1)):
        with pytest.raises(BadPacket, match="XUDP takes datagrams of 1 to"):
            frames.seal(V4, payload)


@pytest.mark.parametrize("step", [None, 1, 5])
def test_both_ends_understand_each_other(step):
    client, server = XUDPFrames(), XUDPFrames(answers=True)
    data = b"".join([*client.seal(V4, b"one"), *client.seal(NAME, b"two")])
    data += b"\0\x04\0\0\x04\0" + b"\0\x04\0\0\x02\x01\0\x03end"  # keep alive, and a frame about the last peer
    out, waiting = [], b""
    for at in range(0, len(data), step or len(data)):
        waiting += data[at : at + (step or len(data))]
        found, used = server.open_untrusted(memoryview(waiting))
        waiting = waiting[used:]
        out += found
    assert out == [Datagram(V4, b"one"), Datagram(NAME, b"two"), Datagram(NAME, b"end")]
    assert b"".join(server.seal(V4, b"one"))[4] == 2
    with_id = b"\0\x14\0\0\x01\x01\x02\x005\x01\x0a\0\0\x01" + bytes(8) + b"\0\x01a"  # Xray's clients name themselves
    assert XUDPFrames().open_untrusted(memoryview(with_id))[0] == [Datagram(V4, b"a")]


@pytest.mark.parametrize(
    "data",
    [
        b"\0\x03\0\0\x02",
        b"\0\x04\0\0\x03\0",
        b"\0\x04\0\0\x09\0",
        b"\0\x05\0\0\x01\0\x01",
        b"\0\x06\0\0\x02\0\x02\0",
    ],
)
def test_frames_that_are_none(data):
    with pytest.raises(BadPacket):
        XUDPFrames().open_untrusted(memoryview(data))


@pytest.mark.parametrize("target", [V4, NAME, Endpoint(bytes(15) + b"\x01", 1)])
def test_addresses(target):
    data = memoryview(port_and_address(target))
    assert parse_port_and_address_untrusted(data) == (target, len(data))
    assert all(parse_port_and_address_untrusted(data[:size]) is None for size in range(len(data)))
    with pytest.raises(BadPacket, match="address type 9"):
        parse_port_and_address_untrusted(memoryview(b"\0\x35\x09\0"))


def test_a_request_for_it_has_no_address():
    assert b"".join(VLESSClient(V4, bytes(16), COMMAND).seal([])) == bytes(18) + b"\x03"


def test_who_asks_for_it():
    for scheme in ("vless", "vmess"):
        server = parse_server(f"{scheme}://{USER}@192.0.2.1:1?packetEncoding=xudp")
        assert server.xudp
        assert parse_server(server.to_link()) == server
        way = make_outbound([server]).datagrams()
        assert isinstance(way, FramedDatagrams)
        assert not way.is_per_target
        with pytest.raises(LocalError, match="packetEncoding=packetaddr is not supported; none and xudp are"):
            parse_server(f"{scheme}://{USER}@h:1?packetEncoding=packetaddr")
    entry = {"name": "n", "type": "vless", "server": "h", "port": "1", "uuid": USER}
    assert clash_server({**entry, "packet-encoding": "xudp"})[0].xudp
    assert clash_server({**entry, "xudp": "true"})[0].xudp
    with pytest.raises(LocalError, match="packet-addr is not supported"):
        clash_server({**entry, "packet-addr": "true"})
