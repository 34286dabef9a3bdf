"""Every method behind the API fails once: one request with it, which is counted and told; the next is answered."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from itertools import count

import httpx
import pytest
from api_rig import Rig
from test_api import until, websocket

from faults import counted, failing
from open_files import open_files, opened_since
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.containment import Containment
from tunflow.wire.tcp import SYN

pytestmark = pytest.mark.interpreted  # faults are put into methods, which compiled code calls directly

ROOMS = (
    "tunflow.api.app",
    "tunflow.api.change_routes",
    "tunflow.api.facts",
    "tunflow.api.flow_texts",
    "tunflow.api.guard",
    "tunflow.api.log_lines",
    "tunflow.api.request_body",
    "tunflow.api.served",
    "tunflow.dataplane.flow_book",
    "tunflow.dataplane.rule_policy",
    "tunflow.outbound.delay_round",
)
MECHANISM = {"cut", "say", "__call__", "_failed"}
"""What contains, and what the test itself calls."""


def requests(rig):
    """What dashboards ask, by a name each: a call that is true if the answer is right."""
    http = rig.http

    def asks(method, path, status=200, **options):
        return lambda: http.request(method, path, **options).status_code == status

    def streams(path):
        def first():
            with http.stream("GET", path) as answer:
                return next(answer.iter_lines(), "").startswith("{")

        return first

    wait = {"params": {"timeout": 20000}}
    found = {path: asks("GET", path) for path in PAGES}
    found |= {
        "select": asks("PUT", "/proxies/pick", 204, json={"name": "a"}),
        "no member": asks("PUT", "/proxies/pick", 400, json={"name": "zz"}),
        "nobody": asks("GET", "/proxies/nobody", 404),
        "delay": asks("GET", "/proxies/a/delay", **wait),
        "delays": asks("GET", "/group/fastest/delay", **wait),
        "forget": asks("POST", "/cache/dns/flush", 204),
        "query": asks("GET", "/dns/query?name=router.home&type=A"),
        "cut": asks("DELETE", "/connections/999", 404),
        "memory": streams("/memory"),
        "logs": streams("/logs"),
        "memory by websocket": lambda: "inuse" in websocket(rig, "/memory", 1)[0],
        "connections by websocket": lambda: "connections" in websocket(rig, "/connections", 1)[0],
        "logs by websocket": lambda: "payload" in websocket(rig, "/logs", 1)[0],
    }
    return found


PAGES = (
    "/", "/version", "/configs", "/proxies", "/proxies/a", "/group", "/rules", "/connections", "/metrics",
    "/providers/proxies", "/providers/rules", "/tunnel", "/filter", "/ui/",
)  # fmt: skip


def right(ask):
    """Whether the answer came, and was right."""
    with suppress(httpx.HTTPError, OSError, TypeError, AttributeError):  # a websocket that was refused is a number
        return ask()
    return False


@pytest.fixture
def rig():
    made = Rig()
    yield made
    made.close()


def test_each_method_fails_once_and_one_request_with_it(rig):
    told = []
    minutes = count(1)  # each bug is told, however like the one before
    log = CauseLog(told.append, lambda: next(minutes) * 100.0)
    rig.reactor.containment = Containment(log, lambda: rig.reactor.now)
    rig.say("something happened")
    rig.packet(SYN, seq=0)
    until(rig.flows)
    asked = requests(rig)
    reached = {}
    for name, ask in asked.items():
        calls = Counter()
        with counted(calls, ROOMS, MECHANISM):
            assert right(ask), name
        for site in calls:
            reached.setdefault(site, name)
    assert len(reached) > 25, "the requests do not reach what they are to reach"
    wrong = []
    for (kind, method), name in sorted(reached.items(), key=str):
        what = f"{kind.__name__}.{method} ({name})"
        errors = rig.reactor.internal_errors
        told.clear()
        with failing(kind, method, 1) as has_failed:
            answered = right(asked[name])
        assert has_failed(), what
        if not right(asked[name]) or not right(asked["/version"]):
            wrong.append(f"{what}: the next request is not answered")
        rig.calls.call(lambda: None).result(60)  # what the API's thread told the loop is done
        if rig.reactor.internal_errors != errors + 1 or not told:
            wrong.append(f"{what}: counted {rig.reactor.internal_errors - errors}, told {told}, answered {answered}")
        elif "in the loop" in told[0] or any("secret" in line for line in told):
            wrong.append(f"{what}: told as {told}")
    before = open_files()
    assert not wrong, "\n" + "\n".join(wrong)
    assert all(right(ask) for ask in asked.values())
    until(lambda: not opened_since(before))
