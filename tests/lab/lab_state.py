"""What a file of tests may not leave behind in a lab that others use after it: which those are differs between runs.

Read first: `bench.netlab.namespaces`.
"""

from __future__ import annotations

import re
import time

from bench.netlab.namespaces import MARK, Lab
from bench.netlab.processes import cmdline, descendants, processes_marked
from lab_system import picture

MORE = "tc qdisc show; ip neigh show nud permanent; ip xfrm state list; ip xfrm policy list"
FLEETING = re.compile(r"^\d+: |\b(state|usage|promiscuity|allmulti) \S+")
FLAGS = re.compile(r"<([^>]*)>")
"""What is no setting: numbers of devices, how many programs look at them, and of their flags what says more than
whether they are up."""
OF_THE_KERNEL = re.compile(r"\bfe80:|\bff0")
"""What it adds in its own time: addresses that a device gives itself, and their routes."""
Settings = dict[str, frozenset[str]]


def lab_settings(lab: Lab) -> Settings:
    """What is set on each host, line by line, by the host's name."""
    return {
        host.name: frozenset(
            _setting(line) for line in picture(host, MORE).splitlines() if not OF_THE_KERNEL.search(line)
        )
        for host in lab.hosts
    }


def _setting(line: str) -> str:
    return FLAGS.sub(lambda flags: "UP" if "UP" in flags[1].split(",") else "DOWN", FLEETING.sub("", line)).strip()


def lab_changes(before: Settings, after: Settings) -> list[str]:
    """One line for each setting that came or went."""
    lines = []
    for host, old in before.items():
        lines += [f"{host}: gone: {line}" for line in sorted(old - after[host])]
        lines += [f"{host}: left: {line}" for line in sorted(after[host] - old)]
    return lines


def settled_changes(lab: Lab, before: Settings, patience: float = 10.0) -> list[str]:
    """The same now, once what goes with a program that ends has gone: its devices go behind its name."""
    deadline = time.monotonic() + patience
    while (lines := lab_changes(before, lab_settings(lab))) and time.monotonic() < deadline:
        time.sleep(0.1)
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
