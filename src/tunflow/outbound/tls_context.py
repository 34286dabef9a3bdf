"""Whom TLS trusts, and what it speaks: for `protocols.transport.tls`, which reads no files.

Read first: RFC 8310 §5 (strict profile: a resolver's certificate must be the server's), RFC 7858 §3.2.
"""

from __future__ import annotations

import ssl
from functools import cache


@cache
def client_context(*protocols: str, verified: bool = True) -> ssl.SSLContext:
    """What every connection shares: the system's authorities (or SSL_CERT_FILE's), TLS 1.2 or later, ALPN names.

    Unless `verified`, any certificate is taken: for who compares it himself, or was told to take any.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if protocols:
        context.set_alpn_protocols(list(protocols))
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
