"""`.ovpn` files: what is understood, what is said, what is refused with its line."""

from __future__ import annotations

import pytest
from openvpn_pki import authority

from tunflow.errors import LocalError
from tunflow.protocols.openvpn.config_file import looks_like_openvpn
from tunflow.protocols.openvpn.directives import DIRECTIVES
from tunflow.protocols.openvpn.proxy_lines import NAMES as PROXY_LINES
from tunflow.protocols.openvpn.settings import OpenVPNSettings, Remote
from tunflow.protocols.openvpn.settings_reader import TAKERS, settings_from_file
from tunflow.protocols.openvpn.static_key import StaticKey, format_static_key
from tunflow.protocols.openvpn.tunnel_options import PUSHED, Fate

KEY = format_static_key(StaticKey(bytes(range(256))))
CERTIFICATE, PRIVATE = authority().issue("client", "client")
FILES = {"ca.crt": authority().pem, "me.crt": CERTIFICATE, "me.key": PRIVATE, "ta.key": KEY, "user.txt": "me\nsecret\n"}
BASE = "client\ndev tun\nremote vpn.example.net 1194\nca ca.crt\ncert me.crt\nkey me.key\n"


def read(name: str) -> bytes:
    if name not in FILES:
        raise LocalError(f"cannot read {name}: No such file or directory")
    return FILES[name].encode()


def parse(text: str) -> OpenVPNSettings:
    return settings_from_file(text.encode(), "c.ovpn", read)


def test_a_usual_file() -> None:
    settings = parse(
        BASE + "# a comment\n; another\nproto tcp\nremote 2001:db8::1 443 udp6\nremote-random\n"
        "resolv-retry infinite\nnobind\n"
        "persist-key\npersist-tun\nverb 3\nremote-cert-tls server\nverify-x509-name 'C=DE, CN=server'\nauth SHA256\n"
        "data-ciphers AES-256-GCM:?AES-128-CFB:CHACHA20-POLY1305\nauth-user-pass user.txt\ntls-auth ta.key 1\n"
        "reneg-sec 600\n"
        "redirect-gateway def1\nroute 10.9.0.0 255.255.0.0\ndhcp-option DNS 10.9.0.1\nkeepalive 10 60\nsetenv UV_ID 7\n"
        'setenv opt block-outside-dns\npull-filter ignore "route 10.8"\nexplicit-exit-notify 2\n'
    )
    assert settings.remotes == (
        Remote("vpn.example.net", 1194, "tcp"), Remote("2001:db8::1", 443, "udp", 6),
    )  # fmt: skip
    assert settings.remote_random
    assert (settings.username, settings.password) == ("me", "secret")
    assert settings.tls_auth == StaticKey(bytes(range(256)))
    assert settings.key_direction == 1
    assert settings.digest == "sha256"
    assert settings.ciphers == ("AES-256-GCM", "CHACHA20-POLY1305")
    assert settings.demands.usage == "server"
    assert settings.demands.name == "C=DE, CN=server"
    assert settings.tunnel.redirect4
    assert settings.tunnel.ping == 10
    assert settings.tunnel.exit_notify == 2
    assert [str(each) for each in settings.tunnel.included] == ["10.9.0.0/16"]
    assert settings.peer_info == (("UV_ID", "7"),)
    assert settings.pull_filters == (("ignore", "route 10.8"),)
    assert settings.pull
    assert [told.partition(": ")[2].split()[0] for told in settings.told] == [
        "nobind", "persist-key", "persist-tun", "verb", "block-outside-dns",
    ]  # fmt: skip
    assert "secret" not in repr(settings)
    assert "PRIVATE" not in repr(settings)


def test_inline_files_and_connection_blocks() -> None:
    blocks = "".join(f"<{name}>\n{text}</{name}>\n" for name, text in (
        ("ca", authority().pem), ("cert", CERTIFICATE), ("key", PRIVATE), ("tls-crypt", KEY),
        ("auth-user-pass", "a b\nc\n"),
    ))  # fmt: skip
    settings = parse(
        "client\ndev tun\nport 99\n<connection>\nremote one 1 tcp\n</connection>\n<connection>\nremote two\nproto tcp\n"
        "</connection>\nremote three\n" + blocks
    )
    assert settings.remotes == (Remote("one", 1, "tcp"), Remote("two", 99, "tcp"), Remote("three", 99))
    assert settings.tls_crypt is not None
    assert (settings.username, settings.password) == ("a b", "c")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("up /etc/openvpn/update-resolv-conf", "c.ovpn:7: up: refused: it runs a program"),
        ("script-security 2", "c.ovpn:7: script-security: refused"),
        ("plugin x.so", "c.ovpn:7: plugin: refused"),
        ("http-proxy-option AGENT x", "c.ovpn:7: http-proxy-option: refused: not done"),
        ("secret static.key", "c.ovpn:7: secret: refused"),
        ("frobnicate", "c.ovpn:7: frobnicate: this directive is not known"),
        ("remote", "c.ovpn:7: remote: expected 1 to 3 words behind it, found 0"),
        ("remote x 70000", "c.ovpn:7: remote: '70000' is no number from 0 to 65535"),
        ("remote x 0", "port 0"),
        ("proto sctp", "c.ovpn:7: proto: 'sctp' is none of udp"),
        ("dev tap", "c.ovpn:7: dev: tap devices"),
        ("tls-auth missing.key", "c.ovpn:7: tls-auth: cannot read missing.key"),
        ("tls-crypt me.crt", "c.ovpn:7: tls-crypt: expected a file with -----BEGIN OpenVPN Static key"),
        ("tls-auth ta.key 2", "c.ovpn:7: key-direction: '2' is none of 0, 1"),
        ("cipher BF-CBC", "c.ovpn:7: cipher: 'BF-CBC' is none of"),
        ("data-ciphers BF-CBC", "c.ovpn:7: data-ciphers: 'BF-CBC' is none of"),
        ("auth none", "c.ovpn:7: auth: without an HMAC"),
        ("auth MD5", "c.ovpn:7: auth: 'MD5' is none of"),
        ("comp-lzo", "c.ovpn:7: comp-lzo: compression is refused"),
        ("compress lz4-v2", "c.ovpn:7: compress: compression is refused"),
        ("route 10.0.0.0 255.0.255.0", "c.ovpn:7: route:"),
        ("route vpn.example.net", "c.ovpn:7: route:"),
        ("verify-x509-name a b", "c.ovpn:7: verify-x509-name: 'b' is none of"),
        ("peer-fingerprint 00:11", "c.ovpn:7: peer-fingerprint:"),
        ("tls-version-min 3", "c.ovpn:7: tls-version-min: '3' is none of"),
        ("remote-cert-tls dog", "c.ovpn:7: remote-cert-tls: 'dog' is none of"),
        ("<ca>", "c.ovpn:7: <ca> does not end"),
        ("<up>", "c.ovpn:7: <up> is no block"),
        ("setenv 'x", "c.ovpn:7: a quotation mark that does not end"),
        ("setenv x\\", "c.ovpn:7: a backslash at the end"),
        ("tls-crypt ta.key\ntls-auth ta.key", "c.ovpn:8: tls-auth: tls-crypt stands in line 7 already"),
    ],
)
def test_mistakes_have_their_line(line: str, says: str) -> None:
    with pytest.raises(LocalError) as caught:
        parse(BASE.replace("remote vpn.example.net 1194", "remote vpn.example.net") + line + "\n")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("client\ndev tun\nca ca.crt\nauth-user-pass\n", "there is no `remote"),
        ("client\nremote x\nauth-user-pass\n", "there is no ca"),
        ("client\nremote x\nca ca.crt\n", "neither cert and key nor auth-user-pass"),
        ("client\nremote x\nca ca.crt\ncert me.crt\n", "there is a cert, but no key"),
        ("server 10.8.0.0 255.255.255.0\nca ca.crt\n", "a server needs"),
    ],
)
def test_what_is_missing(text: str, says: str) -> None:
    with pytest.raises(LocalError, match=says):
        parse(text)


def test_what_the_file_itself_ignores_is_told() -> None:
    settings = parse(BASE + "ignore-unknown-option frobnicate\nfrobnicate 1\n")
    assert settings.told == ("c.ovpn:8: frobnicate is not known and ignored, as the file says",)


def test_a_servers_file() -> None:
    settings = parse(
        "server 10.8.0.0 255.255.255.0\nproto udp\nport 99\nlocal 127.0.0.1\nca ca.crt\ncert me.crt\nkey me.key\n"
        'push "route 10.1.0.0 255.255.0.0"\ntls-crypt ta.key\nmax-clients 5\n'
    )
    assert settings.server is not None
    assert settings.server.network == "10.8.0.0/24"
    assert settings.server.pushed == ("route 10.1.0.0 255.255.0.0",)
    assert settings.server.most_clients == 5
    assert settings.remotes == (Remote("127.0.0.1", 99),)


def test_every_directive_that_is_done_is_done_by_somebody() -> None:
    file_only = {"remote", "proto", "port", "rport", "lport", "local", *PROXY_LINES}
    for name, directive in DIRECTIVES.items():
        if directive.fate is Fate.REFUSED:
            assert directive.note, name
        if directive.fate is Fate.DONE and name not in TAKERS and name not in PUSHED and name not in file_only:
            text = BASE + f"{name} {'1 ' * max(directive.least, 0)}\n"
            parse(text)  # it needs nothing to be done, and must not be an error of ours


def test_looks() -> None:
    assert looks_like_openvpn(BASE.encode())
    assert looks_like_openvpn(b"remote x 1\n<ca>\n...")
    assert not looks_like_openvpn(b"[Interface]\nPrivateKey = x\n")
    assert not looks_like_openvpn(b"ss://abc@host:1\n")
    assert not looks_like_openvpn(b"mode=client\nserver=1.2.3.4\npassword=x\n")
