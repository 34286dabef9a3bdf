from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.errors import LocalError
from tunflow.protocols.http.settings import HTTPServer
from tunflow.protocols.registry import parse_server
from tunflow.protocols.shadowsocks.settings import ShadowsocksServer
from tunflow.protocols.socks.settings import SocksServer
from tunflow.protocols.tor.settings import TorServer

SECRET = "S3CRET"


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("socks5://host:1", SocksServer("socks5", "host", 1)),
        ("socks5h://host", SocksServer("socks5", "host", 1080)),
        ("SOCKS://[::1]:9/", SocksServer("socks5", "::1", 9)),
        ("socks5://me:p%40ss%3A@host:1#mine", SocksServer("socks5", "host", 1, "me", "p@ss:", tag="mine")),
        ("socks5://me@host:1?optimistic=yes", SocksServer("socks5", "host", 1, "me", optimistic=True)),
        ("socks4://me@192.0.2.1:1080", SocksServer("socks4", "192.0.2.1", 1080, "me")),
        ("socks4a://host:1080", SocksServer("socks4a", "host", 1080)),
        ("http://host:3128", HTTPServer("http", "host", 3128)),
        ("https://a:b:c@host:443/#x", HTTPServer("https", "host", 443, "a", "b:c", "x")),
        ("tor://", TorServer()),
        ("tor://?isolate=flow", TorServer(isolate="flow")),
        ("tor://10.0.0.1:9150", TorServer("10.0.0.1", 9150)),
        ("tor://:9150?isolate=program&optimistic=yes", TorServer(port=9150, isolate="program", optimistic=True)),
    ],
)
def test_links(url, server):
    assert parse_server(url) == server
    assert parse_server(server.to_link()) == server


def test_label_and_repr_hide_the_password():
    for scheme in ("socks5", "http", "https"):
        server = parse_server(f"{scheme}://me:{SECRET}@host:1#a%0Ab")
        assert server.label == f"{scheme}://host:1#a?b"
        assert SECRET not in repr(server)
    assert TorServer().label == "tor://127.0.0.1:9050"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"socks5://u:{SECRET}@", "names no host; it reads socks5://[USER:PASSWORD@]HOST:PORT"),
        (f"socks5://u:{SECRET}@::1:1080", "stands in brackets"),
        (f"socks5://u:{SECRET}@host:0", "not a number from 1 to 65535"),
        (f"socks5://u:{SECRET}@host:1?isolate=flow", "unknown option 'isolate'; accepted: optimistic"),
        (f"socks5://u:{SECRET}@host:1?optimistic=1", "optimistic in a socks5:// link is one of yes, no"),
        (f"socks5://:{SECRET}@host:1", "user name has 1 to 255 bytes"),
        (f"socks5://u:{SECRET * 60}@host:1", "at most 255"),
        (f"socks5://u%FF:{SECRET}@host:1", "not UTF-8"),
        (f"socks4://u:{SECRET}@host:1", "socks4:// has a user name only"),
        ("socks4a://u%00@host:1", "no NUL"),
        (f"http://u:{SECRET}@host", "names no port"),
        (f"http://u%3A:{SECRET}@host:1", "no colon"),
        (f"https://u:{SECRET}@host:1?insecure=yes", "unknown option 'insecure'; accepted: none"),
        (f"tor://u:{SECRET}@host:1", "takes no user name"),
        ("tor://?isolate=yes", "isolate in a tor:// link is one of flow, program"),
    ],
)
def test_refusals_are_one_line_without_the_password(url, reason):
    with pytest.raises(LocalError) as caught:
        parse_server(url)
    message = str(caught.value)
    assert reason in message
    assert SECRET not in message
    assert message.isprintable()


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)
HOST = st.sampled_from(["a.example", "::1", "192.0.2.1", "fe80::1%eth0", "b%41r"])
PORT = st.integers(1, 65535)
SERVERS = (
    st.builds(SocksServer, st.just("socks5"), HOST, PORT, TEXT, st.none() | TEXT, st.booleans(), st.none() | TEXT)
    | st.builds(SocksServer, st.sampled_from(["socks4", "socks4a"]), HOST, PORT, st.none() | TEXT)
    | st.builds(
        HTTPServer, st.sampled_from(["http", "https"]), HOST, PORT, TEXT.filter(lambda text: ":" not in text), TEXT
    )
    | st.builds(TorServer, HOST, PORT, st.sampled_from([None, "flow", "program"]), st.booleans(), st.none() | TEXT)
)


@given(SERVERS)
def test_links_parse_back_equal(server):
    assert parse_server(server.to_link()) == server


def test_2022_keys_with_identities_parse_back_equal():
    keys = "AAECAwQFBgcICQoLDA0ODw==:EBESExQVFhcYGRobHB0eHw=="
    server = ShadowsocksServer("host", 1, "2022-blake3-aes-128-gcm", keys)
    assert parse_server(server.to_link()) == server
    assert parse_server(f"ss://2022-blake3-aes-128-gcm:{keys}@host:1") == server
