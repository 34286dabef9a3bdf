"""What the program's resolver reads: the text of its resolv.conf and of its nsswitch.conf. Pure.

Read first: resolv.conf(5), nsswitch.conf(5).
"""

from __future__ import annotations

_HARMLESS_SOURCES = ("files", "dns", "myhostname")
"""Sources of host names that ask nobody (`files`, `myhostname`) or ask by packets (`dns`). The others (`resolve`,
`mdns…`, `sss`, `wins`, `mymachines` …) ask a daemon over a Unix socket, which a network namespace does not cut: the
daemon would then ask the network in the open."""


def resolv_conf(host: str, nameserver: str) -> str:
    """A resolv.conf that asks `nameserver` alone, with the search list and options of the `host`'s.

    One nameserver, not one for IPv4 and one for IPv6: both would be the same resolver, so a second line only doubles
    the queries (musl asks all at once) or the wait (glibc asks in turn). `trust-ad` is left out: it vouches for the
    host's own resolver, not for this one.
    """
    return "\n".join([f"nameserver {nameserver}", *kept_lines(host)]) + "\n"


def kept_lines(host: str) -> list[str]:
    """The search list and options of a host's resolv.conf, without `trust-ad`."""
    return [line for line in map(_without_trust, host.splitlines()) if line]


def nsswitch_conf(host: str) -> str:
    """The `host`'s nsswitch.conf with host names looked up in files and DNS only, in its order."""
    return "".join(_harmless(line) + "\n" for line in host.splitlines())


def _without_trust(line: str) -> str:
    words = line.split()
    if not words or words[0] not in ("search", "domain", "options"):
        return ""
    words = [word for word in words if word != "trust-ad"]
    return " ".join(words) if len(words) > 1 else ""


def _harmless(line: str) -> str:
    database, colon, sources = line.partition(":")
    if not colon or database.strip() != "hosts":
        return line
    # An action such as [NOTFOUND=return] belongs to the source before it, which is mostly one of those that go.
    kept = [word for word in sources.partition("#")[0].split() if word in _HARMLESS_SOURCES] or ["files"]
    if "dns" not in kept:
        kept.append("dns")
    return "hosts: " + " ".join(kept)
