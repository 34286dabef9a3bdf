"""`tunflow run` through a Trojan, VLESS or VMess server of Xray's, for `bench.rows`.

Trojan and VLESS stand in TLS, VMess (aes-128-gcm) on TCP.
"""

from __future__ import annotations

import ssl
from hashlib import sha256

from bench.netlab.namespaces import SERVER4, Lab
from bench.netlab.processes import Process
from bench.netlab.proxy_peers import make_certificate, start_xray, xray_server, xray_stream_inbound
from bench.rows import Tunnel

USERS = {
    "trojan": "password",
    "vless": "01234567-89ab-cdef-0123-456789abcdef",
    "vmess": "01234567-89ab-cdef-0123-456789abcdef",
}
_PORT = 8470


class StreamTunnel(Tunnel):
    """`tunflow run` with one such server, which it starts on S."""

    def __init__(self, protocol: str) -> None:
        super().__init__(f"tunflow {protocol}://", "")
        self._protocol = protocol
        self._server: Process | None = None

    def start(self, lab: Lab) -> None:
        """Start the server, then as `Tunnel.start`."""
        user = USERS[self._protocol]
        certificate = None if self._protocol == "vmess" else make_certificate(lab)
        inbound = xray_stream_inbound(_PORT, self._protocol, user, certificate=certificate)
        self._server = start_xray(lab, f"bench-{self._protocol}", xray_server([inbound]))
        self.url = f"{self._protocol}://{user}@{SERVER4}:{_PORT}"
        if certificate is not None:
            pin = sha256(ssl.PEM_cert_to_DER_cert(certificate[0].read_text())).hexdigest()
            self.url += f"?security=tls&pcs={pin}"
        super().start(lab)

    def stop(self) -> None:
        """End both."""
        super().stop()
        if self._server is not None:
            self._server.stop()
            self._server = None
