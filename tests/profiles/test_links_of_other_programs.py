"""Links as v2rayN, NekoBox, Shadowrocket and panels write them: the server meant, or the word that is not done.

Nothing in a link passes in silence: what would be another connection, or a weaker one, is refused in one line.
"""

from __future__ import annotations

import json
from base64 import b64encode
from urllib.parse import quote

import pytest

from tunflow.errors import LocalError
from tunflow.protocols.registry import parse_server

ID = "01234567-89ab-cdef-0123-456789abcdef"
AT = "h.example:443"


def in_base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def vmess(**more: object) -> str:
    values = {"v": "2", "ps": "", "add": "h.example", "port": 443, "id": ID, "aid": 0, "scy": "auto", **more}
    return f"vmess://{in_base64(json.dumps(values))}"


SS = f"ss://{in_base64('aes-256-gcm:p').rstrip('=')}@{AT}"
VLESS = f"vless://{ID}@{AT}?encryption=none&security=tls"
REALITY = f"vless://{ID}@{AT}?encryption=none&security=reality&pbk={'a' * 43}"
ROCKET = f"{in_base64(f'auto:{ID}@{AT}')}"
HOST = json.dumps({"Host": "b.example"})
V2RAY = {"mode": "websocket", "host": "a.example", "path": "/p", "tls": True}


@pytest.mark.parametrize(
    ("link", "means"),
    [
        # v2rayN writes both spellings, and encodes a user and password as one text.
        (f"{VLESS}&insecure=0&allowInsecure=0&type=raw&headerType=none", VLESS),
        (f"{VLESS}&insecure=1&allowInsecure=1", f"{VLESS}&allowInsecure=1"),
        (f"trojan://p@{AT}?allow_insecure=true", f"trojan://p@{AT}?allowInsecure=1"),
        (f"hysteria2://p@{AT}?sni=a&insecure=0&allowInsecure=0&obfs=none", f"hysteria2://p@{AT}?sni=a"),
        (f"hysteria2://p@{AT}?peer=a&security=tls&fp=chrome&tfo=1", f"hysteria2://p@{AT}?sni=a"),
        (f"tuic://{ID}%3Ap@{AT}?insecure=1&allowInsecure=1&version=5", f"tuic://{ID}:p@{AT}?allow_insecure=1"),
        (vmess(net="grpc", type="multi", insecure="0"), f"vmess://{ID}@{AT}?type=grpc&mode=multi"),
        (vmess(net="grpc", type="gun", path="s", tls=True), f"vmess://{ID}@{AT}?type=grpc&serviceName=s&security=tls"),
        (vmess(net="xhttp", type="auto", path="/p"), f"vmess://{ID}@{AT}?type=xhttp&path=/p"),
        (vmess(tls="1", verify_cert=False), f"vmess://{ID}@{AT}?security=tls&allowInsecure=1"),
        (vmess(tls=False, verify_cert=True, **{"class": 1, "skip-cert-verify": False}), f"vmess://{ID}@{AT}"),
        # A client chooses the cipher: one that seals is never worse than none.
        (vmess(scy="none"), f"vmess://{ID}@{AT}?encryption=aes-128-gcm"),
        (vmess(scy="zero"), f"vmess://{ID}@{AT}?encryption=aes-128-gcm"),
        # Early data saves a round trip, no more.
        (f"{VLESS}&type=ws&path=/p&ed=2048&eh=Sec-WebSocket-Protocol", f"{VLESS}&type=ws&path=/p"),
        (f"{VLESS}&type=xhttp&extra=%7B%7D", f"{VLESS}&type=xhttp"),
        # Shadowrocket
        (
            f"vmess://{ROCKET}?obfs=websocket&obfsParam=b.example&path=/p&tls=1&peer=a.example&tfo=1&alterId=0&remarks=x",
            f"vmess://{ID}@{AT}?security=tls&type=ws&host=b.example&path=/p&sni=a.example#x",
        ),
        (
            f"vless://{ROCKET}?obfs=websocket&obfsParam={quote(HOST)}&tls=1&allowInsecure=1",
            f"{VLESS}&type=ws&host=b.example&allowInsecure=1",
        ),
        (f"vless://{ROCKET}?obfs=grpc&path=s&tls=1", f"{VLESS}&type=grpc&serviceName=s"),
        (f"vless://{ROCKET}?tls=1&xtls=2", f"{VLESS}&flow=xtls-rprx-vision"),
        (
            f"vless://{ROCKET}?tls=1&peer=a.example&xtls=2&pbk={'a' * 43}&sid=01",
            f"{REALITY}&sid=01&sni=a.example&flow=xtls-rprx-vision",
        ),
        (f"vmess://{ROCKET}", f"vmess://{ID}@{AT}"),
        (
            f"trojan://p@{AT}?peer=a&plugin=obfs-local;obfs=websocket;obfs-host=b.example;obfs-uri=/p",
            f"trojan://p@{AT}?sni=a&type=ws&host=b.example&path=/p",
        ),
        (f"trojan://p@{AT}?ws=1&wspath=%2Fp", f"trojan://p@{AT}?type=ws&path=/p"),
        (f"trojan-go://p@{AT}?type=original&sni=a", f"trojan://p@{AT}?sni=a"),
        (
            f"{SS}?v2ray-plugin={in_base64(json.dumps(V2RAY))}",
            f"{SS}?plugin={quote('v2ray-plugin;mode=websocket;host=a.example;path=/p;tls;mux=0')}",
        ),
        # Panels of Xray
        (f"{SS}?type=tcp&security=none&headerType=none", SS),
        (f"{SS}?plugin=none&group=YQ&tfo=1", SS),
    ],
)  # fmt: skip
def test_a_link_means_the_same_as_the_plain_one(link: str, means: str) -> None:
    assert parse_server(link) == parse_server(means)


@pytest.mark.parametrize(
    ("link", "says"),
    [
        # What would have been Shadowsocks in the clear, where TLS or a disguise was asked for.
        (f"{SS}?type=ws&security=tls&path=/p", "type=ws of an ss:// link is not supported"),
        (f"{SS}?security=tls", "security=tls of an ss:// link is not supported"),
        (f"{SS}?headerType=http", "headerType=http of an ss:// link"),
        (f"{SS}?prefix=%16%03%01", "prefix of an ss:// link is not supported"),
        (f"{SS}?shadow-tls=eyJ9", "shadow-tls of an ss:// link is not supported"),
        (f"{SS}?obfs=http&obfs-host=a", "unknown parameter 'obfs-host'; accepted: mux, "),
        (f"{SS}?v2ray-plugin=%21", "v2ray-plugin in an ss:// link is JSON in base64"),
        (f"{SS}?v2ray-plugin={in_base64(json.dumps(V2RAY | {'certRaw': 'x'}))}", "has 'certRaw'; accepted: "),
        (f"{SS}?v2ray-plugin={in_base64(json.dumps(V2RAY | {'allowInsecure': True}))}", "must be valid"),
        (f"{SS}?colour=red", "unknown parameter 'colour'; accepted: mux, "),
        # A client takes the last one, another the first.
        (f"{VLESS}&security=none", "security in a vless:// link is given twice"),
        (f"trojan://p@{AT}?sni=a&sni=b", "sni in a trojan:// link is given twice"),
        (f"trojan://p@{AT}?sni=a&peer=b", "sni and peer are two names"),
        (f"hysteria2://p@{AT}?sni=a&peer=b", "sni and peer in a hysteria2:// link are two names"),
        (f"{VLESS}&insecure=1&allowInsecure=0", "insecure and allowInsecure in a vless:// link say two things"),
        (f"{VLESS}&pbk=k&sid=s", "pbk (public-key) is a REALITY server's public key, 43 characters of base64"),
        (f"{VLESS}&pbk={'a' * 43}", "pbk with security=reality"),
        (f"{VLESS}&sid=01", "sid, spx and pqv (short-id) are of security=reality"),
        (f"{REALITY}&sid=012", "sid (short-id) of REALITY is up to 8 bytes"),
        (f"{REALITY}&pqv=x", "pqv (mldsa65Verify) of REALITY is an ML-DSA-65 key"),
        (f"{REALITY}&type=ws", "security=reality of ws is not supported"),
        (f"{REALITY}&pcs={'0f' * 32}", "security=reality has no certificate to pin"),
        (f"{VLESS}&ech=AEX", "ech is not supported: without it the server's name is seen"),
        (f"{VLESS}&type=xhttp&extra=%7B%22x%22%3A1%7D", "extra is not supported: it is how XHTTP's"),
        (f"{VLESS}&type=kcp&seed=x", "type (network) kcp is not supported; tcp, ws"),
        (f"{VLESS}&type=quic&quicSecurity=none", "type (network) quic is not supported; tcp, ws"),
        (f"{VLESS}&flow=xtls-rprx-vision&type=ws", "flow=xtls-rprx-vision is for type=tcp with security=tls"),
        (f"hysteria2://p@{AT}?security=reality", "security=reality of hysteria2 is not supported: QUIC is tls"),
        (f"hysteria2://p@{AT}?insecure=maybe", "insecure in a hysteria2:// link is 1 or 0 (yes or no), not 'maybe'"),
        (f"tuic://{ID}:p@{AT}?version=4", "version is one of 5, not '4'"),
        (f"trojan-go://p@{AT}?encryption=ss%3Baes-128-gcm%3Apw", "it is Shadowsocks below Trojan"),
        (f"trojan://p@{AT}?plugin=obfs-local;obfs=http", "not supported; obfs-local;obfs=websocket is"),
        (f"vless://{ROCKET}?tls=1&xtls=1", "flow=xtls-rprx-direct is not supported; xtls-rprx-vision and"),
        (f"vless://{ROCKET}?xtls=2", "flow=xtls-rprx-vision is for type=tcp with security=tls"),
        (f"vless://{ROCKET}?tls=1&xtls=2&pbk=k", "pbk (public-key) is a REALITY server's"),
        (f"vless://{ROCKET}?tls=1&obfs=mkcp", "obfs=mkcp in a vless:// link is not supported; none, tcp, websocket"),
        (f"vless://{ROCKET}?tls=1&colour=red", "unknown parameter 'colour'; accepted: "),
        (f"vmess://{ROCKET}?alterId=64", "alterId is not supported but as 0"),
        (f"vmess://{ROCKET}?obfsParam=%7B%22Cookie%22%3A1%7D", "obfsParam is a host name, or JSON with Host"),
        (vmess(net="tcp", type="http"), "headerType=http is not supported; none is"),
        (vmess(tls="reality"), "security=reality goes with the server's public key"),
        (vmess(colour="red"), "unknown key 'colour'; accepted: add, aid"),
    ],
)  # fmt: skip
def test_what_would_be_another_connection_is_refused_by_its_word(link: str, says: str) -> None:
    with pytest.raises(LocalError) as caught:
        parse_server(link)
    assert says in str(caught.value)
    assert str(caught.value).isprintable()
