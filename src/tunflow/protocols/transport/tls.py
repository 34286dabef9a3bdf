"""TLS to a server, a proxy or a resolver, as a stream codec: OpenSSL between two buffers in memory.

Read first: RFC 8446; Python's ssl module, "Memory BIO Support". The context is an argument: reading certificates of
authorities from disk, and the choice of what to trust, is not ours. OpenSSL draws its randomness and reads the clock
for itself, which docs/adr/0031 argues.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.protocols.codec import ProxyRefused, Refusal
from tunflow.protocols.transport.resumption import Resumption

_READ = 64 * 1024


class TLSClient:
    """The client's end of one TLS connection to `host` (a name or an address, as its certificate has it).

    With `pinned`, the SHA-256 of a certificate, the server must have that very one; `resumption` is for all connections
    with this context, host and pin.
    """

    __slots__ = ("_incoming", "_object", "_offered", "_outgoing", "_pinned", "_resumption", "established", "over")

    transparent = False

    def __init__(
        self,
        context: ssl.SSLContext,
        host: str,
        pinned: bytes | None = None,
        resumption: Resumption | None = None,
    ) -> None:
        self._pinned = pinned
        self._resumption = resumption
        offered = None if resumption is None else resumption.session
        self._offered = offered is not None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host, session=offered)
        self.established = False
        self.over = False
        """True if the server has said that it will say no more (RFC 8446 §6.1)."""
        with suppress(ssl.SSLWantReadError):
            self._object.do_handshake()  # makes the ClientHello

    @property
    def is_tls13(self) -> bool:
        """As `layers.TLSLayer.is_tls13`."""
        return self._object.version() == "TLSv1.3"

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """As `StreamCodec.seal`."""
        for piece in pieces:
            if len(piece):
                self._object.write(piece)
        wire = self._outgoing.read()
        return [wire] if wire else []

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """As `StreamCodec.open_untrusted`. Raises BadPacket and, for a certificate, ProxyRefused; `seal` then has the
        alert for the server."""
        self._incoming.write(data)
        pieces: list[Buffer] = []
        try:
            if not self.established:
                self._object.do_handshake()
                self._check_pin()
                self.established = True
                self._judge_offer()
            while piece := self._object.read(_READ):
                pieces.append(piece)
            self.over = True  # behind close_notify; the connection's end follows
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # the same, where we have said it too
            self.over = True
        except ssl.SSLCertVerificationError as error:
            self._judge_offer()
            raise ProxyRefused(Refusal.CERTIFICATE, error.verify_message) from error
        except ssl.SSLError as error:
            self._judge_offer()
            raise BadPacket(f"TLS: {error.reason or error}") from error
        if pieces and self._resumption is not None:
            if not self._object.session_reused:
                self._resumption.look(self._object)  # the ticket came behind the handshake, before anything else
            self._resumption = None
        return pieces, len(data)

    def finish(self) -> list[Buffer]:
        """The close_notify alert (RFC 8446 §6.1)."""
        with suppress(ssl.SSLError):  # it waits for the other side's, which is for `open_untrusted`
            self._object.unwrap()
        return self.seal(())

    def _judge_offer(self) -> None:
        """Offer it no more, where the server did not take it."""
        if self._offered and self._resumption is not None and not (self.established and self._object.session_reused):
            self._resumption.drop()

    def _check_pin(self) -> None:
        """Raises ProxyRefused unless the certificate is the pinned one."""
        if self._pinned is None:
            return
        found = sha256(self._object.getpeercert(binary_form=True) or b"").digest()
        if found != self._pinned:
            self._judge_offer()
            raise ProxyRefused(Refusal.CERTIFICATE, f"its fingerprint is {found.hex()}, not the pinned one")
