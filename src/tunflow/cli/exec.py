"""`tunflow exec -- CMD`: one program in the tunnel that is up, or around it."""

from __future__ import annotations

import argparse
import os
from typing import NoReturn

from tunflow.cli.up import request
from tunflow.errors import LocalError
from tunflow.host.owner.control_group import ControlGroup
from tunflow.host.program import command, mounts
from tunflow.host.runtime import RuntimeDirectory
from tunflow.host.syscalls import CLONE_NEWNS, unshare


def run_in_group(options: argparse.Namespace) -> NoReturn:
    """Become the command. Raises LocalError or RemoteError."""
    if not options.command:
        raise LocalError("no command given: tunflow exec [--bypass] -- CMD [ARGS...]")
    path = command.find(options.command[0])
    facts = request(RuntimeDirectory.running(), "exec", bypass=options.bypass)
    group, nameservers = facts.get("group"), facts.get("nameservers")
    try:
        if group:
            ControlGroup(group).add(os.getpid())
        if nameservers:
            unshare(CLONE_NEWNS)
            mounts.detach()
            mounts.point_resolver(nameservers[0])
        command.execute(path, options.command)
    except OSError as error:
        hint = ": it needs root" if isinstance(error, PermissionError) else ""
        raise LocalError(f"{error.filename or path}: {error.strerror}{hint}") from None
    raise AssertionError("exec returned")
