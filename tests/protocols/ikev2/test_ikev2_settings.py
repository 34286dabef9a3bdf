"""Links of IKEv2 servers, and what charon is told of them."""

from __future__ import annotations

import pytest

from tunflow.errors import LocalError
from tunflow.protocols.ikev2.settings import IKEv2Server
from tunflow.protocols.registry import parse_server


def made(link: str) -> IKEv2Server:
    server = parse_server(link)
    assert isinstance(server, IKEv2Server)
    return server


@pytest.mark.parametrize(
    "link",
    [
        "ikev2://maria:p%40ss@vpn.example:500?auth=eap&ca=%2Fca.pem&remote_id=gw.example#Office",
        "ikev2://maria%40home:secret@vpn.example:500?auth=psk&remote_id=gw",
        "ikev2://[fd00::1]:4500?auth=certificate&certificate=%2Fc.pem&key=%2Fk.pem&local_id=maria",
    ],
)
def test_links_go_and_come(link: str) -> None:
    assert made(link).to_link() == link


def test_a_password_is_not_shown() -> None:
    server = made("ikev2://maria:secret@vpn.example")
    assert (server.label, server.method, server.port) == ("ikev2://vpn.example:500", "eap", 500)
    assert "secret" not in repr(server)


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("ikev2://maria:x@vpn.example?auth=xauth", "one of eap, psk, certificate"),
        ("ikev2://maria:x@vpn.example?insecure=1", "unknown option 'insecure'"),
        ("ikev2://maria:x@vpn.example?ca=/a&ca=/b", "ca in an ikev2:// link is given twice"),
        ("ikev2://maria:x@vpn.example?ca=", "empty"),
        ("ikev2://maria@vpn.example?auth=psk", "the secret as its password"),
        ("ikev2://maria:x@vpn.example?auth=psk&ca=/ca.pem", "no ca"),
        ("ikev2://vpn.example?certificate=/c.pem", "key=FILE"),
        ("ikev2://maria:x@vpn.example?certificate=/c.pem&key=/k.pem", "a certificate and a password"),
        ("ikev2://maria:x@vpn.example?auth=eap&certificate=/c.pem", "takes no certificate"),
        ("ikev2://maria:x%0Ay@vpn.example", "cannot be printed"),
        ("ikev2://:0", "host"),
    ],
)
def test_wrong_links_are_refused_by_name(link: str, said: str) -> None:
    with pytest.raises(LocalError, match=said):
        made(link)


def test_charon_is_told_what_the_link_says() -> None:
    server = made("ikev2://maria:x@vpn.example:1500?ike=aes256-sha256-modp2048&esp=aes256gcm16,aes128gcm16")
    connection = server.connection("192.0.0.2", "192.0.0.3", "echo", None)["tunflow"]
    assert isinstance(connection, dict)
    assert connection["local-1"] == {"auth": "eap-mschapv2", "id": "maria", "eap_id": "maria"}
    assert connection["remote-1"] == {"auth": "pubkey", "id": "vpn.example"}
    assert (connection["remote_port"], connection["proposals"]) == ("4500", ["aes256-sha256-modp2048"])
    assert server.secret() == {"id": "tunflow", "type": "EAP", "data": "x", "owners": ["maria"]}


def test_a_shared_secret_proves_both_ends() -> None:
    server = made("ikev2://maria:x@vpn.example?auth=psk")
    connection = server.connection("192.0.0.2", "192.0.0.3", "echo", None)["tunflow"]
    assert isinstance(connection, dict)
    assert (connection["local-1"], connection["remote-1"]) == (
        {"auth": "psk", "id": "maria"},
        {"auth": "psk", "id": "vpn.example"},
    )
    assert server.secret() == {"id": "tunflow", "type": "IKE", "data": "x", "owners": ["maria", "vpn.example"]}
