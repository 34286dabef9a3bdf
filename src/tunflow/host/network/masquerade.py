"""Lets a server's clients out: forwarding, and an nftables table that gives their packets this host's address.

The table is `ip tunflow_serve`, our own, and nothing else is touched. It is removed on exit, and the forwarding setting
put back; after a kill -9 the next start replaces the table, and `nft delete table ip tunflow_serve` removes it by hand.
"""

from __future__ import annotations

import shutil
import subprocess
from ipaddress import IPv4Network

from tunflow.errors import LocalError
from tunflow.host.network import sysctls

TABLE = "tunflow_serve"
_FORWARDING = "ipv4/ip_forward"
_SECONDS = 10


class Masquerade:
    """For the packets of `network`, which come in by `device`; a context manager. Raises LocalError."""

    def __init__(self, device: str, network: IPv4Network) -> None:
        self._device = device
        self._network = network
        self._before: str | None = None

    def __enter__(self) -> Masquerade:
        if shutil.which("nft") is None:
            raise LocalError("--masquerade needs nft(8): install nftables")
        _nft(self._rules())
        before = sysctls.read(_FORWARDING)
        if before != "1":
            sysctls.write(_FORWARDING, "1")
            self._before = before
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            sysctls.restore({_FORWARDING: (self._before, "1")})
        _nft(f"add table ip {TABLE}\ndelete table ip {TABLE}\n")

    def _rules(self) -> str:
        # A TCP connection's segments must fit the tunnel whatever the path's MTU discovery does (RFC 4459 §3.2).
        return f"""
            add table ip {TABLE}
            delete table ip {TABLE}
            table ip {TABLE} {{
                chain postrouting {{
                    type nat hook postrouting priority srcnat
                    ip saddr {self._network} oifname != "{self._device}" masquerade
                }}
                chain forward {{
                    type filter hook forward priority mangle
                    iifname "{self._device}" tcp flags syn tcp option maxseg size set rt mtu
                    oifname "{self._device}" tcp flags syn tcp option maxseg size set rt mtu
                }}
            }}
        """


def _nft(text: str) -> None:
    try:
        done = subprocess.run(
            ["nft", "-f", "-"], input=text, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise LocalError(f"nft has not answered for {_SECONDS} s") from None
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if line.strip()), f"status {done.returncode}")
        raise LocalError(f"nft refuses the table ip {TABLE}: {reason.strip()}")
