"""systemd-resolved: the resolvers of the tunnel's link, told over D-Bus through busctl(1).

What is set belongs to the link and goes with it. `~.` makes the link the one for all names, so that no other link's
resolver is asked; with `match` it is the one for those domains only. DNSSEC and DNS over TLS are off for this link,
whatever the host's default: answers come out of the tunnel, and some are tunflow's own. So are LLMNR and mDNS, which
ask neighbours, and there are none.

Read first: org.freedesktop.resolve1(5), resolved.conf(5), busctl(1).
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from tunflow.errors import LocalError
from tunflow.host.network.settings import HostDNS

_SECONDS = 10
_SERVICE = "org.freedesktop.resolve1"
_MANAGER = (_SERVICE, "/org/freedesktop/resolve1", "org.freedesktop.resolve1.Manager")
_BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")


def is_running() -> bool:
    """Return True if systemd-resolved is on the system bus; does not start it."""
    if shutil.which("busctl") is None:
        return False
    with suppress(LocalError):
        return _call(_BUS, "NameHasOwner", "s", _SERVICE).split() == ["b", "true"]
    return False


def apply(dns: HostDNS, device: str) -> None:
    """Have names asked of `dns` through the link `device`. Raises LocalError."""
    index = str(socket.if_nametoindex(device))
    servers: list[str] = [str(len(dns.servers))]
    for server in dns.servers:
        family = socket.AF_INET if server.version == 4 else socket.AF_INET6
        servers += [str(int(family)), str(len(server.packed)), *map(str, server.packed)]
    routing = ["."] if dns.match is None else [domain.rstrip(".") for domain in dns.match]
    domains: list[str] = [str(len(dns.search) + len(routing))]
    for domain in dns.search:
        domains += [domain.rstrip("."), "false"]
    for domain in routing:
        domains += [domain, "true"]
    before = _asked()
    _call(_MANAGER, "SetLinkDNS", "ia(iay)", index, *servers)
    _call(_MANAGER, "SetLinkDomains", "ia(sb)", index, *domains)
    for method in ("SetLinkDNSSEC", "SetLinkLLMNR", "SetLinkMulticastDNS"):
        _call(_MANAGER, method, "is", index, "no")
    with suppress(LocalError):  # systemd before 239 and 240 has neither of these
        _call(_MANAGER, "SetLinkDNSOverTLS", "is", index, "no")
        _call(_MANAGER, "SetLinkDefaultRoute", "ib", index, "false" if dns.match else "true")
    if _asked() != before:  # each change of the network comes here, and answers of the same resolvers stay true
        _call(_MANAGER, "FlushCaches", "")


def undo(device: str) -> None:
    """Forget what was set for the link `device`, if it is still there. Raises LocalError."""
    with suppress(OSError):
        index = socket.if_nametoindex(device)
        _call(_MANAGER, "RevertLink", "i", str(index))
    if is_running():
        _call(_MANAGER, "FlushCaches", "")


def _asked() -> str:
    """The resolvers and domains of all links, as resolved has them."""
    return _busctl("get-property", *_MANAGER, "DNS", "Domains", what="what it asks")


def _call(to: Sequence[str], method: str, signature: str, *arguments: str) -> str:
    return _busctl("call", *to, method, *((signature, *arguments) if signature else ()), what=method)


def _busctl(*arguments: str, what: str) -> str:
    command = ["busctl", "--system", *arguments]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LocalError(f"systemd-resolved does not answer ({what}): {error}") from None
    if done.returncode:
        raise LocalError(f"systemd-resolved refuses {what}: {done.stderr.strip() or done.returncode}")
    return done.stdout
