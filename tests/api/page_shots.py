"""Pictures of the page in Chromium, over a tunnel with some flows; for tests, and for the manual:

python tests/api/page_shots.py      # writes docs/pictures/page-*.png
"""

from __future__ import annotations

import tempfile
from itertools import count
from math import sin
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

from api_rig import Rig
from browser import Browser

from tunflow.endpoint import endpoint
from tunflow.flow import FlowInfo, ProcessInfo
from tunflow.rules.table import Verdict

FOLDER = Path(__file__).parent.parent.parent / "docs/pictures"
FLOWS = (
    ("firefox", "www.example.com", 443, "DOMAIN-SUFFIX,example.com,pick", ("pick", "a"), 2_345_678),
    ("firefox", "cdn.example.net", 443, "MATCH,fastest", ("fastest", "b"), 18_200_300),
    ("git", "code.example.org", 22, "DST-PORT,22,pick", ("pick", "a"), 45_021),
    ("apt", "deb.example", 80, "MATCH,fastest", ("fastest", "b"), 912_344),
    (
        "NetworkManager",
        "a-very-long-name.of.a.check.for.captive.portals.example.org",
        80,
        "MATCH,DIRECT",
        ("DIRECT",),
        310,
    ),
)


class Shot(NamedTuple):
    """One picture."""

    name: str
    page: str
    size: tuple[int, int] = (1000, 640)
    language: str = "en-US"
    dark: bool = False


SHOTS = (
    Shot("page-flows", "flows"),
    Shot("page-servers-dark", "servers", dark=True),
    Shot("page-phone", "flows", (390, 760), "zh-CN", dark=True),
    Shot("page-overview-phone", "overview", (390, 760), "zh-CN"),
)


class Going:
    """A flow that goes on."""

    bytes_up = 1200
    is_over = False

    def __init__(self, down: int) -> None:
        self.bytes_down = down

    def cut(self) -> None:
        self.is_over = True


def busy_rig(secret: str | None = None, ui: Path | None = None) -> Rig:
    """A tunnel with flows."""
    rig = Rig(secret, ui=ui)
    for number, (program, name, port, text, path, down) in enumerate(FLOWS):
        process = ProcessInfo(1, f"/usr/bin/{program}", program, 1000)
        target = endpoint(f"192.0.2.{number + 1}", port)
        client = endpoint("198.18.0.1", 40_000 + number)
        flow = FlowInfo("tcp", client, target, name, lambda *_, found=process: found)
        rig.api.book.decided(flow, Verdict(path[0], "home.toml", number + 1, text), list(path))
        rig.api.book.carried(flow, Going(down), "http", target)
    rig.say("connected through a (http)")
    policy = rig.dataplane.rules
    assert policy is not None
    for server, delay in (("a", 0.0421), ("b", 0.1874)):
        policy.routing.groups.health.recall(server, delay)
    return rig


def take(browser: Browser, rig: Rig, shot: Shot, path: Path, seconds: int = 2) -> None:
    """Write a picture of a page; of the overview with so many seconds of traffic."""
    where, (width, height) = f"{rig.api.where}/ui/#{shot.page}", shot.size
    browser.open(where, width=width, height=height, dark=shot.dark, language=shot.language)
    browser.wait("Number.isInteger(Number(document.getElementById('count').textContent))")
    if shot.page == "overview":
        for second in range(seconds):  # each is waited for by itself: it may take a while on a busy machine
            browser.wait(f"traffic.length > {second}")
    browser.picture(path)


def move(rig: Rig) -> None:
    """Have bytes go through it, now more and now fewer."""
    statistics = rig.dataplane.driver.context.statistics
    for step in count():
        statistics.tcp_bytes_down += int(250_000 * (1 + sin(step / 7)) * (1 + sin(step / 31)))
        statistics.tcp_bytes_up += int(40_000 * (1 + sin(step / 11)))
        Event().wait(0.1)


if __name__ == "__main__":
    made = busy_rig()
    Thread(target=move, args=(made,), daemon=True).start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        seen = Browser(Path(folder))
        for each in SHOTS:
            take(seen, made, each, FOLDER / f"{each.name}.png", seconds=40)
        seen.close()
    made.close()
