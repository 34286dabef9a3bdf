from __future__ import annotations

import ssl

import pytest

from hellos import client_hello, extension, records, server_name, vector
from tunflow.errors import BadPacket
from tunflow.sniff.first_bytes import FirstBytes, sniff_untrusted
from tunflow.sniff.tls import ClientHello, NotTLS, host_name_untrusted, parse_message_untrusted, parse_records_untrusted


def test_a_real_client_is_understood_byte_by_byte() -> None:
    """OpenSSL's own ClientHello, each prefix of it, and with more behind it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    client = context.wrap_bio(incoming, outgoing, server_hostname="Site.Example")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    stream = outgoing.read()
    for size in range(len(stream)):
        assert parse_records_untrusted(stream[:size]) is None
    assert parse_records_untrusted(stream) == ClientHello("site.example", (b"h2", b"http/1.1"), False, True)
    assert sniff_untrusted(stream + b"more") == FirstBytes("tls", "site.example")


@pytest.mark.parametrize("size", [1, 3, 7, 64, 1000])
def test_a_hello_may_be_cut_over_records_anywhere(size: int) -> None:
    """RFC 8446 §5.1: handshake messages may be fragmented across several records."""
    stream = records(client_hello(padding=1700), size)
    assert parse_records_untrusted(stream[:-1]) is None
    hello = parse_records_untrusted(stream)
    assert hello is not None
    assert hello.server_name == "www.example.com"


def test_a_hello_without_a_name_says_so() -> None:
    hello = parse_records_untrusted(records(client_hello(None)))
    assert hello == ClientHello(None, (b"h2", b"http/1.1"), False)
    bare = b"\3\3" + bytes(32) + b"\0" + b"\0\2\0\1" + b"\1\0"
    assert parse_message_untrusted(b"\1" + vector(bare, 3)) == ClientHello(None, (), False)


def test_an_encrypted_hello_gives_its_outer_name() -> None:
    """RFC 9849 §5: the outer ClientHello names the public name."""
    hello = parse_message_untrusted(client_hello(b"public.example", more=extension(0xFE0D, bytes(200))))
    assert hello == ClientHello("public.example", (b"h2", b"http/1.1"), True)


def record(kind: int, version: int, data: bytes) -> bytes:
    return bytes([kind]) + version.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data


HELLO = client_hello(b"blocked.example")
WARNING = record(21, 0x0301, b"\1\x5a")


@pytest.mark.parametrize(
    "stream",
    [
        # What crypto/tls of Go 1.26 takes.
        *(record(22, version, HELLO) for version in (0, 1, 0x0100, 0x0201, 0x0304, 0x0400, 0x0A0A, 0x0FFF)),
        record(22, 0x0301, HELLO[:9]) + record(22, 0x0201, HELLO[9:]),
        record(22, 0x0201, HELLO[:1]) + record(22, 0x0303, HELLO[1:]),
        *(WARNING * count + record(22, 0x0301, HELLO) for count in (1, 2, 16)),
        record(21, 0x0201, b"\1\x5a") + record(22, 0x0301, HELLO),
        record(22, 0x0301, HELLO[:20]) + WARNING + record(22, 0x0301, HELLO[20:]),
        record(22, 0x0301, HELLO + b"more"),
        # What OpenSSL 3.0 takes.
        record(20, 0x0301, b"") + record(22, 0x0301, HELLO),
        record(20, 0x0303, b"") * 32 + record(22, 0x0303, HELLO),
    ],
)
def test_a_hello_that_lenient_servers_take_is_read(stream: bytes) -> None:
    hello = parse_records_untrusted(stream)
    assert hello is not None
    assert hello.server_name == "blocked.example"


@pytest.mark.parametrize("count", [1, 15, 32])
@pytest.mark.parametrize("begun", [0, 20])
def test_empty_records_that_openssl_skips_are_refused(count: int, begun: int) -> None:
    stream = record(22, 0x0301, HELLO[:begun]) if begun else b""
    with pytest.raises(BadPacket) as raised:
        parse_records_untrusted(stream + record(22, 0x0301, b"") * count + record(22, 0x0301, HELLO[begun:]))
    assert not isinstance(raised.value, NotTLS)  # which would pass


@pytest.mark.parametrize(
    "stream",
    [
        b"\x17\3\1\0\5hello",
        b"\x16\x10\1",
        b"\x15\3\1\0\3",
        b"\x15\3\1\0\2\1\x5ahello",
        b"\x15\3\1\0\2\1\x5a" * 3000,
        b"\x14\3\1\0\2",
        b"\x16\3\1\0\0",
        b"\x16\3\1\xff\xff",
        records(b"\2" + vector(bytes(10), 3)),
        records(b"\1" + vector(bytes(0x5000), 3))[:30],
        records(b"\1" + vector(bytes(20), 3)),
        records(client_hello(b"a b")),
        records(client_hello(b"\xff\xff")),
        records(client_hello(b"a..b")),
        records(client_hello(b"a" * 300)),
        records(client_hello(None, more=b"\0\0\0\3\0\1\0")),
    ],
)
def test_what_is_no_hello_is_refused(stream: bytes) -> None:
    with pytest.raises(BadPacket):
        parse_records_untrusted(stream)


def test_names_are_strict() -> None:
    assert host_name_untrusted(b"A-b_c.Example.") == "a-b_c.example"
    with pytest.raises(BadPacket):
        host_name_untrusted(b"a\nb")
    assert server_name(b"x")
