"""Links of AnyConnect's kind, and what the program is told of them."""

from __future__ import annotations

import pytest

from tunflow.errors import BadPacket, LocalError
from tunflow.protocols.openconnect.environment import assigned_untrusted
from tunflow.protocols.openconnect.settings import OpenConnectServer
from tunflow.protocols.registry import parse_server

PIN = "pin-sha256:D7VrzzfQMRGPNwrfrA9Vuek4D6AN9BATAt3Wg3wQPWo="
LINK = "openconnect://maria:p%40ss@vpn.example:8443?protocol=gp&authgroup=Staff&usergroup=portal%3Aprelogin#Office"


def made(link: str) -> OpenConnectServer:
    server = parse_server(link)
    assert isinstance(server, OpenConnectServer)
    return server


def test_a_link_is_a_server_and_back() -> None:
    server = made(LINK)
    assert (server.host, server.port, server.user, server.password) == ("vpn.example", 8443, "maria", "p@ss")
    assert (server.dialect, server.authgroup, server.tag) == ("gp", "Staff", "Office")
    assert made(server.to_link()) == server
    assert "p@ss" not in server.label + repr(server)


@pytest.mark.parametrize("pin", [PIN, PIN.replace("=", "%3D"), "sha256:" + "AB" * 32])
def test_a_pin(pin: str) -> None:
    server = made(f"openconnect://vpn.example?pin={pin}")
    assert server.port == 443
    assert server.pin in {PIN, "sha256:" + "ab" * 32}
    assert made(server.to_link()) == server


def test_a_plus_sign_of_base64_is_no_blank() -> None:
    pin = "pin-sha256:" + "+" * 42 + "8="
    assert made(f"openconnect://vpn.example?pin={pin}").pin == pin


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("openconnect://vpn.example?protocol=ikev2", "one of anyconnect"),
        ("openconnect://vpn.example?pin=sha1:" + "0" * 40, "pin-sha256"),
        ("openconnect://vpn.example?pin=pin-sha256:AAAA", "32 bytes"),
        ("openconnect://vpn.example?insecure=1", "unknown option 'insecure'"),
        ("openconnect://vpn.example?key=/k.pem", "no certificate"),
        ("openconnect://vpn.example?authgroup=a%0Aproxy%3Db", "cannot be printed"),
        ("openconnect://maria%0Ascript:x@vpn.example", "cannot be printed"),
        ("openconnect://:0", "host"),
    ],
)
def test_what_is_no_server(link: str, said: str) -> None:
    with pytest.raises(LocalError, match=said):
        parse_server(link)


def test_the_file_for_the_program_has_no_password() -> None:
    server = made(f"openconnect://maria:secret@[fd00::1]:443?pin={PIN}&usergroup=staff")
    lines = server.configuration_file("socks5://127.0.0.1:1", "give 3").splitlines()
    assert {"server=https://[fd00::1]:443/staff", "user=maria", f"servercert={PIN}", "script=give 3"} <= set(lines)
    assert "secret" not in "".join(lines)


FULL = {
    "INTERNAL_IP4_ADDRESS": "10.0.0.7",
    "INTERNAL_IP4_NETMASKLEN": "24",
    "INTERNAL_IP4_MTU": "1390",
    "INTERNAL_IP4_DNS": "10.0.0.1 10.0.0.2",
    "INTERNAL_IP6_NETMASK": "fd91::7/128",
    "CISCO_DEF_DOMAIN": "corp.example",
}


def test_everything_is_the_tunnels_unless_networks_are_named() -> None:
    told = assigned_untrusted(FULL)
    assert told.addresses == ("10.0.0.7/24", "fd91::7/128")
    assert [str(network) for network in told.included] == ["0.0.0.0/0", "::/0"]
    assert [str(address) for address in told.resolvers] == ["10.0.0.1", "10.0.0.2"]
    assert (told.mtu, told.search_domains, told.match_domains) == (1390, ("corp.example",), ())


def test_networks_in_and_out() -> None:
    told = assigned_untrusted(
        FULL
        | {
            "CISCO_SPLIT_INC": "1",
            "CISCO_SPLIT_INC_0_ADDR": "10.0.0.0",
            "CISCO_SPLIT_INC_0_MASKLEN": "8",
            "CISCO_SPLIT_EXC": "1",
            "CISCO_SPLIT_EXC_0_ADDR": "10.9.0.0",
            "CISCO_SPLIT_EXC_0_MASKLEN": "16",
            "CISCO_SPLIT_DNS": "corp.example,lab.example",
        }
    )
    assert [str(network) for network in told.included] == ["10.0.0.0/8"]
    assert [str(network) for network in told.excluded] == ["10.9.0.0/16"]
    assert told.match_domains == ("corp.example", "lab.example")


@pytest.mark.parametrize(
    "wrong",
    [
        {"INTERNAL_IP4_ADDRESS": "", "INTERNAL_IP6_NETMASK": ""},
        {"INTERNAL_IP4_ADDRESS": "10.0.0.999"},
        {"INTERNAL_IP4_NETMASKLEN": "33"},
        {"INTERNAL_IP4_MTU": "12"},
        {"INTERNAL_IP4_MTU": "1_000"},
        {"CISCO_SPLIT_INC": "99999"},
        {"CISCO_SPLIT_INC": "1"},
        {"INTERNAL_IP4_DNS": "x"},
    ],
)
def test_nonsense_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(BadPacket):
        assigned_untrusted(FULL | wrong)
