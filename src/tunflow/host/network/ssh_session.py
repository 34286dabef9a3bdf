"""The ssh session that a command is typed in: sshd says which connection it is.

Read first: ssh(1), ENVIRONMENT (`SSH_CONNECTION`: the client's address and port, this host's address and port). sudo(8)
and su(1) take the variable away, so the processes that this one descends from are asked too, as far as proc(5) shows
their environment.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from tunflow.addresses import NotAnAddress, ip_address
from tunflow.host.network.reply_routes import HostSession
from tunflow.numbers import NotANumber, whole_number

VARIABLE = "SSH_CONNECTION"
_FURTHEST = 32
"""Generations."""


def ssh_session(proc: Path = Path("/proc")) -> HostSession | None:
    """The connection of the nearest session around this process; None outside of any."""
    text = os.environ.get(VARIABLE)
    process = os.getppid()
    for _ in range(_FURTHEST):
        if text is not None or process <= 1:
            break
        try:
            variables = (proc / str(process) / "environ").read_bytes().split(b"\0")
            status = (proc / str(process) / "status").read_text(errors="replace")
        except OSError:
            break
        name = f"{VARIABLE}=".encode()
        text = next((each[len(name) :].decode(errors="replace") for each in variables if each.startswith(name)), None)
        process = int((status.partition("\nPPid:")[2].split() or ["0"])[0])
    return parse(text or "")


def parse(text: str) -> HostSession | None:
    """What the variable says; None for anything else."""
    words = text.split(" ")
    if len(words) != 4:
        return None
    with suppress(NotAnAddress, NotANumber):
        return HostSession(whole_number(words[3], 65535), ip_address(words[0]), whole_number(words[1], 65535))
    return None
