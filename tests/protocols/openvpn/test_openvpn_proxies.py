"""Which proxy an OpenVPN configuration names, for which server."""

from __future__ import annotations

import pytest

from tunflow.errors import LocalError
from tunflow.protocols.openvpn.inline import with_files_inline
from tunflow.protocols.openvpn.settings import OpenVPNSettings, Proxy
from tunflow.protocols.openvpn.settings_reader import settings_from_file

HEAD = "client\ndev tun\nauth-user-pass\n<ca>\nx\n</ca>\n"


def read(name: str) -> bytes:
    if name == "login.txt":
        return b"me\na secret\n"
    raise LocalError(f"cannot read {name}")


def settings(text: str) -> OpenVPNSettings:
    return settings_from_file((HEAD + text).encode(), "c.ovpn", read)


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http-proxy proxy.lab 3128", Proxy("http", "proxy.lab", 3128)),
        ("http-proxy proxy.lab 3128 login.txt", Proxy("http", "proxy.lab", 3128, "me", "a secret")),
        ("http-proxy proxy.lab 3128 login.txt basic", Proxy("http", "proxy.lab", 3128, "me", "a secret")),
        ("http-proxy proxy.lab 3128 login.txt none", Proxy("http", "proxy.lab", 3128)),
        (
            "http-proxy proxy.lab 3128 auto\n<http-proxy-user-pass>\nyou\nher\n</http-proxy-user-pass>",
            Proxy("http", "proxy.lab", 3128, "you", "her"),
        ),
        ("socks-proxy 192.0.2.9", Proxy("socks", "192.0.2.9", 1080)),
        ("socks-proxy 192.0.2.9 9050 login.txt", Proxy("socks", "192.0.2.9", 9050, "me", "a secret")),
    ],
)
def test_what_is_said(text: str, proxy: Proxy) -> None:
    found = settings(f"remote vpn.lab 443 tcp\n{text}\n")
    assert found.remotes[0].proxy == proxy
    assert "secret" not in repr(found)
    kept = with_files_inline(f"{HEAD}remote vpn.lab 443 tcp\n{text}\n", read)
    assert settings_from_file(kept.encode(), "kept", read_nothing).remotes[0].proxy == proxy


def read_nothing(name: str) -> bytes:
    raise AssertionError(f"{name} should be inline")


def test_each_server_has_its_own() -> None:
    found = settings(
        "proto tcp\nsocks-proxy 192.0.2.1\n"
        "<connection>\nremote a.lab 1\nsocks-proxy 192.0.2.2 1\n</connection>\n"
        "<connection>\nremote b.lab 2\n</connection>\n"
    )
    assert [remote.proxy and remote.proxy.host for remote in found.remotes] == ["192.0.2.2", "192.0.2.1"]


def test_datagrams_go_by_socks() -> None:
    found = settings("remote vpn.lab 1194 udp\nsocks-proxy 192.0.2.1\n")
    assert found.remotes[0].proxy == Proxy("socks", "192.0.2.1", 1080)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("remote a 1 udp\nhttp-proxy p 1", "c.ovpn:8: http-proxy: an HTTP proxy carries TCP only"),
        ("remote a 1 tcp\nhttp-proxy p 1\nsocks-proxy q", "c.ovpn:9: socks-proxy: there is an http-proxy too"),
        ("remote a 1 tcp\nhttp-proxy p 70000", "'70000' is no port"),
        ("remote a 1 tcp\nhttp-proxy p 1 login.txt ntlm2", "'ntlm2' is none of none, basic"),
        ("remote a 1 tcp\nhttp-proxy p 1 auto", "'auto' asks for a password"),
        ("remote a 1 tcp\nhttp-proxy p 1 missing.txt", "cannot read missing.txt"),
        ("remote a 1 tcp\nhttp-proxy p 1 auto\n<http-proxy-user-pass>\nme\n</http-proxy-user-pass>", "are expected"),
        ("remote a 1 tcp\nhttp-proxy p 1\nhttp-proxy-option CUSTOM-HEADER X y", "not done"),
    ],
)
def test_what_is_wrong_is_one_line(text: str, says: str) -> None:
    with pytest.raises(LocalError) as wrong:
        settings(text + "\n")
    assert says in str(wrong.value)
