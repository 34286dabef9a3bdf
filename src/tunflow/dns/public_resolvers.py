"""The names and addresses under which public resolvers are asked over TLS and HTTPS, for who wants none of that.

Not complete and not meant to be: it holds what browsers and phones offer in their settings. Firefox does not use its
own resolver when `use-application-dns.net` does not exist (Mozilla, "Canary domain"), Apple's Private Relay likewise
with its two names (Apple, "Prepare your network for iCloud Private Relay").
"""

from __future__ import annotations

from tunflow.addresses import ip_address

DOT_PORT = 853
"""DNS over TLS (RFC 7858 §3.1) and over QUIC (RFC 9250 §4.1.1)."""
HTTPS_PORT = 443

_NAMES_TEXT = """
use-application-dns.net mask.icloud.com mask-h2.icloud.com
dns.google dns.google.com dns64.dns.google
cloudflare-dns.com one.one.one.one chrome.cloudflare-dns.com mozilla.cloudflare-dns.com
dns.quad9.net dns10.quad9.net dns11.quad9.net
dns.adguard-dns.com dns.adguard.com doh.opendns.com dns.opendns.com dns.nextdns.io
doh.cleanbrowsing.org dns.alidns.com doh.pub dot.pub dns.mullvad.net doh.mullvad.net
"""
_ADDRESSES_TEXT = """
8.8.8.8 8.8.4.4 2001:4860:4860::8888 2001:4860:4860::8844
1.1.1.1 1.0.0.1 2606:4700:4700::1111 2606:4700:4700::1001
9.9.9.9 149.112.112.112 2620:fe::fe 2620:fe::9
94.140.14.14 94.140.15.15 208.67.222.222 208.67.220.220 223.5.5.5 223.6.6.6 1.12.12.12 120.53.53.53
"""
_NAMES = frozenset(_NAMES_TEXT.split())
_ADDRESSES = frozenset(ip_address(text).packed for text in _ADDRESSES_TEXT.split())


def is_public_resolver(name: str) -> bool:
    """Whether a name (lower case) is a public resolver's, or one below it."""
    while name:
        if name in _NAMES:
            return True
        name = name.partition(".")[2]
    return False


def is_encrypted_dns(host: bytes | str, port: int) -> bool:
    """Whether a flow to `host` is, as far as can be told, DNS over TLS, QUIC or HTTPS."""
    if port == DOT_PORT:
        return True
    if port != HTTPS_PORT:
        return False
    return is_public_resolver(host) if isinstance(host, str) else host in _ADDRESSES
