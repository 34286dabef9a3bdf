"""Lists that `run`, `attach` and an embedding program fetch again by themselves."""

from __future__ import annotations

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tunflow.host.memory import memory_pair
from tunflow.loop.event_loop import ReactorLoop
from tunflow.loop.reactor import Reactor
from tunflow.profiles.file import parse
from tunflow.tunnel import list_refresh
from tunflow.tunnel.assemble import ServingContext, assemble
from tunflow.tunnel.compile import compile_profile
from tunflow.tunnel.outbounds import make_outbounds
from tunflow.tunnel.process_filter import ProcessFilter
from tunflow.tunnel.refreshing import refresher
from tunflow.tunnel.rule_data import DATA_VARIABLE, rule_set_path

PROFILE = """\
server = "direct://"
rules = ["RULE-SET,l,REJECT", "MATCH,PROXY"]
dns.mode = "off"
[rule_sets.l]
behavior = "domain"
url = "{url}"
"""


class Site(BaseHTTPRequestHandler):
    """Answers everything with a list."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"new.example\n")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_new_list_is_in_use_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    monkeypatch.setattr(list_refresh, "FIRST", 0.0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/list"
        path = tmp_path / rule_set_path(url)
        path.parent.mkdir(parents=True)
        path.write_text("old.example\n")
        reactor = Reactor()
        device, _ = memory_pair(vnet=False)
        said: list[str] = []
        told = asyncio.Event()

        def say(line: str) -> None:
            said.append(line)
            told.set()

        serving = ServingContext(reactor, say, ProcessFilter(reactor, say))
        without = compile_profile(parse(PROFILE.format(url=url), "p.toml"))
        plan = compile_profile(parse(PROFILE.format(url=url) + "interval = 60\n", "p.toml"))
        outbounds = make_outbounds(plan)
        dataplane = assemble(without, outbounds, device, serving)
        assert refresher(dataplane, serving, outbounds) is None, "nothing to fetch by itself"
        dataplane.use(plan, outbounds)
        background = refresher(dataplane, serving, outbounds)
        assert background is not None

        async def until_new() -> None:
            task = asyncio.ensure_future(background())
            async with asyncio.timeout(60):
                await told.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        ReactorLoop(reactor).run_until_complete(until_new())
        assert said == ["new lists are in use"]
        assert dataplane.plan is not plan
        assert path.read_text() == "new.example\n"
        dataplane.close()
        reactor.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
