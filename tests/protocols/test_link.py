from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.errors import LocalError
from tunflow.protocols.block.settings import BlockServer
from tunflow.protocols.direct.settings import DirectServer
from tunflow.protocols.registry import parse_server
from tunflow.protocols.shadowsocks.methods import METHODS
from tunflow.protocols.shadowsocks.settings import ShadowsocksServer

SECRET = "S3CRET"
KEY_16 = "AAECAwQFBgcICQoLDA0ODw=="


def b64(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def ss(url: str) -> ShadowsocksServer:
    server = parse_server(url)
    assert isinstance(server, ShadowsocksServer)
    return server


# https://shadowsocks.org/doc/sip002.html, "Examples"
def test_published_sample():
    server = ss("ss://YWVzLTEyOC1nY206dGVzdA@192.168.100.1:8888#Example1")
    assert server == ShadowsocksServer("192.168.100.1", 8888, "aes-128-gcm", "test", "Example1")


def test_published_sample_with_a_plugin_has_a_method_that_is_refused():
    url = "ss://cmM0LW1kNTpwYXNzd2Q@192.168.100.1:8888/?plugin=obfs-local%3Bobfs%3Dhttp#Example2"
    with pytest.raises(LocalError, match="rc4-md5 is a stream cipher"):
        parse_server(url)
    url = url.replace("cmM0LW1kNTpwYXNzd2Q", "aes-128-gcm:passwd")
    assert parse_server(url).plugin == "obfs-local;obfs=http"


def test_published_sample_of_the_2022_edition_and_back():
    url = (
        "ss://2022-blake3-aes-256-gcm:YctPZ6U7xPPcU%2Bgp3u%2B0tx%2FtRizJN9K8y%2BuKlW2qjlI%3D"
        "@192.168.100.1:8888#Example3"
    )
    key = "YctPZ6U7xPPcU+gp3u+0tx/tRizJN9K8y+uKlW2qjlI="
    assert ss(url) == ShadowsocksServer("192.168.100.1", 8888, "2022-blake3-aes-256-gcm", key, "Example3")
    assert ss(url).to_link() == url  # SIP002: never base64


@pytest.mark.parametrize(
    "url",
    [
        f"ss://{b64('aes-256-gcm:p?>~')}@host:1",
        f"ss://{urlsafe_b64encode(b'aes-256-gcm:p?>~').decode()}@host:1",
        f"ss://{b64encode(b'aes-256-gcm:p?>~').decode()}@host:1",
        f"ss://{b64encode(b'aes-256-gcm:p?>~').decode().replace('=', '%3D').replace('/', '%2F')}@host:1",
        "ss://aes-256-gcm:p%3F%3E%7E@host:1",
        "ss://aes-256-gcm%3Ap%3F%3E%7E@host:1",
        "SS://AES-256-GCM:p%3f%3e~@host:1/",
        "  ss://AEAD_AES_256_GCM:p%3F%3E~@host:1/?group=a@b&outline=1 \n",
        "ss://aes-256-gcm:p%3F%3E~@host:1?plugin=",
        f"ss://{b64('aes-256-gcm:p?>~@host:1')}",
        f"ss://{b64encode(b'aes-256-gcm:p?>~@host:1').decode()}",
        f"ss://{b64encode(b'aes-256-gcm:p?>~@host:1').decode()}/",
    ],
)
def test_all_forms_of_one_link(url):
    assert ss(url) == ShadowsocksServer("host", 1, "aes-256-gcm", "p?>~", None)


@pytest.mark.parametrize(
    "password", ["a:b", "a@b", "a/b", "a#b", "a?b", "a%41b", "пароль", "密码 🔑", ":", "@", "a\nb"]
)
def test_awkward_passwords(password):
    for url in (
        f"ss://{b64(f'aes-256-gcm:{password}')}@[::1]:8388#t",
        f"ss://aes-256-gcm:{quote(password, safe='')}@[::1]:8388#t",
        f"ss://{b64(f'aes-256-gcm:{password}@[::1]:8388')}#t",
    ):
        assert ss(url) == ShadowsocksServer("::1", 8388, "aes-256-gcm", password, "t")


def test_bare_at_and_slash_in_a_plain_password():
    assert ss("ss://aes-256-gcm:p@s/s:w@host:1/?group=y@z").password == "p@s/s:w"


@pytest.mark.parametrize(
    ("url", "host", "port", "tag"),
    [
        ("ss://aes-128-gcm:p@[2001:db8::1]:443", "2001:db8::1", 443, None),
        ("ss://aes-128-gcm:p@[fe80::1%25eth0]:443", "fe80::1%eth0", 443, None),
        ("ss://aes-128-gcm:p@example.com:65535/#%F0%9F%9A%80%20one%23two", "example.com", 65535, "🚀 one#two"),
        ("ss://aes-128-gcm:p@xn--bcher-kva.example:1#", "xn--bcher-kva.example", 1, ""),
        ("ss://aes-128-gcm:p@bücher.example:1#a#b@c", "bücher.example", 1, "a#b@c"),
    ],
)
def test_hosts_ports_and_tags(url, host, port, tag):
    server = ss(url)
    assert (server.host, server.port, server.tag) == (host, port, tag)


@pytest.mark.parametrize(("where", "host"), [(":8388", ""), ("0.0.0.0:8388", "0.0.0.0"), ("[::]:8388", "::")])
def test_hosts_to_listen_on(where, host):
    server = parse_server(f"ss://aes-128-gcm:p@{where}", listening=True)
    assert isinstance(server, ShadowsocksServer)
    assert server.host == host
    assert parse_server(server.to_link(), listening=True) == server


@pytest.mark.parametrize(
    ("alias", "method"), [("chacha20-poly1305", "chacha20-ietf-poly1305"), ("AEAD_AES_192_GCM", "aes-192-gcm")]
)
def test_method_aliases(alias, method):
    assert ss(f"ss://{alias}:p@h:1").method == method


def test_direct_and_block():
    assert parse_server("direct://") == DirectServer()
    assert parse_server("Block://") == BlockServer()
    assert DirectServer().label == "direct://"
    assert BlockServer().label == "block://"
    assert [parse_server(server.to_link()) for server in (DirectServer(), BlockServer())] == [
        DirectServer(),
        BlockServer(),
    ]


def test_label_and_repr_hide_the_password():
    server = ss(f"ss://aes-256-gcm:{SECRET}@[::1]:8388#my%20server%0A%1b[2J")
    assert server.label == "ss://aes-256-gcm@[::1]:8388#my server??[2J"
    assert SECRET not in repr(server) + server.label


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "a server is a link that starts with one of ss://, socks5://, socks4://, socks4a://, http://"),
        (f"aes-256-gcm:{SECRET}@host:1", "a server is a link"),
        (f"{SECRET}%://x", "a server is a link"),
        (f"snell://{SECRET}@host:1", "unknown server scheme snell://; accepted are ss://, socks5://"),
        ("direct://host", "direct:// takes nothing after it"),
        ("block://x", "block:// takes nothing after it"),
        ("ss://", "names no server"),
        (f"ss://{SECRET}", "names no server"),
        (f"ss://aes-256-gcm:{SECRET}", "names no server"),
        (f"ss://aes-256-gcm:{SECRET}#x@host:1", "names no server"),
        (f"ss://{b64('aes-256-gcm')}@host:1", "not METHOD:PASSWORD"),
        (f"ss://{SECRET}@host:1", "not METHOD:PASSWORD"),
        ("ss://%%%@host:1", "not METHOD:PASSWORD"),
        (f"ss://aes-256-gcm:{SECRET}%FF@host:1", "not UTF-8"),
        ("ss://aes-256-gcm:@host:1", "no password"),
        (f"ss://{b64('aes-256-gcm:')}@host:1", "no password"),
        (f"ss://:{SECRET}@host:1", "names no method; accepted are aes-128-gcm"),
        (f"ss://aes-256-gmc:{SECRET}@host:1", "unknown method 'aes-256-gmc'; accepted are aes-128-gcm, aes-192-gcm"),
        (f"ss://rc4-md5:{SECRET}@host:1", "the method rc4-md5 is a stream cipher"),
        (f"ss://none:{SECRET}@host:1", "the method none is not supported"),
        (f"ss://{SECRET}:AES-256-GCM@host:1", "method and password swapped"),
        (f"ss://2022-blake3-aes-128-gcm:{SECRET}@host:1", "16 bytes in base64"),
        (f"ss://2022-blake3-aes-256-gcm:{KEY_16}@host:1", "has 16 bytes; it must have 32"),
        (f"ss://2022-blake3-chacha20-poly1305:{KEY_16}:{KEY_16}@host:1", "takes one key only"),
        (f"ss://aes-256-gcm:{SECRET}@host", "names no port"),
        (f"ss://aes-256-gcm:{SECRET}@host:", "names no port"),
        (f"ss://aes-256-gcm:{SECRET}@[::1]", "names no port"),
        (f"ss://aes-256-gcm:{SECRET}@host:0", "not a number from 1 to 65535"),
        (f"ss://aes-256-gcm:{SECRET}@host:65536", "not a number from 1 to 65535"),
        (f"ss://aes-256-gcm:{SECRET}@host:١٢", "not a number from 1 to 65535"),
        (f"ss://aes-256-gcm:{SECRET}@host:80/path", "not a number from 1 to 65535"),
        (f"ss://aes-256-gcm:{SECRET}@host:http", "not a number from 1 to 65535"),
        (f"ss://aes-256-gcm:{SECRET}@:1", "names no host"),
        (f"ss://aes-256-gcm:{SECRET}@::1:8388", "stands in brackets"),
        (f"ss://aes-256-gcm:{SECRET}@[::1:8388", "not an IPv6 address"),
        (f"ss://aes-256-gcm:{SECRET}@[host]:8388", "not an IPv6 address"),
        (f"ss://aes-256-gcm:{SECRET}@[::1]8388", "followed by ':' and a port"),
        (f"ss://aes-256-gcm:{SECRET}@ho st:8388", "characters that no host name has"),
        (f"ss://aes-256-gcm:{SECRET}@{'h' * 256}:8388", "or too many"),
        (
            f"ss://aes-256-gcm:{SECRET}@host:1/?plugin=obfs-local%3Bkey%3D{SECRET}",
            "obfs-local has an unknown option 'key'",
        ),
        (f"ss://{b64(f'aes-256-gcm:{SECRET}@host')}", "names no port"),
        (f"ss://{b64(f'aes-256-gcm:{SECRET}@host:1')}?plugin=%3Bx", "plugin is NAME"),
    ],
)
def test_refusals_are_one_line_without_the_password(url, reason):
    with pytest.raises(LocalError) as caught:
        parse_server(url)
    message = str(caught.value)
    assert reason in message
    assert SECRET.lower() not in message.lower()
    assert "\n" not in message


def test_refusal_of_a_strange_method_stays_one_line():
    with pytest.raises(LocalError) as caught:
        parse_server(f"ss://{b64('bad' + chr(10) + chr(27) + 'x' * 500 + ':p')}@host:1")
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 400


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
SERVERS = st.builds(
    ShadowsocksServer,
    host=st.sampled_from(["a.example", "::1", "192.0.2.1", "fe80::1%25", "fe80::1%eth0", "b%41r", "bücher.example"]),
    port=st.integers(1, 65535),
    method=st.sampled_from(sorted(name for name, method in METHODS.items() if not method.is_2022)),
    password=TEXT.filter(bool),
    tag=st.none() | TEXT,
)


@given(SERVERS)
def test_links_parse_back_equal(server):
    assert parse_server(server.to_link()) == server


@given(TEXT, st.sampled_from(["", "ss://", "ss://aes-256-gcm:p@", "ss://aes-256-gcm:p@h:1/?", "direct://"]))
def test_any_text_is_a_server_or_a_local_error(text, start):
    try:
        server = parse_server(start + text)
    except LocalError as error:
        line = str(error)
    else:
        assert parse_server(server.to_link()) == server
        line = server.label
    assert line.isprintable()
