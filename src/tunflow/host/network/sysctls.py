"""Kernel settings below /proc/sys/net that a tunnel needs: which, and setting and restoring them.

- `ipv4/conf/all/rp_filter` 2 where anything is stricter: answers from the server come in by an interface that,
  without the mark, is not the way to it, and the strict check (RFC 3704 §2.2) would drop them; loose (§2.4) stays.
- a gateway forwards: for IPv4 by its own interface and the tunnel's, never all. IPv6 has such a setting per interface
  since Linux 6.17 (`force_forwarding`); before, forwarding is switched on for all, and a host that learned its
  routers by router advertisements would forget them unless `accept_ra` is 2 first.

Read first: Linux Documentation/networking/ip-sysctl.rst.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tunflow.errors import LocalError

ROOT = Path("/proc/sys/net")
_LOOSE = "2"
_ALL_FORWARD = "ipv6/conf/all/forwarding"


def plan(device: str, gateways: Sequence[str]) -> list[tuple[str, str]]:
    """Names below /proc/sys/net and the values they should have, in the order to set them; only what differs."""
    wanted: list[tuple[str, str]] = []
    if any(_read(path) == "1" for path in ROOT.glob("ipv4/conf/*/rp_filter")):
        wanted.append(("ipv4/conf/all/rp_filter", _LOOSE))
    if gateways:
        wanted += [(f"ipv4/conf/{name}/forwarding", "1") for name in (*gateways, device)]
        wanted += _forwarding6((*gateways, device))
    changes = [(name, value) for name, value in wanted if read(name) not in (value, None)]
    return wanted if (_ALL_FORWARD, "1") in changes else changes


def _forwarding6(devices: Sequence[str]) -> list[tuple[str, str]]:
    if read(_ALL_FORWARD) in ("1", None):
        return []
    if read(f"ipv6/conf/{devices[0]}/force_forwarding") is not None:
        return [(f"ipv6/conf/{name}/force_forwarding", "1") for name in devices]
    folders = sorted(path.name for path in (ROOT / "ipv6/conf").iterdir() if path.name not in ("all", "lo"))
    keep_routers = [
        (f"ipv6/conf/{name}/accept_ra", "2") for name in folders if read(f"ipv6/conf/{name}/accept_ra") == "1"
    ]
    # What forwards already is set again: switching "all" back off would switch it off too, and then it is restored.
    forwarding = [name for name in folders if read(f"ipv6/conf/{name}/forwarding") == "1"]
    return [*((f"ipv6/conf/{name}/forwarding", "1") for name in forwarding), *keep_routers, (_ALL_FORWARD, "1")]


def is_for_all(name: str) -> bool:
    """Return True if every tunnel needs `name`, not only one that is a gateway."""
    return name.endswith("/rp_filter")


def read(name: str) -> str | None:
    """The value of `name`, or None where the kernel has no such setting."""
    return _read(ROOT / name)


def write(name: str, value: str) -> None:
    """Set `name`. Raises LocalError."""
    try:
        (ROOT / name).write_text(value, encoding="ascii")
    except OSError as error:
        raise LocalError(f"/proc/sys/net/{name} cannot be set to {value}: {error.strerror}") from None


def restore(before: Mapping[str, tuple[str, str]]) -> None:
    """Give settings the first of their two values back where they still have the second, last one first.

    What somebody else has set since is theirs; what went with its interface needs nothing. Raises LocalError.
    """
    for name, (old, ours) in reversed(list(before.items())):
        if read(name) is not None and (read(name) == ours or old == ours):
            write(name, old)


def _read(path: Path) -> str | None:
    with suppress(OSError):
        return path.read_text(encoding="ascii").strip()
    return None
