"""What a file of tests may not leave behind in a lab that others use after it: which those are differs between runs.

Read first: `bench.netlab.namespaces`.
"""

from __future__ import annotations

import re
import subprocess
import time

from bench.netlab.namespaces import MARK, NETNS_ETC, Lab, Namespace
from bench.netlab.processes import cmdline, descendants, processes_marked

TABLES = "\n".join(
    ("addr show", "link show", "route show table all", "rule show", "neigh show nud permanent", "xfrm state list",
     "xfrm policy list")
)  # fmt: skip
"""What `ip` is asked for, in each family."""
FLEETING = re.compile(r"^\d+: |\b(state|expires|age|usage|valid_lft|preferred_lft) \S+")
FLAGS = re.compile(r"<([^>]*)>")
IGNORED = re.compile(r"\bfe80:|\bff0")
"""What is no setting: numbers of devices, whether their far end is up just now, what runs off by itself; and what the
kernel adds in its own time, such as the addresses that a device gives itself.
"""
OWN_SYSCTLS = r"^net\.ipv[46]\.(conf\.|ip_|icmp|tcp_congestion)"
"""What every namespace has for itself: other labs change what belongs to the machine."""
Settings = dict[str, frozenset[str]]


def lab_settings(lab: Lab) -> Settings:
    """What is set on each host, by host and kind. Raises RuntimeError."""
    return {f"{host.name}: {kind}": lines for host in lab.hosts for kind, lines in _settings(host).items()}


def _settings(host: Namespace) -> Settings:
    commands = {
        "IPv4": (["ip", "-o", "-4", "-batch", "-"], TABLES),
        "IPv6": (["ip", "-o", "-6", "-batch", "-"], TABLES),
        "nftables": (["nft", "-s", "list", "ruleset"], ""),
        "queues": (["tc", "qdisc", "show"], ""),
        "sysctl": (["sysctl", "-a", "-r", OWN_SYSCTLS], ""),
    }
    found = {}
    for kind, (argv, text) in commands.items():
        done = subprocess.run(host.command(argv), input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{argv}: {done.stderr.strip()}")
        found[kind] = frozenset(_setting(line) for line in done.stdout.splitlines() if not IGNORED.search(line))
    etc = (NETNS_ETC / host.name).iterdir()
    found["/etc"] = frozenset(f"{path.name}: {path.read_text()!r}" for path in etc if path.is_file())
    return found


def _setting(line: str) -> str:
    return FLAGS.sub(lambda flags: "UP" if "UP" in flags[1].split(",") else "DOWN", FLEETING.sub("", line)).strip()


def lab_changes(before: Settings, after: Settings) -> list[str]:
    """One line for each setting that came or went."""
    lines = []
    for kind, old in before.items():
        lines += [f"{kind}: gone: {line}" for line in sorted(old - after[kind])]
        lines += [f"{kind}: left: {line}" for line in sorted(after[kind] - old)]
    return lines


def lab_processes(lab: Lab) -> set[int]:
    """What the lab started and still runs."""
    return set(processes_marked(MARK, lab.id))


def left_running(lab: Lab, before: set[int], patience: float = 60.0) -> list[str]:
    """The command lines of what is new, unless a server of before forked it for a client. `patience` in seconds is for
    those that were told to end."""
    deadline = time.monotonic() + patience
    while True:
        ours = before.union(*(descendants(pid) for pid in before))
        left = [" ".join(cmdline(pid)) for pid in lab_processes(lab) - ours]
        if not any(left) or time.monotonic() > deadline:
            return sorted(filter(None, left))
        time.sleep(0.05)
