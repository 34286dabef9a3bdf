"""`tunflow top`: a tunnel in a terminal."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING

from tunflow.cli.api import API_SECRET_VARIABLE
from tunflow.control.client import NotRunning, ask
from tunflow.errors import LocalError, RemoteError
from tunflow.host.runtime import RuntimeDirectory
from tunflow.screens.api_source import APISource
from tunflow.screens.control_source import ControlSource

if TYPE_CHECKING:
    from tunflow.screens.picture import TunnelSource


def top(options: argparse.Namespace) -> int:
    """Show it until the user leaves; the exit status. Raises LocalError."""
    if not 0.2 <= options.interval <= 3600:
        raise LocalError("--interval: expected 0.2 to 3600 seconds")
    source = _source(options.api)
    try:
        picture = source.look()  # an error belongs on the command's last line, not on a screen
    except RemoteError as error:
        raise LocalError(f"{error}: is the API on? tunflow run, up, attach and listen have --api") from None
    if options.json:
        print(json.dumps(picture.facts(), indent=2, ensure_ascii=False))  # noqa: T201 - this is the command's output
        return 0
    try:
        from tunflow.screens.top import TopView  # noqa: PLC0415 - of an extra
    except ModuleNotFoundError as error:
        raise LocalError(f"top needs {error.name}: pip install 'tunflow[ui]'; or --json") from None
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise LocalError("top needs a terminal; --json prints what it would show")
    view = TopView(source, options.interval)
    view.run()
    return view.return_code or 0


def _source(address: str | None) -> TunnelSource:
    """What `--api` names, or else the tunnel that is up. Raises LocalError."""
    secret = os.environ.get(API_SECRET_VARIABLE)
    if address is not None:
        return APISource(address, secret)
    control = RuntimeDirectory.running().control
    try:
        served = ask(control, "status").get("api")
    except NotRunning:
        raise LocalError("no tunnel is up: tunflow up PROFILE, or top --api ADDRESS:PORT for a run or listen") from None
    return ControlSource(control) if served is None else APISource(str(served), secret)
