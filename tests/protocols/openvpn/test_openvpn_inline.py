"""A configuration with its files inside says the same, wherever it is kept."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest
from openvpn_pki import authority

from tunflow.errors import LocalError
from tunflow.outbound.chain import make_outbound
from tunflow.profiles.imports.importer import import_profile, read_source
from tunflow.profiles.store import ProfileStore
from tunflow.protocols.contract import PacketTunnel
from tunflow.protocols.openvpn.inline import with_files_inline
from tunflow.protocols.openvpn.settings import Remote
from tunflow.protocols.openvpn.settings_reader import settings_from_file
from tunflow.protocols.openvpn.static_key import StaticKey, format_static_key
from tunflow.protocols.openvpn.tunnel_options import TunnelOptions
from tunflow.protocols.registry import parse_server, server_of_file
from tunflow.protocols.server_addresses import ServerAddresses
from tunflow.providers.openvpn import network_settings

TEXT = (
    "client\ndev tun\nremote vpn.example.net\nca 'my ca.crt'\ncert me.crt\nkey me.key\ntls-auth ta.key 1\n"
    "auth-user-pass user.txt\n<extra-certs>\n{chain}</extra-certs>\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    certificate, key = authority().issue("client", "client")
    files = {
        "my ca.crt": authority().pem, "me.crt": certificate, "me.key": key, "user.txt": "me\nsecret\n",
        "ta.key": format_static_key(StaticKey(bytes(range(256)))), "c.ovpn": TEXT.format(chain=authority().pem),
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def no_file(name: str) -> bytes:
    raise LocalError(f"{name} is not inside")


def test_the_same_settings(folder: Path) -> None:
    content = (folder / "c.ovpn").read_bytes()
    beside = settings_from_file(content, "c.ovpn", lambda name: (folder / name).read_bytes())
    inside = settings_from_file(
        with_files_inline(content.decode(), lambda name: (folder / name).read_bytes()).encode(), "c.ovpn", no_file
    )
    assert inside.key_direction == 1
    assert replace(inside, told=()) == replace(beside, told=())


def test_old_inline_marks() -> None:
    key = format_static_key(StaticKey(bytes(256)))
    text = (
        "client\nremote x\nauth-user-pass\nca [inline]\ntls-auth [inline] 1\n"
        f"<ca>\n{authority().pem}</ca>\n<tls-auth>\n{key}</tls-auth>\n"
    )
    settings = settings_from_file(text.encode(), "c.ovpn", no_file)
    assert settings.key_direction == 1
    assert settings.tls_auth == StaticKey(bytes(256))
    assert with_files_inline(text, no_file) == text


def test_import_and_load(folder: Path) -> None:
    imported = import_profile(read_source(str(folder / "c.ovpn")))
    assert imported.profile.provider == "openvpn"
    assert imported.profile.name == "c"
    assert "BEGIN CERTIFICATE" in imported.profile.provider_configuration["config"]
    loaded = ProfileStore([folder]).load(str(folder / "c.ovpn"))
    assert loaded.provider_configuration["config"] == imported.profile.provider_configuration["config"]
    (folder / "ta.key").unlink()
    with pytest.raises(LocalError, match=r"c\.ovpn:7: tls-auth: cannot read"):
        import_profile(read_source(str(folder / "c.ovpn")))


def client(*lines: str) -> TunnelOptions:
    text = f"client\nremote x\nauth-user-pass\n<ca>\n{authority().pem}</ca>\n" + "\n".join(lines)
    return settings_from_file(text.encode(), "c.ovpn", no_file).tunnel


def test_the_network_that_a_server_wants() -> None:
    options = client(
        "topology subnet", "ifconfig 10.8.0.2 255.255.255.0", "ifconfig-ipv6 fd00::2/64 fd00::1",
        "redirect-gateway def1 ipv6", "route 192.0.2.7 255.255.255.255 net_gateway",
        "dhcp-option DNS 10.8.0.1", "dhcp-option DOMAIN lab",
    )  # fmt: skip
    udp = network_settings(options, Remote("192.0.2.1"))
    assert udp.ipv4_settings is not None
    assert udp.ipv6_settings is not None
    assert udp.dns_settings is not None
    assert [str(each) for each in udp.ipv4_settings.addresses] == ["10.8.0.2/24"]
    assert [str(each.destination) for each in udp.ipv4_settings.included_routes] == ["0.0.0.0/0"]
    assert [str(each.destination) for each in udp.ipv4_settings.excluded_routes] == ["192.0.2.7/32"]
    assert [str(each.destination) for each in udp.ipv6_settings.included_routes] == ["::/0"]
    assert udp.dns_settings.search_domains == ("lab",)
    assert udp.mtu == 1420
    assert network_settings(options, Remote("192.0.2.1", transport="tcp")).mtu == 1500
    with pytest.raises(Exception, match="no ifconfig"):
        network_settings(TunnelOptions(), Remote("192.0.2.1"))


def test_net30_reaches_the_peer() -> None:
    options = client("ifconfig 10.8.0.6 10.8.0.5")
    four = network_settings(options, Remote("192.0.2.1")).ipv4_settings
    assert four is not None
    assert [str(each) for each in four.addresses] == ["10.8.0.6/32"]
    assert [str(each.destination) for each in four.included_routes] == ["10.8.0.5/32"]


def test_a_file_is_a_server_with_a_link_of_its_own(folder: Path) -> None:
    content = (folder / "c.ovpn").read_bytes()
    server = server_of_file(content, "c.ovpn", lambda name: (folder / name).read_bytes())
    assert server is not None
    assert server.label == "openvpn://vpn.example.net:1194#c.ovpn"
    assert server.first_hop == ("vpn.example.net", 1194)
    assert "secret" not in repr(server)
    again = parse_server(server.to_link())
    assert again == server
    assert isinstance(again, PacketTunnel)
    assert again.provider_configuration == {
        "name": "c.ovpn",
        "config": with_files_inline(content.decode(), lambda name: (folder / name).read_text().encode()),
    }
    with pytest.raises(LocalError, match="carries packets, which only run"):
        make_outbound([server], lambda host, port: ServerAddresses(()))


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ("openvpn://", "no configuration in base64"),
        ("openvpn://host:1194", "openvpn"),
        ("openvpn://" + b64encode(b"client\nremote a\nca other.crt\n").decode(), "other.crt is another file"),
    ],
)
def test_links_that_are_none(link: str, reason: str) -> None:
    with pytest.raises(LocalError, match=reason):
        parse_server(link)
