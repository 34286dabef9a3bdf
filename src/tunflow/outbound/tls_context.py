"""Whom TLS trusts, and what it speaks: for `protocols.transport.tls`, which reads no files.

Read first: RFC 8310 §5 (strict profile: a resolver's certificate must be the server's), RFC 7858 §3.2.
"""

from __future__ import annotations

import ssl
from functools import cache


@cache
def client_context(protocol: str | None = None) -> ssl.SSLContext:
    """What every connection shares: the system's authorities (or SSL_CERT_FILE's), TLS 1.2 or later, one ALPN name."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if protocol is not None:
        context.set_alpn_protocols([protocol])
    return context
