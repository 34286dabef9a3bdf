"""ocserv on S: AnyConnect's server, with one user and a certificate of its own making."""

from __future__ import annotations

import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from bench.netlab.namespaces import SERVER4, SITE4, Lab
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PORT = 4433
INSIDE4 = "10.91.0.1"
USER, PASSWORD = "maria", "s3cret-of-the-lab"


class Ocserv:
    """Its files, and links to it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        certificate, key = directory / "ocserv.pem", directory / "ocserv.key"
        words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=vpn.lab"]
        subprocess.run([*words, "-keyout", str(key), "-out", str(certificate)], capture_output=True, check=True)
        users = directory / "ocserv.users"
        typed = f"{PASSWORD}\n{PASSWORD}\n"
        subprocess.run(["ocpasswd", "-c", str(users), USER], input=typed, text=True, capture_output=True, check=True)
        public = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
        digest = sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
        self.pin = f"pin-sha256:{b64encode(digest).decode()}"
        self.config = directory / "ocserv.conf"
        self.config.write_text(
            f'auth = "plain[passwd={users}]"\ntcp-port = {PORT}\nrun-as-user = root\nrun-as-group = root\n'
            f"socket-file = {directory}/ocserv.sock\nserver-cert = {certificate}\nserver-key = {key}\n"
            f"isolate-workers = false\nmax-clients = 8\ndevice = vpns\nipv4-network = 10.91.0.0/24\n"
            f"ipv6-network = fd91::/64\nipv6-subnet-prefix = 128\ndns = {SITE4}\ncisco-client-compat = true\n"
            f"use-occtl = false\npid-file = {directory}/ocserv.pid\nlog-level = 2\ntunnel-all-dns = true\n"
            f"dtls-legacy = false\ntry-mtu-discovery = false\nmin-reauth-time = 1\nmax-ban-score = 0\n"
        )

    def link(self, *, password: str | None = PASSWORD, pin: str | None = None) -> str:
        """A client's."""
        secret = "" if password is None else f":{quote(password, safe='')}"
        return f"openconnect://{USER}{secret}@{SERVER4}:{PORT}?pin={quote(pin or self.pin, safe='')}"

    @property
    def unpinned(self) -> str:
        """A link that trusts the system's CAs."""
        return f"openconnect://{USER}:{PASSWORD}@{SERVER4}:{PORT}"


@contextmanager
def ocserv(lab: Lab) -> Iterator[Ocserv]:
    """The server runs."""
    made = Ocserv(lab.directory)
    with lab.start(lab.server, ["ocserv", "-f", "-d", "1", "-c", str(made.config)]):
        deadline = time.monotonic() + 15
        while f":{PORT}" not in lab.server.run(["ss", "-Hltn"]).stdout:
            assert time.monotonic() < deadline, "ocserv does not listen"
            time.sleep(0.05)
        yield made
