"""Any bytes as what other programs call a configuration: a profile, or one line that says why there is none."""

from __future__ import annotations

from tunflow.errors import LocalError, RemoteError
from tunflow.profiles.imports.importer import ImportSource, import_profile
from tunflow.profiles.imports.surge import read_surge
from tunflow.profiles.imports.user_info import parse_user_info_untrusted

SEEDS = [
    b'[General]\ndns-server = 8.8.8.8, system\n[Proxy]\na = ss, h, 1, encrypt-method=aes-256-gcm, password="p,w"\n'
    b"b = vmess, h, 2, username=01234567-89ab-cdef-0123-456789abcdef, vmess-aead=true, ws=true, ws-headers=Host:x|Y:z\n"
    b"[Proxy Group]\ng = url-test, a, b, include-other-group=h, policy-regex-filter=^(a|b)$\nh = select, g\n"
    b"[Rule]\nRULE-SET,https://l/x.list,g\nAND,((DOMAIN,x),(DEST-PORT,1)),a\nFINAL,g,dns-failed\n"
    b"[Host]\nx = 1.1.1.1\n*.y = server:9.9.9.9\nz = w\n[URL Rewrite]\n^http://x _ reject\n",
    b'{"outbounds":[{"type":"vless","tag":"v","server":"h","server_port":1,"uuid":"01234567-89ab-cdef-0123-456789abcdef",'
    b'"tls":{"enabled":true,"utls":{"enabled":true,"fingerprint":"x"}},"transport":{"type":"ws","headers":{"Host":["x"]}}},'
    b'{"type":"urltest","tag":"g","outbounds":["v"],"interval":"3m"}],"route":{"rules":[{"domain_suffix":[".x","y"],'
    b'"port":[1,2],"invert":true,"outbound":"v"},{"type":"logical","mode":"or","rules":[{"network":"udp"}],"action":"reject"}]}}',
    b'{"outbounds":[{"protocol":"trojan","settings":{"servers":[{"address":"h","port":1,"password":"p"}]},"streamSettings":'
    b'{"network":"ws","security":"tls","tlsSettings":{"serverName":"s"},"wsSettings":{"path":"/x","headers":{"Host":"h"}}}}]}',
    b"transport:\n  $type: tcpudp\n  tcp: &s\n    $type: shadowsocks\n"
    b"    endpoint: {$type: dial, address: 'a:1', dialer: {$type: ss, endpoint: 'b:1', cipher: c, secret: p}}\n"
    b"    cipher: aes-256-gcm\n    secret: p\n"
    b"  udp: *s\n",
    b"upload=1; download=2; total=3; expire=4",
]


def one_line(error: Exception) -> None:
    """What is wrong must fit on a terminal's line."""
    assert "\n" not in str(error), str(error)


def one_input(data: bytes) -> None:
    """Read it as each."""
    text = data.decode("utf-8", "replace")
    info = parse_user_info_untrusted(text)
    assert info.total is None or info.total > 0
    try:
        profile = read_surge(text, "f.conf").profile("f")
    except LocalError as error:
        one_line(error)
    else:
        assert profile.rules
    if b"://" in data[:64] or b"proxy-providers" in data or b"policy-path" in data:
        return  # might be fetched
    try:
        import_profile(ImportSource(data, "the file", "fuzzed"))
    except (LocalError, RemoteError) as error:
        one_line(error)
