"""VMess: the request, the answer and the chunks, and links in both forms."""

from __future__ import annotations

import hmac
import json
from base64 import b64encode
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from talk import hear, said

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket, LocalError
from tunflow.protocols.registry import clash_server, parse_server
from tunflow.protocols.transport.transport import Transport
from tunflow.protocols.vmess.chunks import AES_128_GCM, CHACHA20_POLY1305, VMessChunks
from tunflow.protocols.vmess.header import command_key, derive
from tunflow.protocols.vmess.settings import VMessServer
from tunflow.protocols.vmess.stream import VMessClient

USER = "01234567-89ab-cdef-0123-456789abcdef"
KEY = command_key(USER)
DRAWN = bytes(range(33))
"""Key, IV and answer's byte: the "random" bytes are the numbers from 0."""


def client(security=AES_128_GCM):
    return VMessClient(Endpoint("example.com", 443), KEY, security, 1_700_000_000, lambda size: bytes(range(size)))


def answer(security, pieces, first=32):
    """As a server gives it."""
    key, iv = sha256(DRAWN[:16]).digest()[:16], sha256(DRAWN[16:32]).digest()[:16]
    header = bytes((first, 0, 0, 0))
    sealed = b""
    for purpose, plain in ((" Len", len(header).to_bytes(2, "big")), ("", header)):
        part = [derive(of, f"AEAD Resp Header{purpose} {name}".encode()) for of, name in ((key, "Key"), (iv, "IV"))]
        sealed += AESGCM(part[0][:16]).encrypt(part[1][:12], plain, None)
    chunks = VMessChunks(security, 0x0D, key, iv)
    for piece in pieces:
        padding, mask = chunks.next_masks()
        sealed += (len(piece) + 16 + padding ^ mask).to_bytes(2, "big") + chunks.encrypt(piece) + bytes(padding)
    return sealed


def test_keys_are_hmac_in_hmac():
    assert derive(b"key") == hmac.digest(b"VMess AEAD KDF", b"key", "sha256")
    assert derive(b"key", b"a") != derive(b"key", b"a", b"b") != derive(b"key", b"b", b"a")


def test_the_request_opens_to_the_target():
    wire = said(client())
    identity, nonce, sealed = wire[:16], wire[34:42], wire[42:]
    key = derive(KEY, b"VMess Header AEAD Key", identity, nonce)[:16]
    plain = AESGCM(key).decrypt(derive(KEY, b"VMess Header AEAD Nonce", identity, nonce)[:12], sealed, identity)
    assert plain[:34] == b"\x01" + DRAWN[16:32] + DRAWN[:16] + b"\x20"
    assert plain[34:38] == bytes((0x0D, AES_128_GCM, 0, 1))
    assert plain[38:-4] == b"\x01\xbb\x02\x0bexample.com"


@pytest.mark.parametrize("security", [AES_128_GCM, CHACHA20_POLY1305])
@pytest.mark.parametrize("step", [None, 1, 7])
def test_chunks_both_ways_and_the_end(security, step):
    codec = client(security)
    said(codec)
    big = bytes(range(256)) * 20
    assert hear(codec, answer(security, [b"hello ", big, b""]) + b"behind the end", step) == b"hello " + big
    there = VMessChunks(security, 0x0D, DRAWN[:16], DRAWN[16:32])
    wire, opened = b"".join([*codec.seal([big * 10]), *codec.finish()]), b""
    while wire:
        padding, mask = there.next_masks()
        end = 2 + (int.from_bytes(wire[:2], "big") ^ mask)
        opened += (last := there.decrypt(wire[2 : end - padding]))
        wire = wire[end:]
    assert opened == big * 10
    assert last == b""


def test_answers_that_are_none():
    with pytest.raises(BadPacket, match="no VMess server"):
        hear(client(), b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(BadPacket, match="to another request"):
        hear(client(), answer(AES_128_GCM, [b"x"], first=33))
    broken = answer(AES_128_GCM, [b"hello"])
    with pytest.raises(BadPacket):
        hear(client(), broken[:42] + b"\0\0" + broken[44:] + bytes(70_000))


def old(**values):
    return (
        "vmess://" + b64encode(json.dumps({"v": "2", "add": "h", "port": "1", "id": USER} | values).encode()).decode()
    )


@pytest.mark.parametrize(
    ("link", "server"),
    [
        (f"vmess://{USER}@h:1?encryption=auto", VMessServer("h", 1, USER, "aes-128-gcm", Transport())),
        (old(ps="x", aid=0), VMessServer("h", 1, USER, "aes-128-gcm", Transport(), "x")),
        (
            old(net="ws", tls="tls", host="a.example", path="/r", scy="chacha20-poly1305", type="none"),
            VMessServer(
                "h", 1, USER, "chacha20-poly1305", Transport("ws", True, "a.example", host="a.example", path="/r")
            ),
        ),
    ],
)
def test_links(link, server):
    assert parse_server(link) == server
    assert parse_server(server.to_link()) == server


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        (old(aid="64"), "alterId (aid) 64 is not supported"),
        (old(scy="aes-128-cfb"), "encryption aes-128-cfb is not supported; auto, aes-128-gcm, chacha20-poly1305 are"),
        (old(net="kcp"), "kcp is not supported"),
        (old(type="http"), "headerType=http is not supported"),
        (old(seed="x"), "unknown key 'seed'"),
        (old(id="x"), "no UUID"),
        ("vmess://xyz", "no JSON in base64"),
    ],
)
def test_what_cannot_be_had_is_refused(link, reason):
    with pytest.raises(LocalError) as caught:
        parse_server(link)
    assert reason in str(caught.value)


def test_a_clash_entry():
    entry = {"name": "n", "type": "vmess", "server": "h", "port": "1", "uuid": USER, "alterId": "0", "cipher": "auto"}
    made, unread = clash_server(entry)
    assert (made, unread) == (VMessServer("h", 1, USER, "aes-128-gcm", Transport(), "n"), [])
    with pytest.raises(LocalError, match="alterId"):
        clash_server(entry | {"alterId": "1"})
