"""wireguard-go on S, and keys for it made by wireguard-tools."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

from bench.netlab.namespaces import SERVER4, SITE4, Lab

PORT = 51820
INSIDE4, INSIDE6 = "10.90.0.1", "fd90::1"


INTERFACE = f"wglab{os.getpid()}"
"""Of wireguard-go: its control socket has the interface's name, and is in one folder for all namespaces."""


class Keys:
    """Both ends' keys."""

    def __init__(self) -> None:
        self.server, self.client = (self._run("genkey") for _ in range(2))
        self.server_public, self.client_public = (self._run("pubkey", each) for each in (self.server, self.client))
        self.preshared = self._run("genpsk")

    @staticmethod
    def _run(what: str, given: str = "") -> str:
        return subprocess.run(["wg", what], input=given, capture_output=True, text=True, check=True).stdout.strip()

    def link(self, *, preshared: str = "") -> str:
        """A client's link; its names are looked up at the site."""
        values = {
            "publickey": self.server_public,
            "presharedkey": preshared or self.preshared,
            "address": "10.90.0.2/32,fd90::2/128",
            "dns": SITE4,
        }
        query = "&".join(f"{key}={quote(value, safe='')}" for key, value in values.items())
        return f"wireguard://{quote(self.client, safe='')}@{SERVER4}:{PORT}?{query}"

    def profile(self, directory: Path, *, preshared: str = "", more: str = "") -> str:
        """A client's wg-quick file; where it is."""
        path = directory / "wg-lab.conf"
        path.write_text(
            f"[Interface]\nPrivateKey = {self.client}\nAddress = 10.90.0.2/32, fd90::2/128\n{more}[Peer]\n"
            f"PublicKey = {self.server_public}\nPresharedKey = {preshared or self.preshared}\n"
            f"AllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = {SERVER4}:{PORT}\n"
        )
        path.chmod(0o644)
        return str(path)


@contextmanager
def wireguard_go(lab: Lab, keys: Keys) -> Iterator[None]:
    """A server with one peer, IPv4 and IPv6 inside."""
    config = lab.directory / "wireguard-server.conf"
    config.write_text(
        f"[Interface]\nPrivateKey = {keys.server}\nListenPort = {PORT}\n[Peer]\nPublicKey = {keys.client_public}\n"
        f"PresharedKey = {keys.preshared}\nAllowedIPs = 10.90.0.2/32, fd90::2/128\n"
    )
    with ExitStack() as stack:
        stack.enter_context(lab.start(lab.server, ["wireguard-go", "-f", INTERFACE]))
        deadline = time.monotonic() + 60
        while lab.server.run(["wg", "show", INTERFACE], check=False).returncode:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        lab.server.run(["wg", "setconf", INTERFACE, str(config)])
        lab.server.run(["ip", "address", "add", f"{INSIDE4}/24", "dev", INTERFACE])
        lab.server.run(["ip", "address", "add", f"{INSIDE6}/64", "dev", INTERFACE, "nodad"])
        lab.server.run(["ip", "link", "set", INTERFACE, "mtu", "1420", "up"])
        yield
