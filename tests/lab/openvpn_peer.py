"""Debian's openvpn on S: keys and certificates made by openssl, a server, and client configurations for it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bench.netlab.namespaces import SERVER4, Lab, Namespace
from bench.netlab.processes import Process

PORT = 1194
INSIDE = "10.8.0.1"
CHECK_USER = '#!/bin/sh\n[ "$username" = me ] && [ "$password" = "a secret" ]\n'
EXTENSIONS = (
    "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage={usage}Auth\n"
    "authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"
)


class Keys:
    """A directory of certificates and keys."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        directory.chmod(0o755)
        self._openssl("req", "-x509", *_NEW, "-keyout", "ca.key", "-out", "ca.crt", "-days", "30", "-subj", "/CN=ca")
        for usage in ("server", "client"):
            self._issue(usage)
        self._run("openvpn", "--genkey", "secret", "ta.key")
        self._run("openvpn", "--genkey", "secret", "wrong.key")
        self._run("openvpn", "--genkey", "tls-crypt-v2-server", "v2-server.key")
        self._run("openvpn", "--tls-crypt-v2", "v2-server.key", "--genkey", "tls-crypt-v2-client", "v2-client.key")
        script = directory / "check-user"
        script.write_text(CHECK_USER)
        script.chmod(0o755)
        for file in directory.iterdir():
            file.chmod(file.stat().st_mode | 0o444)  # an ordinary user's tunflow reads them too

    def _issue(self, usage: str) -> None:
        name = f"{usage}.lab"
        self._openssl("req", *_NEW, "-keyout", f"{usage}.key", "-out", f"{usage}.csr", "-subj", f"/C=DE/CN={name}")
        (self.directory / "extensions").write_text(EXTENSIONS.format(usage=usage))
        signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-extfile", "extensions"]
        self._openssl("x509", "-req", "-in", f"{usage}.csr", "-out", f"{usage}.crt", *signed)

    def _openssl(self, *arguments: str) -> None:
        self._run("openssl", *arguments)

    def _run(self, *argv: str) -> None:
        subprocess.run(argv, cwd=self.directory, check=True, capture_output=True, timeout=30)

    def client(
        self, name: str, *lines: str, proto: str = "udp", server: str = SERVER4, certificate: bool = True
    ) -> str:
        """A client's configuration file; where it is."""
        text = ["client", "dev tun", f"proto {proto}", f"remote {server} {PORT}", "nobind", "ca ca.crt"]
        text += ["cert client.crt", "key client.key"] if certificate else []
        text += ["remote-cert-tls server", "verify-x509-name server.lab name", *lines]
        path = self.directory / f"{name}.ovpn"
        path.write_text("\n".join(text) + "\n")
        return str(path)


_NEW = ("-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")


def start_openvpn(
    lab: Lab, keys: Keys, *options: str, proto: str = "udp", host: Namespace | None = None, where: Sequence[str] = ()
) -> Process:
    """An openvpn server, ready for clients. Raises RuntimeError."""
    transport = ["--proto", "tcp-server" if proto == "tcp" else "udp", "--port", str(PORT), "--local", SERVER4]
    network = ["--server", "10.8.0.0", "255.255.255.0", "--topology", "subnet", "--keepalive", "1", "6"]
    papers = ["--ca", "ca.crt", "--cert", "server.crt", "--key", "server.key", "--dh", "none"]
    pushed = ["--push", "redirect-gateway def1", *where]
    argv = ["openvpn", "--cd", str(keys.directory), "--dev", "tun", *transport, *network, *papers, *pushed, *options]
    server = lab.start(host or lab.server, [*argv, "--verb", "3"])
    deadline = time.monotonic() + 60
    while "Initialization Sequence Completed" not in server.output():
        if server.popen.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(server.output())
        time.sleep(0.02)
    return server
