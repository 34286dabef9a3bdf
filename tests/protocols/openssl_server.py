"""OpenSSL's server side of TLS, in memory."""

from __future__ import annotations

import ssl


def served(certificate, newest=ssl.TLSVersion.TLSv1_3, curve=None):
    """What a server with the certificate and the key of a file speaks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.maximum_version = newest
    if curve is not None:
        context.set_ecdh_curve(curve)
    return context


class OpenSSLServer:
    """One connection of it."""

    def __init__(self, context):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.shaken = False

    def take(self, wire):
        """Bytes from the client; the application's bytes in them. `answer` has what goes back."""
        self.incoming.write(wire)
        got = b""
        try:
            if not self.shaken:
                self.tls.do_handshake()
                self.shaken = True
            while piece := self.tls.read(65536):
                got += piece
        except ssl.SSLWantReadError:
            pass
        return got

    def answer(self):
        return self.outgoing.read()
