"""VLESS's flow control: blocks of padding, the flow's own TLS, and where it leaves the outer one."""

from __future__ import annotations

import random
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from talk import hear, said

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.codec import ProxyRefused
from tunflow.protocols.vless.inner_tls import InnerTLS, Inside
from tunflow.protocols.vless.padding import Padding, PaddingCommand, Unpadding
from tunflow.protocols.vless.stream import VISION, VLESSClient
from tunflow.protocols.vless.vision import VisionClient

USER = bytes(range(16))
REQUEST = b"\0" + USER + b"\x12\x0a\x10xtls-rprx-vision\x01\x01\xbb\x02\x0bexample.com"
CLIENT_HELLO = b"\x16\x03\x01\x00\x06\x01\0\0\x02\x03\x03"
SESSION = bytes(32)


def record(kind: int, body: bytes) -> bytes:
    return bytes((kind, 3, 3)) + len(body).to_bytes(2, "big") + body


def server_hello(version: bytes | None, suite: int = 0x1301) -> bytes:
    extensions = b"" if version is None else b"\x00\x2b\x00\x02" + version
    body = b"\x03\x03" + bytes(32) + b"\x20" + SESSION + suite.to_bytes(2, "big") + b"\0"
    body += len(extensions).to_bytes(2, "big") + extensions
    return record(22, b"\x02" + len(body).to_bytes(3, "big") + body)


def plain_block(content: bytes, padding: int, command: int, user: bytes = b"") -> bytes:
    head = bytes((command,)) + len(content).to_bytes(2, "big") + padding.to_bytes(2, "big")
    return user + head + content + bytes(padding)


class Outer:
    """TLS in records that hide nothing; what is no whole record of its own is a fault."""

    transparent = False

    def __init__(self, *, is_tls13: bool = True) -> None:
        self.established = False
        self.is_tls13 = is_tls13

    def seal(self, pieces):
        return [record(23, b"sealed" + bytes(piece)) for piece in pieces if len(piece)]

    def open_untrusted(self, data):
        whole = bytes(data)
        opened = []
        while len(whole) >= 5 and len(whole) >= (end := 5 + int.from_bytes(whole[3:5], "big")):
            body, whole = whole[5:end], whole[end:]
            if body == b"stands":
                self.established = True
            elif body.startswith(b"sealed"):
                opened.append(body[6:])
            else:
                raise BadPacket("not sealed by us")
        return opened, len(data) - len(whole)

    def finish(self):
        return [record(21, b"sealed\x01\0")]


STANDS = record(23, b"stands")


def sealed(data: bytes) -> bytes:
    return record(23, b"sealed" + data)


def unsealed(wire: bytes) -> bytes:
    """What was sealed; what was not is an error."""
    opened, used = Outer().open_untrusted(memoryview(wire))
    assert used == len(wire)
    return b"".join(opened)


def client(*, stands: bool = True) -> VisionClient:
    outer = Outer()
    outer.established = stands
    request = VLESSClient(Endpoint("example.com", 443), USER, addons=VISION)
    return VisionClient(outer, request, USER, random.Random(1).randbytes)


def up(codec: VisionClient, data: bytes) -> bytes:
    return b"".join(codec.seal([data]))


def test_the_first_words_are_the_request_and_a_block_in_one_record():
    codec = client()
    wire = up(codec, b"GET /")
    inside = unsealed(wire)
    assert wire == sealed(inside)
    assert inside.startswith(REQUEST + USER + b"\0\0\x05")
    assert inside[len(REQUEST) + 21 :].startswith(b"GET /\0")
    size = int.from_bytes(inside[len(REQUEST) + 19 : len(REQUEST) + 21], "big")
    assert len(inside) == len(REQUEST) + 21 + 5 + size


def test_a_server_that_speaks_first_is_told_by_an_empty_long_block():
    codec = client()
    inside = unsealed(said(codec))
    assert inside.startswith(REQUEST + USER + b"\0\0\0")
    assert len(inside) >= len(REQUEST) + 21 + 900
    assert said(codec) == b""
    assert unsealed(up(codec, b"late"))[:3] == b"\0\0\x04"


def size_of_block(seed: int, *, is_long: bool) -> int:
    (block,) = Padding(b"", random.Random(seed).randbytes).blocks(b"x", PaddingCommand.END, is_long=is_long)
    return len(block)


def test_a_greeting_is_padded_to_be_longer_than_any():
    longs = [size_of_block(seed, is_long=True) for seed in range(50)]
    assert 905 <= min(longs) < max(longs) < 905 + 500
    assert max(size_of_block(seed, is_long=False) for seed in range(50)) < 6 + 256


@given(
    st.binary(max_size=20000),
    st.sampled_from(PaddingCommand),
    st.booleans(),
    st.integers(50, 5000),
    st.binary(max_size=9),
)
def test_blocks_open_to_what_they_were_made_of(content, command, is_long, step, rest):
    padding, opened = Padding(USER, random.Random(2).randbytes), Unpadding(USER)
    blocks = padding.blocks(content, command, is_long=is_long)
    assert all(len(each) <= 8192 for each in blocks)
    wire = b"".join(blocks) + (rest if command is not PaddingCommand.CONTINUE else b"")
    found = b"".join(opened.open_untrusted(wire[at : at + step]) for at in range(0, len(wire), step))
    assert found == content + (rest if command is not PaddingCommand.CONTINUE else b"")
    assert opened.command is padding.command is command


@pytest.mark.parametrize("wire", [b"HTTP/1.1 400", USER[:8] + bytes(8), USER + b"\3\0\0\0\0"])
def test_what_is_not_padded_is_refused(wire):
    with pytest.raises(BadPacket, match=r"not padded|which is none"):
        Unpadding(USER).open_untrusted(wire)


@pytest.mark.parametrize("step", [None, 1, 7, 100])
def test_tls13_inside_leaves_the_outer_one_both_ways(step):
    codec = client()
    unsealed(up(codec, CLIENT_HELLO))
    hello = server_hello(b"\x03\x04")
    head = b"\0\0" + plain_block(hello, 20, 0, USER)
    assert hear(codec, sealed(head[:30]) + sealed(head[30:]), step) == hello
    finished = record(20, b"\1") + record(23, b"finished")
    block = unsealed(up(codec, finished))
    assert block[0] == PaddingCommand.CONTINUE
    assert not codec.transparent
    data = record(23, b"request")
    wire = up(codec, data + record(23, b"more")[:7])  # the last one is not whole: it goes on the connection itself
    end = len(wire) - 7
    block = unsealed(wire[:end])
    assert (block[0], block[5 : 5 + len(data)], wire[end:]) == (PaddingCommand.DIRECT, data, b"\x17\3\3\0\4mo")
    assert up(codec, b"re") == b"re"
    assert codec.finish() == []
    assert not codec.transparent
    answer = record(23, b"answer")
    down = plain_block(answer, 9, 2)
    assert hear(codec, sealed(down[:8]) + sealed(down[8:] + b"in TLS still") + b"\x17\3\3 bare", step) == (
        answer + b"in TLS still\x17\3\3 bare"
    )
    assert codec.transparent


@pytest.mark.parametrize(("version", "suite"), [(None, 0xC02F), (b"\3\4", 0x1305), (b"\3\3", 0x1301)])
def test_other_tls_inside_stays_in_the_outer_one(version, suite):
    codec = client()
    unsealed(up(codec, CLIENT_HELLO))
    hello = server_hello(version, suite)
    assert hear(codec, sealed(b"\0\0" + plain_block(hello, 0, 0, USER))) == hello
    assert unsealed(up(codec, record(22, b"key")))[0] == PaddingCommand.CONTINUE
    assert unsealed(up(codec, record(23, b"request")))[0] == PaddingCommand.END
    assert unsealed(up(codec, b"whatever")) == b"whatever"
    assert hear(codec, sealed(plain_block(b"last", 3, 1)) + sealed(b"plain")) == b"lastplain"
    assert not codec.transparent
    assert codec.finish() == Outer().finish()


def test_no_tls_inside_is_padded_for_a_few_packets_and_stays_in_the_outer_one():
    codec = client()
    unsealed(up(codec, b"SSH-2.0-client\r\n"))
    commands = []
    for _ in range(8):
        wire = unsealed(up(codec, b"packet"))
        commands.append(wire[0] if wire != b"packet" else None)
    assert commands == [0, 0, 0, 0, 0, 0, 1, None]
    big = bytes(50000)
    assert unsealed(up(codec, big)) == big


def test_a_long_first_packet_ends_in_tls_behind_the_padding():
    codec = client()
    for _ in range(7):
        up(codec, b"packet")
    big = random.Random(3).randbytes(50000)
    inside = Unpadding(b"")
    assert inside.open_untrusted(unsealed(up(codec, big))) == big
    assert inside.command is PaddingCommand.END


def test_early_data_does_not_leave_before_the_server_has_answered():
    codec = client()
    assert unsealed(up(codec, CLIENT_HELLO + record(23, b"early")))[len(REQUEST) + 16] == PaddingCommand.CONTINUE
    assert unsealed(up(codec, record(23, b"early too")))[0] == PaddingCommand.CONTINUE
    hear(codec, sealed(b"\0\0" + plain_block(server_hello(b"\3\4"), 0, 0, USER)))
    assert unsealed(up(codec, record(23, b"late")))[0] == PaddingCommand.DIRECT


def test_the_end_of_the_handshake_is_padded_and_what_comes_with_it_leaves():
    for together in (True, False):
        codec = client()
        up(codec, CLIENT_HELLO)
        hear(codec, sealed(b"\0\0" + plain_block(server_hello(b"\3\4"), 0, 0, USER)))
        finished, request = record(20, b"\1") + record(23, b"finished"), record(23, b"request")
        if together:
            block = unsealed(up(codec, finished + request))
            assert (block[0], block[5:].startswith(finished + request)) == (PaddingCommand.DIRECT, True)
        else:
            assert unsealed(up(codec, finished[:-1]))[0] == PaddingCommand.CONTINUE
            assert unsealed(up(codec, finished[-1:]))[0] == PaddingCommand.CONTINUE
            assert unsealed(up(codec, request))[0] == PaddingCommand.DIRECT
        assert up(codec, b"bare") == b"bare"


def test_outer_tls_has_to_be_of_version_13():
    outer = Outer(is_tls13=False)
    codec = VisionClient(outer, VLESSClient(Endpoint("h", 1), USER, addons=VISION), USER, random.Random(6).randbytes)
    with pytest.raises(ProxyRefused, match="needs TLS"):
        hear(codec, STANDS)


def test_it_says_nothing_before_tls_stands():
    codec = client(stands=False)
    assert said(codec) == b""
    assert not codec.established
    assert hear(codec, STANDS, 1) == b""
    assert codec.established
    assert unsealed(said(codec)).startswith(REQUEST)


def test_what_is_no_tls_reaches_the_outer_one_at_once():
    with pytest.raises(BadPacket, match="no VLESS"):
        hear(client(), sealed(b"HTTP/1.1 400"), 1)
    fed = []

    class Strict(Outer):
        def open_untrusted(self, data):
            fed.append(bytes(data))
            raise BadPacket("TLS: wrong version")

    codec = VisionClient(Strict(), VLESSClient(Endpoint("h", 1), USER), USER, random.Random(6).randbytes)
    with pytest.raises(BadPacket, match="wrong version"):
        codec.open_untrusted(memoryview(b"HTTP/1.1 400 Bad Request\r\n"))
    assert fed == [b"HTTP/1.1 400 Bad Request\r\n"]


@pytest.mark.parametrize("step", [1, 2, 5, 17, 1 << 20])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_real_tls_inside_is_seen_however_it_is_cut(step, version):
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    settings.check_hostname = False
    settings.verify_mode = ssl.CERT_NONE
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = settings.wrap_bio(into, out, server_hostname="example.com")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    hello, inside = out.read(), InnerTLS()
    first = max(step, 300)
    inside.show_up(hello[:first])
    assert inside.what is Inside.HELLO
    inside.show_up(hello[first:])
    answer = server_hello(b"\3\4" if version is ssl.TLSVersion.TLSv1_3 else None, 0x1302)
    pieces = [answer[at : at + step] for at in range(0, len(answer), step)]
    for piece in pieces:
        inside.show_down(piece)
    if len(pieces) < 5:
        assert inside.what is (Inside.TLS13 if version is ssl.TLSVersion.TLSv1_3 else Inside.OLDER_TLS)


PACKETS = st.binary(max_size=60) | st.sampled_from([CLIENT_HELLO, server_hello(b"\3\4"), record(23, b"x")])


@given(st.lists(st.tuples(st.booleans(), PACKETS), max_size=20))
def test_the_servers_end_reads_any_flow(script):
    codec, server, answers = client(), Unpadding(USER), Padding(USER, random.Random(5).randbytes)
    head, sent, wire = b"\0\0", b"", b""
    for is_up, data in script:
        if is_up:
            sent += data
            wire += up(codec, data)
        else:
            blocks = answers.blocks(data, PaddingCommand.CONTINUE, is_long=False)
            assert hear(codec, sealed(head + b"".join(blocks))) == data
            head = b""
    got = b""
    while wire and server.command is not PaddingCommand.DIRECT:
        end = 5 + int.from_bytes(wire[3:5], "big")
        got += server.open_untrusted(unsealed(wire[:end]).removeprefix(REQUEST))
        wire = wire[end:]
    assert got + wire == sent
