"""`tunflow run` through a server of Xray's (Trojan, VLESS, VMess) or of sing-box's (Hysteria2), for `bench.rows`.

Trojan and VLESS stand in TLS, VMess (aes-128-gcm) on TCP. `bench.client_rows` has their own clients to these servers.
"""

from __future__ import annotations

import ssl
from hashlib import sha256
from typing import NamedTuple

from bench.netlab.namespaces import SERVER4, Lab
from bench.netlab.processes import Process
from bench.netlab.proxy_peers import make_certificate, start_sing_box, start_xray, xray_server, xray_stream_inbound
from bench.rows import Tunnel

USERS = {
    "trojan": "password",
    "vless": "01234567-89ab-cdef-0123-456789abcdef",
    "vmess": "01234567-89ab-cdef-0123-456789abcdef",
    "hysteria2": "password",
}
PORT = 8470


class Server(NamedTuple):
    """One that runs, and the certificate's fingerprint, where it has one."""

    process: Process
    pin: str | None


def start_server(lab: Lab, protocol: str) -> Server:
    """A server on S for the user of `USERS`."""
    user = USERS[protocol]
    certificate = None if protocol == "vmess" else make_certificate(lab)
    pin = None
    if certificate is not None:
        pin = sha256(ssl.PEM_cert_to_DER_cert(certificate[0].read_text())).hexdigest()
    if protocol == "hysteria2":
        assert certificate is not None
        files = {"enabled": True, "certificate_path": str(certificate[0]), "key_path": str(certificate[1])}
        users = [{"password": user}]
        inbound = {"type": protocol, "listen": "::", "listen_port": PORT, "users": users, "tls": files}
        return Server(start_sing_box(lab, f"bench-{protocol}", [inbound]), pin)
    inbound = xray_stream_inbound(PORT, protocol, user, certificate=certificate)
    return Server(start_xray(lab, f"bench-{protocol}", xray_server([inbound])), pin)


class StreamTunnel(Tunnel):
    """`tunflow run` with one such server, which it starts on S; `mux` is for flows that share connections."""

    def __init__(self, protocol: str, mux: str = "") -> None:
        super().__init__(f"tunflow {protocol}://" + (f" {mux}" if mux else ""), "")
        self._protocol = protocol
        self._mux = mux
        self._server: Server | None = None

    def start(self, lab: Lab) -> None:
        """Start the server, then as `Tunnel.start`."""
        self._server = start_server(lab, self._protocol)
        options = [f"mux={self._mux}"] if self._mux else []
        if self._server.pin is not None:
            of_quic = [f"pinSHA256={self._server.pin}", "insecure=1"]
            options += of_quic if self._protocol == "hysteria2" else ["security=tls", f"pcs={self._server.pin}"]
        user = USERS[self._protocol]
        self.url = f"{self._protocol}://{user}@{SERVER4}:{PORT}" + ("?" + "&".join(options) if options else "")
        super().start(lab)

    def stop(self) -> None:
        """End both."""
        super().stop()
        if self._server is not None:
            self._server.process.stop()
            self._server = None
