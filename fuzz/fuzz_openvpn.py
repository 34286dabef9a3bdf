"""Any bytes as OpenVPN's packets, messages and options: understood, or BadPacket; the machine never fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from tunflow.errors import BadPacket
from tunflow.protocols.openvpn.client import OpenVPNClient
from tunflow.protocols.openvpn.control_message import (
    PushReply,
    dynamic_challenge_untrusted,
    messages_untrusted,
    pending_challenge_untrusted,
    pending_seconds_untrusted,
    push_update_untrusted,
)
from tunflow.protocols.openvpn.control_packets import auth, crypt
from tunflow.protocols.openvpn.data_channel import make_key
from tunflow.protocols.openvpn.framing import StreamFraming
from tunflow.protocols.openvpn.key_method import abilities_of, ciphers_of, key_message_untrusted
from tunflow.protocols.openvpn.packet import control_untrusted, head_untrusted
from tunflow.protocols.openvpn.settings import OpenVPNSettings, Remote
from tunflow.protocols.openvpn.static_key import StaticKey
from tunflow.protocols.openvpn.tls import Demands
from tunflow.protocols.openvpn.tunnel_options import TunnelOptions, apply_untrusted, split_option
from tunflow.protocols.openvpn.wrapping import unwrap_client_key_untrusted

_KEY = StaticKey(bytes(256))
_REMOTE = Remote("192.0.2.1")
_SETTINGS = OpenVPNSettings(
    name="fuzz", remotes=(_REMOTE,), demands=Demands(fingerprints=frozenset([bytes(32)])), hand_window=5.0
)
_RESET_SERVER = bytes.fromhex("40") + b"\7" * 8 + bytes.fromhex("0100000000") + b"\0" * 8 + bytes(4)
SEEDS = [
    bytes.fromhex("386891923fa31034370000000000"),
    bytes.fromhex("28aeb9afe1f01d79c803000000000000000100000002dd85db535623b02e"),
    bytes.fromhex("48000001000000012a402335730be34e0cc1ee2086fbab39cdc050f469"),
    _RESET_SERVER,
    bytes.fromhex("20") + b"\7" * 8 + bytes.fromhex("0000000001") + bytes.fromhex("160303000400000000"),
    bytes(4) + b"\2" + bytes(112) + b"\0\3V4\0" + b"\0\2a\0" + b"\0\2b\0" + b"\0\x0cIV_PROTO=8\n\0",
    b"PUSH_REPLY,route 10.0.0.0 255.0.0.0,ifconfig 10.8.0.2 255.255.255.0,peer-id 1,cipher AES-256-GCM\0",
    b"PUSH_UPDATE,-route,dns server 1 address 10.8.0.1,dhcp-option DNS 10.8.0.1,redirect-gateway def1 ipv6\0",
    b"AUTH_FAILED,CRV1:R,E:state:dXNlcg==:Token?\0INFO_PRE,CR_TEXT:E:x\0AUTH_PENDING,timeout 9\0",
]


def _message(text: str) -> None:
    with contextlib.suppress(BadPacket):
        PushReply(TunnelOptions()).add_untrusted(text)
    with contextlib.suppress(BadPacket):
        push_update_untrusted(TunnelOptions(), text)
    with contextlib.suppress(BadPacket):
        dynamic_challenge_untrusted(text)
    pending_challenge_untrusted(text)
    pending_seconds_untrusted(text)
    words = split_option(text)
    if words:
        with contextlib.suppress(BadPacket):
            _ = apply_untrusted(TunnelOptions(topology="subnet"), words).address4


def _key_message(data: bytes) -> None:
    for from_client in (False, True):
        with contextlib.suppress(BadPacket):
            message = key_message_untrusted(data, from_client=from_client)
            abilities_of(message.peer_info)
            ciphers_of(message.peer_info)


def _machine(data: bytes) -> None:
    """A client that gets a server's reset, then these bytes as packets of that session."""
    machine = OpenVPNClient(_SETTINGS, _REMOTE, 0.0, unix_offset=1.7e9, random_bytes=bytes)
    machine.receive_untrusted([data, _RESET_SERVER, data, data[:1] + _RESET_SERVER[1:9] + data[9:]], 1.0)
    for number, at in enumerate(range(0, min(len(data), 4000), 500)):
        body = b"\0" + number.to_bytes(4, "big") + data[at : at + 500]
        machine.receive_untrusted([b"\x20" + b"\7" * 8 + body], 2.0)
    for _ in range(50):
        due = machine.next_timeout()
        if due is None:
            break
        machine.handle_timeout(due)
    machine.take_events()


_PARSERS: list[Callable[[bytes], object]] = [
    lambda data: control_untrusted(head_untrusted(data).opcode, data[9:]),
    lambda data: auth(_KEY, "sha1", 1).unwrap_untrusted(data),
    lambda data: crypt(_KEY, server=False).unwrap_untrusted(data),
    lambda data: unwrap_client_key_untrusted(_KEY, data),
    lambda data: StreamFraming().feed_untrusted(data),
    *(
        lambda data, cipher=cipher, epochs=epochs: make_key(
            bytes(256), TunnelOptions(cipher=cipher, peer_id=1, epochs=epochs), "sha1", 0, bytes, server=False
        ).open_untrusted(data)
        for cipher, epochs in (("AES-256-GCM", False), ("AES-256-GCM", True), ("AES-256-CBC", False))
    ),
]


def one_input(data: bytes) -> None:
    """Every parser, and the whole machine."""
    for parse in _PARSERS:
        with contextlib.suppress(BadPacket):
            parse(data)
    _key_message(data)
    for text in messages_untrusted(data):
        _message(text)
    _machine(data)
