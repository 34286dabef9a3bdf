"""`tunflow web`: the page of the tunnel that is up."""

from __future__ import annotations

import json
import webbrowser

from tunflow.cli.stderr import say
from tunflow.control.client import NotRunning, ask
from tunflow.errors import LocalError
from tunflow.host.runtime import RuntimeDirectory


def web(*, only_print: bool, as_json: bool) -> int:
    """Open it, or print its address; the exit status. Raises LocalError."""
    try:
        where = ask(RuntimeDirectory.running().control, "status").get("api")
    except NotRunning:
        raise LocalError("no tunnel is up: tunflow up PROFILE --api 127.0.0.1:9090") from None
    if where is None:
        raise LocalError("the tunnel that is up has no page: bring it up with --api 127.0.0.1:9090, or [api] listen")
    page = f"{where}/ui/"
    print(json.dumps({"page": page}, indent=2) if as_json else page)  # noqa: T201 - this is the command's output
    if not as_json and not only_print and not webbrowser.open(page):
        say("no browser was found here: open the address in one")
        return 1
    return 0
