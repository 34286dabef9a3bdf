"""Base64 that servers and people give: of characters beyond ASCII the library raises another error than of others."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tunflow.errors import BadPacket, LocalError
from tunflow.protocols.http.sign_in import is_known_basic
from tunflow.protocols.openvpn.control_message import dynamic_challenge_untrusted
from tunflow.protocols.openvpn.settings_reader import settings_from_file
from tunflow.protocols.openvpn.static_key import parse_client_key, parse_server_key
from tunflow.protocols.registry import parse_server
from tunflow.protocols.wireguard.keys import parse_key
from tunflow.providers.ikev2 import load_messages, server_of

NONE = ("%%%", "AAAAé", "AAAA\ud800", "\u0660" * 4, "A")


def _block(kind: str, text: str) -> str:
    return f"-----BEGIN OpenVPN tls-crypt-v2 {kind} key-----\n{text}\n-----END OpenVPN tls-crypt-v2 {kind} key-----\n"


def _pkcs12(text: str) -> object:
    lines = f"client\nremote x\npkcs12 [inline]\n<pkcs12>\n{text}\n</pkcs12>\n"
    return settings_from_file(lines.encode("utf-8", "replace"), "c.ovpn", lambda path: b"")


def _certificate(text: str) -> object:
    return load_messages(server_of({"link": f"ikev2://a:b@vpn.example?ca=base64:{text}"}))


READERS: tuple[Callable[[str], object], ...] = (
    lambda text: dynamic_challenge_untrusted(f"CRV1:R,E:state:{text}:Which number?"),
    lambda text: parse_client_key(_block("client", text), "k"),
    lambda text: parse_server_key(_block("server", text), "k"),
    _pkcs12,
    _certificate,
    lambda text: parse_server(f"openconnect://vpn.example?pin=pin-sha256:{text}"),
    lambda text: parse_server(f"openvpn://{text}"),
    lambda text: parse_server(f"ss://{text}@vpn.example:1"),
    lambda text: parse_server(f"vmess://{text}"),
    parse_key,
)


@pytest.mark.parametrize("text", NONE)
@pytest.mark.parametrize("read", READERS)
def test_what_is_no_base64_is_one_error(read: Callable[[str], object], text: str) -> None:
    with pytest.raises((LocalError, BadPacket)):
        read(text)


@pytest.mark.parametrize("text", NONE)
def test_who_signs_in_with_none_is_nobody(text: str) -> None:
    assert not is_known_basic(("me", "secret"), b"Basic " + text.encode("utf-8", "replace"))
