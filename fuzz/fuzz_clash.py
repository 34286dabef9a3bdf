"""Any text as a Clash configuration: a profile with what was left out, or LocalError in one line."""

from __future__ import annotations

from tunflow.errors import LocalError
from tunflow.profiles.imports.clash import read_clash

SEEDS = [
    b"mode: rule\nx: &x {cipher: aes-256-gcm, password: p}\n"
    b"proxies:\n- {name: a, type: ss, server: h, port: 1, <<: *x}\n"
    b"- {name: b, type: socks5, server: h, port: 2, username: u}\nproxy-groups:\n"
    b"- {name: g, type: url-test, proxies: [a, b, g2], url: http://h/, interval: 30}\n"
    b"- {name: g2, type: relay, proxies: [a, b]}\nrules:\n- DOMAIN,a.b,g\n- MATCH,g2\n",
    b"rules: [RULE-SET,l,DIRECT]\nrule-providers: {l: {type: http, behavior: domain, url: 'https://h/'}}\n",
    b"dns: {enable: true, nameserver: [8.8.8.8, 'tls://d@1.1.1.1'], fallback: [1.1.1.1], enhanced-mode: fake-ip,\n"
    b" fake-ip-range: 198.18.0.1/16, fake-ip-filter: ['+.lan'], nameserver-policy: {'+.a': 9.9.9.9}}\n"
    b"hosts: {a.b: 10.0.0.1}\nrules: []\n",
]


def one_line(error: LocalError) -> None:
    """What is wrong must fit on a terminal's line."""
    assert "\n" not in str(error), str(error)


def one_input(data: bytes) -> None:
    """Read it."""
    text = data.decode("utf-8", "replace")
    try:
        draft = read_clash(text, "f.yaml")
        profile = draft.profile("f")
    except LocalError as error:
        one_line(error)
    else:
        assert profile.rules
