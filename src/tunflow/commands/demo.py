"""`tunflow demo`: the embedded default, from a program through the tunnel and a server to a site and back."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from tunflow.commands.flows import SERVER_VARIABLE
from tunflow.demo.children import Child
from tunflow.demo.client import Plan
from tunflow.demo.names import NAME, RESOLVER, SITE4, SITE6
from tunflow.demo.servers import ECHO_PORT, HTTP_PORT, be_server, be_site
from tunflow.demo.session import DemoError, Progress, Session
from tunflow.demo.site import Ports
from tunflow.proxies import link

if TYPE_CHECKING:
    from tunflow.demo.report import Report

METHOD = "aes-256-gcm"

MEASURE_SECONDS = 2.0
"""For each direction, through the tunnel and without."""


def demo(*, as_json: bool) -> int:
    """Run the demo and print its report; the exit status. Raises RemoteError when something was not right."""
    with ExitStack() as stack:
        spec = link.ShadowsocksServer("127.0.0.1", 0, METHOD, secrets.token_urlsafe(24))
        site = Child("site", be_site)  # forked before rich starts its thread
        stack.callback(site.kill)
        ports = Ports(**site.ready)
        server = Child("server", partial(be_server, spec, ports), (site,))
        stack.callback(server.kill)
        spec = link.ShadowsocksServer(spec.host, server.ready["port"], spec.method, spec.password)
        progress = stack.enter_context(_progress(quiet=as_json))
        try:
            report = _measure(spec, ports, server, progress)
        except DemoError as error:
            return _failed(error)
    if as_json:
        print(json.dumps(report.as_dict(), indent=2))  # noqa: T201  (this is the command's output)
        return 0
    from rich.console import Console  # noqa: PLC0415

    from tunflow.demo.report import show  # noqa: PLC0415

    show(report, Console())
    return 0
