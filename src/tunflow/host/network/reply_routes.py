"""Answers to whoever connects to this host from outside go back the way they came, not into the tunnel.

A connection that began with a packet through an uplink is remembered by the kernel's connection tracking; what answers
it, from this host or from a container whose port is published, gets a mark, with which the main table routes it. A
session that is older than the table (the one in which `tunflow up` was typed) is known by its ports and address.
Rules:
- only what begins after the table stands counts, and of UDP only to ports that no client takes by itself: a connection
  of this host's own that is older must not go on around the tunnel;
- what the tunnel or a local interface brought is answered there, as before;
- the kill switch lets out nothing of that but the ssh session that `tunflow up` was typed in: whoever can connect to
  this host could have it answer around the tunnel, and others of the connections from before are programs' own affairs.

Pure but for `sessions`. Read first: nft(8) (ct, concatenations), proc_net_tcp (Linux
Documentation/networking/proc_net_tcp.rst), RFC 6335 §6 and ip-sysctl.rst (ip_local_port_range).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import NamedTuple

from tunflow.host.network.settings import Address

ESTABLISHED, LISTEN = "01", "0A"
"""enum in Linux include/net/tcp_states.h, as /proc/net/tcp has it."""
FIRST_EPHEMERAL = 32768
"""Where Linux's ip_local_port_range begins."""
_FILES = (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6"))


class HostSession(NamedTuple):
    """A TCP connection that somebody opened to this host."""

    port: int
    peer: Address
    peer_port: int


def sessions(files: Sequence[Path] = _FILES) -> tuple[HostSession, ...]:
    """Those that stand now, sorted; not those within this host."""
    rows = [row for file in files for row in _rows(file)]
    listening = {port for (_, port), _, state in rows if state == LISTEN}
    found = {
        HostSession(port, peer, peer_port)
        for (own, port), (peer, peer_port), state in rows
        if state == ESTABLISHED and port in listening and not own.is_loopback and not peer.is_loopback
    }
    return tuple(sorted(found, key=lambda each: (each.peer.version, int(each.peer), each.peer_port, each.port)))


def chains(mark: int, uplinks: Iterable[str], standing: Iterable[HostSession]) -> list[str]:
    """The sets and chains of our table that give answers the `mark`."""
    names = ", ".join(f'"{name}"' for name in sorted(uplinks))
    if not names:
        return []
    lines = _older(standing)
    kept = [f"meta mark 0 {rule} meta mark set {mark:#x}" for rule in _of_older(standing)]
    begins = f"iifname {{ {names} }} ct state new ct mark 0"
    lines += [
        "  chain asked {",
        "    type filter hook prerouting priority mangle; policy accept;",
        f"    {begins} tcp flags & (syn | ack) == syn ct mark set {mark:#x}",
        f"    {begins} udp dport < {FIRST_EPHEMERAL} ct mark set {mark:#x}",
        f"    {begins} icmp type echo-request ct mark set {mark:#x}",
        f"    {begins} icmpv6 type echo-request ct mark set {mark:#x}",
        f"    meta mark 0 ct direction reply ct mark {mark:#x} meta mark set {mark:#x}",
        "  }",
        "  chain answers {",
        "    type route hook output priority mangle; policy accept;",
        f"    meta mark 0 ct direction reply ct mark {mark:#x} meta mark set {mark:#x}",
        *(f"    {rule}" for rule in kept),
        "  }",
    ]
    return lines


def chains_of_one(mark: int, session: HostSession) -> list[str]:
    """What has the kill switch let out one session and nothing else; `passes_one` is the rule of its filter."""
    return [
        *_older([session]),
        "  chain answers {",
        "    type route hook output priority mangle; policy accept;",
        f"    meta mark 0 {passes_one(session)[0].removesuffix(' accept')} meta mark set {mark:#x}",
        "  }",
    ]


def passes_one(session: HostSession | None) -> list[str]:
    """Rules that accept a session's packets."""
    return [] if session is None else [f"{rule} accept" for rule in _of_older([session])]


def _older(standing: Iterable[HostSession]) -> list[str]:
    """The sets of sessions that are older than the table."""
    lines: list[str] = []
    sessions_of = {version: [each for each in standing if each.peer.version == version] for version in (4, 6)}
    for version, older in sessions_of.items():
        if older:
            elements = ", ".join(f"{each.port} . {each.peer} . {each.peer_port}" for each in older)
            lines += [f"  set older{version} {{", f"    type inet_service . ipv{version}_addr . inet_service;"]
            lines += [f"    elements = {{ {elements} }}", "  }"]
    return lines


def _of_older(standing: Iterable[HostSession]) -> list[str]:
    """What matches their packets."""
    versions = {each.peer.version for each in standing}
    words = {4: "ip", 6: "ip6"}
    return [f"tcp sport . {words[each]} daddr . tcp dport @older{each}" for each in sorted(versions)]


def _rows(file: Path) -> list[tuple[tuple[Address, int], tuple[Address, int], str]]:
    try:
        lines = file.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return []
    fields = (line.split() for line in lines)
    return [(_place(each[1]), _place(each[2]), each[3]) for each in fields if len(each) > 3]


def _place(text: str) -> tuple[Address, int]:
    """An address as the kernel prints it: words of the machine's byte order, in hexadecimal."""
    host, _, port = text.partition(":")
    packed = b"".join(struct.pack("=I", int(host[at : at + 8], 16)) for at in range(0, len(host), 8))
    if len(packed) == 4:
        return IPv4Address(packed), int(port, 16)
    address = IPv6Address(packed)
    return address.ipv4_mapped or address, int(port, 16)
