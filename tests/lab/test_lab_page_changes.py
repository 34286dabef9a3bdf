"""What the page changes: a site is let in, another profile is used, the tunnel goes down.

In Chromium, and by the API of a tunnel whose process is not root's any more.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.netlab.namespaces import SITE4
from lab_system import System
from lab_uplinks import until

sys.path.insert(0, str(Path(__file__).parent.parent / "api"))

from api_rig import SECRET, Rig
from browser import Browser
from test_filter_api import FILTER, block
from test_lab_page_people import CONTRAST, SMALL
from test_switch_api import Tunnel

pytestmark = pytest.mark.lab

PORT = 9798
WHERE = f"http://127.0.0.1:{PORT}"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    (tmp_path / "needed.txt").write_text("")
    made = Rig(SECRET, more=FILTER.format(folder=tmp_path, privacy="full"))
    yield made
    made.close()


def test_a_profile_and_the_switch_by_keyboard(tmp_path: Path) -> None:
    tunnel, rig, browser = Tunnel(tmp_path), Rig(SECRET), Browser(tmp_path / "browser")
    try:
        rig.api.use_switch(tunnel.switch())
        browser.open(f"{rig.api.where}/ui/#tunnel", width=390, height=760, dark=True)
        browser.wait("!document.getElementById('login').hidden")
        browser.do("Input.insertText", text=SECRET)
        browser.enter()
        browser.wait("document.querySelectorAll('#profiles button').length === 2")
        assert browser.ask(CONTRAST) == []
        assert browser.ask(SMALL) == []
        assert browser.ask("document.documentElement.scrollWidth") <= 390
        browser.tab_to("at.dataset.key === 'profile work'")
        browser.enter()
        browser.wait("document.querySelector('[data-key=\"profile work\"]').getAttribute('aria-pressed') === 'true'")
        browser.wait("document.getElementById('tunnel-state').textContent.includes('kill switch')")
        for answer, stops in (("no", 0), ("yes", 1)):
            browser.tab_to("at.id === 'disconnect'")
            browser.enter()
            browser.wait("document.getElementById('sure').open")
            browser.tab_to(f"at.value === '{answer}'")
            browser.enter()
            browser.wait("!document.getElementById('sure').open")
            browser.wait(f"isDown === {str(bool(stops)).lower()}")
            assert [each.operation for each in tunnel.asked].count("stop") == stops
    finally:
        browser.close()
        rig.close()
        tunnel.close()


def test_a_site_by_keyboard(rig: Rig, tmp_path: Path) -> None:
    browser = Browser(tmp_path / "browser")
    try:
        block(rig, "game.example")
        browser.open(f"{rig.api.where}/ui/#filter", width=390, height=760, dark=True)
        browser.wait("!document.getElementById('login').hidden")
        browser.do("Input.insertText", text=SECRET)
        browser.enter()
        browser.wait("document.querySelectorAll('#filter-rows button').length === 1")
        assert browser.ask(CONTRAST) == []
        assert browser.ask(SMALL) == []
        assert browser.ask("document.documentElement.scrollWidth") <= 390
        browser.tab_to("at.dataset.key && at.dataset.key.startsWith('allow game.example')")
        browser.enter()
        browser.wait("document.getElementById('filter-state').textContent === 'allowed: game.example'")
        browser.wait("document.activeElement.id === 'filter-box'")
        assert (tmp_path / "needed.txt").read_text().splitlines()[-1] == "game.example"
    finally:
        browser.close()


def test_through_a_tunnel_that_is_up(system: System) -> None:
    """The list is root's alone: the line is written by the process that kept the right to."""
    folder = Path(system.directory)
    needed = folder / "needed.txt"
    needed.write_text("# what lessons need\n")
    needed.chmod(0o600)
    path = folder / "school.toml"
    path.write_text(
        f'server = "{system.url}"\n'
        f'[filter]\ndns_answer = "address"\nlog = "{folder}/log.jsonl"\n'
        f'[[filter.lists]]\nname = "games"\nlines = ["{SITE4}"]\n'
        f'[[filter.lists]]\nname = "needed"\nfile = "needed.txt"\naction = "allow"\n'
        f'[api]\nlisten = "127.0.0.1:{PORT}"\nsecret = "{SECRET}"\n'
    )
    path.chmod(0o600)
    saved = folder / "config" / "tunflow" / "profiles"
    saved.mkdir(parents=True)
    (saved / "open.toml").write_text(f'server = "{system.url}"\n')
    (saved / "open.toml").chmod(0o600)
    system.ok("up", str(path), XDG_CONFIG_HOME=str(folder / "config"))

    def ask(path: str, *options: str) -> dict[str, object]:
        bearer = f"Authorization: Bearer {SECRET}"
        done = system.run(["curl", "-sS", "--max-time", "20", "-H", bearer, *options, f"{WHERE}{path}"])
        return dict(json.loads(done.stdout))

    assert system.fetch(f"http://{SITE4}/1k", timeout=5) != 1024
    events = ask("/filter")["events"]
    assert isinstance(events, list)
    assert [(each["host"], each["list"]) for each in events[:1]] == [(SITE4, "games")]
    assert ask("/filter/allow", "-d", json.dumps({"host": SITE4}))["host"] == SITE4
    assert system.fetch(f"http://{SITE4}/1k") == 1024
    assert needed.read_text().splitlines()[-1] == SITE4
    assert ask("/tunnel", "-X", "PUT", "-d", '{"profile": null}')["notes"] == []
    assert system.fetch(f"http://{SITE4}/1k") == 1024
    assert ask("/tunnel", "-X", "PUT", "-d", '{"profile": "open"}')["notes"] == []
    assert (ask("/tunnel")["profile"], ask("/filter")["enabled"]) == ("open", False)
    system.run(["curl", "-sS", "-X", "DELETE", "-H", f"Authorization: Bearer {SECRET}", f"{WHERE}/tunnel"])
    until(lambda: system.status()["status"] == "disconnected", 60)
