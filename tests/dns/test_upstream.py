"""Resolvers as people write them."""

from __future__ import annotations

import pytest

from tunflow.dns.upstream import parse_upstream
from tunflow.endpoint import endpoint
from tunflow.errors import LocalError


@pytest.mark.parametrize(
    ("text", "transport", "host", "port", "name", "via"),
    [
        ("1.1.1.1", "udp", "1.1.1.1", 53, "1.1.1.1", None),
        ("127.0.0.1#5353", "udp", "127.0.0.1", 5353, "127.0.0.1", None),  # chinadns-ng
        ("udp://1.1.1.1:5353", "udp", "1.1.1.1", 5353, "1.1.1.1", None),
        ("tcp://[2001:db8::1]:54", "tcp", "2001:db8::1", 54, "2001:db8::1", None),
        ("2001:db8::1", "udp", "2001:db8::1", 53, "2001:db8::1", None),
        ("tls://dns.google@8.8.8.8", "tls", "8.8.8.8", 853, "dns.google", None),  # chinadns-ng
        ("tls://8.8.8.8#dns.google", "tls", "8.8.8.8", 853, "dns.google", None),  # systemd-resolved
        ("tls://dns.google@8.8.8.8#8853", "tls", "8.8.8.8", 8853, "dns.google", None),
        ("https://1.1.1.1/dns-query", "https", "1.1.1.1", 443, "1.1.1.1", None),
        ("https://dns.google/x/y#HOME", "https", "dns.google", 443, "dns.google", "HOME"),  # mihomo
        ("HTTPS://DNS.Google@8.8.8.8", "https", "8.8.8.8", 443, "dns.google", None),
        ("udp://223.5.5.5#DIRECT", "udp", "223.5.5.5", 53, "223.5.5.5", "direct"),
    ],
)
def test_forms(text, transport, host, port, name, via):
    found = parse_upstream(text)
    assert (found.transport, found.target, found.name, found.via) == (transport, endpoint(host, port), name, via)


def test_labels_and_paths():
    assert parse_upstream("https://dns.google@8.8.8.8/q").label == "https://dns.google@8.8.8.8/q"
    assert parse_upstream("https://1.1.1.1").path == "/dns-query"
    assert parse_upstream("tls://[2001:db8::1]:99").label == "tls://[2001:db8::1]:99"


@pytest.mark.parametrize(
    "text",
    ["", "h3://1.1.1.1", "udp://", "udp://1.1.1.1/x", "1.1.1.1:x", "1.1.1.1:0", "1.1.1.1:70000", "udp://1.1.1.1:",
     "1.1.1.1:53#53", "[::1", "[::1]x", "a b", "udp://-x", "https://a..b", "tls://exa mple@1.1.1.1"],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(text):
    with pytest.raises(LocalError, match="resolver") as failure:
        parse_upstream(text)
    assert "\n" not in str(failure.value)
