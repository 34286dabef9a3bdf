"""Whom TLS trusts, and what it speaks: for `protocols.transport.tls`, which reads no files.

Read first: RFC 8310 §5 (strict profile: a resolver's certificate must be the server's), RFC 7858 §3.2.
"""

from __future__ import annotations

import ssl
from functools import cache

from tunflow.errors import LocalError
from tunflow.paths import parse_path


@cache
def client_context(
    *protocols: str, verified: bool = True, identity: tuple[str, str | None] | None = None
) -> ssl.SSLContext:
    """What every connection shares: the system's authorities (or SSL_CERT_FILE's), TLS 1.2 or later, ALPN names.

    Unless `verified`, any certificate is taken: for who compares it himself, or was told to take any.
    `identity` are the files of our certificate and of its key (None: the same one). Raises LocalError for others.
    """
    # Where no authority is asked, none is loaded: OpenSSL would look for them with each connection.
    context = ssl.create_default_context() if verified else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if protocols:
        context.set_alpn_protocols(list(protocols))
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if identity is not None:
        certificate, key = (None if name is None else str(parse_path(name)) for name in identity)
        try:
            # A password would be asked for on the terminal.
            context.load_cert_chain(certificate or "", key, password=lambda: "")
        except (OSError, ssl.SSLError) as error:
            is_missing = isinstance(error, FileNotFoundError)
            why = "no such file" if is_missing else "no certificate and key in PEM that go together, without a password"
            raise LocalError(f"certificate={certificate} key={key or certificate}: {why}") from None
    return context
