"""Which of root's powers this process has, and letting go of those that it does not need.

Read first: capabilities(7).
"""

from __future__ import annotations

from pathlib import Path

from tunflow.errors import LocalError

CAP_NET_ADMIN = 12
"""linux/capability.h"""


def effective() -> int:
    """The effective capabilities of the calling thread, as a mask."""
    for line in Path("/proc/thread-self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def require_net_admin() -> None:
    """Raise LocalError where the network may not be changed."""
    if not effective() >> CAP_NET_ADMIN & 1:
        raise LocalError("tunflow up changes this machine's network: run it as root (it needs CAP_NET_ADMIN)")
