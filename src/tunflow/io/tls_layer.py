"""TLS without a socket: bytes of the flow in, bytes of the wire out, and back.

For name servers that are asked over TLS or HTTPS, so that they use the same sockets, codecs and loop as everything
else. Read first: RFC 8310 §5 (strict profile: the certificate must be the server's), RFC 7858 §3.2.
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Sequence
from functools import cache

from tunflow.endpoint import Buffer

_READ_SIZE = 16 * 1024
"""Bytes of a TLS record (RFC 8446 §5.1)."""


@cache
def client_context(protocol: str | None = None) -> ssl.SSLContext:
    """What every connection shares: the system's authorities (or SSL_CERT_FILE's), TLS 1.2 or later, one ALPN name."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if protocol is not None:
        context.set_alpn_protocols([protocol])
    return context


class TLSLayer:
    """A client's end. `open` raises OSError with the reason in words, after which only `seal` is of use: it has the
    alert for the server."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self.established = False
        self._waiting: list[Buffer] = []
        self._handshake()

    @property
    def protocol(self) -> str | None:
        """What both ends agreed to speak (ALPN)."""
        return self._tls.selected_alpn_protocol()

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """Flow bytes to wire bytes; those before the end of the handshake wait for it."""
        self._waiting += pieces
        if self.established:
            for piece in self._waiting:
                if len(piece):
                    self._tls.write(piece)
            self._waiting.clear()
        wire = self._outgoing.read()
        return [wire] if wire else []

    def open(self, data: Buffer) -> tuple[bytes, bool]:
        """Wire bytes to flow bytes, and whether the peer has said goodbye. What is to be sent then, `seal` gives."""
        self._incoming.write(data)
        try:
            if not self.established:
                self._handshake()
            return self._read() if self.established else (b"", False)
        except ssl.SSLCertVerificationError as error:
            raise OSError(errno.EPROTO, f"its certificate is not good: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise OSError(errno.EPROTO, f"TLS failed: {error.reason}") from error

    def _read(self) -> tuple[bytes, bool]:
        pieces: list[bytes] = []
        over = False
        while True:
            try:
                piece = self._tls.read(_READ_SIZE)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                over = True
                break
            if not piece:
                over = True
                break
            pieces.append(piece)
        return b"".join(pieces), over

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.established = True
