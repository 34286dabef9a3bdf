"""The name servers that the network outside the tunnel gave this host.

While the tunnel is up `/etc/resolv.conf` may name the tunnel's own; the lists that network managers keep beside it do
not. What was found once is remembered for when nothing else is left. Read first: resolv.conf(5), systemd-resolved(8)
("/run/systemd/resolve/resolv.conf").
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tunflow.addresses import ip_address

SOURCES = (
    Path("/run/systemd/resolve/resolv.conf"),
    Path("/run/NetworkManager/no-stub-resolv.conf"),
    Path("/etc/resolv.conf"),
    Path("/etc/resolv.conf.before-tunflow"),
)
"""In the order of preference: the first that names a server outside this machine counts."""


class OuterResolvers:
    """Asks anew each time; `own` are the tunnel's addresses, which are never outside."""

    def __init__(self, own: Sequence[str], sources: Sequence[Path] = SOURCES) -> None:
        self._own = frozenset(own)
        self._sources = sources
        self._known: tuple[str, ...] = ()
        self.find()

    def find(self) -> tuple[str, ...]:
        """Their addresses, in the order to ask them."""
        for source in self._sources:
            found = tuple(name for name in nameservers(_read(source)) if self._is_outside(name))
            if found:
                self._known = found
                break
        return self._known

    def _is_outside(self, name: str) -> bool:
        return name not in self._own and not ip_address(name.partition("%")[0]).is_loopback


def nameservers(text: str) -> list[str]:
    """The addresses that a resolv.conf names."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                ip_address(words[1].partition("%")[0])
            except ValueError:
                continue
            found.append(words[1])
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
