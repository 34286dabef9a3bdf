"""The page for everybody: by keyboard alone, on a phone, in the dark, for a screen reader.

axe-core finds nothing to complain of, nor do checks of its most important rules: names, labels, contrast, sizes, order
of headings, no place where the focus is lost.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import files
from itertools import pairwise
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "api"))

from api_rig import Rig
from browser import Browser, until
from page_shots import FLOWS, SHOTS, Going, busy_rig, take

from tunflow.endpoint import endpoint
from tunflow.flow import FlowInfo

pytestmark = pytest.mark.lab

CONTRAST = """(() => {
  const light = (part) => { part /= 255; return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4; };
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const level = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const found = parts(getComputedStyle(node).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((each) => each.nodeType === 3 && each.textContent.trim());
    if (!own || !node.checkVisibility() || node.disabled) continue;
    const [a, b] = [level(parts(getComputedStyle(node).color)), level(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${node.tagName} ${node.textContent.slice(0, 20)} ${ratio.toFixed(1)}`);
  }
  return poor;
})()"""
"""Texts with less contrast than WCAG 2.2's 1.4.3 asks for."""

SMALL = """[...document.querySelectorAll("a, button, input")]
  .filter((each) => each.checkVisibility() && !each.matches(".skip, .plain"))
  .map((each) => [each.textContent || each.id, each.getBoundingClientRect()])
  .filter(([, box]) => box.height < 24 || box.width < 24).map(([name]) => name)"""
"""What is hard to hit (WCAG 2.2's 2.5.8)."""

NAMED = {"button", "link", "textbox", "searchbox", "region", "columnheader", "dialog", "image", "img", "log"}
"""Roles of which each must have a name."""

PAGES = ("overview", "tunnel", "servers", "flows", "rules", "filter", "log")

COMPLAINTS = "axe.run().then(all => all.violations.map(each => [each.id, each.nodes.map(node => node.html)]))"


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    made = busy_rig()
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    made = Browser(tmp_path_factory.mktemp("browser"))
    yield made
    made.close()


def opened(browser: Browser, rig: Rig, page: str, **how: object) -> None:
    browser.open(f"{rig.api.where}/ui/#{page}", **how)  # type: ignore[arg-type]
    browser.wait("document.getElementById('state').textContent === words.connected && flows.length > 0")
    browser.wait(f"!document.getElementById('{page}').hidden")


@pytest.mark.parametrize("dark", [False, True])
def test_everything_can_be_read_and_hit(browser: Browser, rig: Rig, dark: bool) -> None:
    opened(browser, rig, "overview", width=390, height=760, dark=dark)
    for page in PAGES:
        browser.ask(f"location.hash = '{page}'")
        browser.wait(f"!document.getElementById('{page}').hidden")
        assert browser.ask(CONTRAST) == [], page
        assert browser.ask(SMALL) == [], page
        assert browser.ask("document.documentElement.scrollWidth") <= 390, page


@pytest.mark.parametrize("dark", [False, True])
def test_axe_core_has_no_complaint(browser: Browser, rig: Rig, dark: bool) -> None:
    opened(browser, rig, "overview", width=390, height=760, dark=dark)
    (axe,) = (file for file in files("axe-core-python") or () if file.name == "axe.min.js")
    browser.ask(f"{Path(axe.locate()).read_text()}; 0")
    for page in PAGES:
        browser.ask(f"location.hash = '{page}'")
        browser.wait(f"!document.getElementById('{page}').hidden")
        assert browser.ask(COMPLAINTS) == [], page
    for dialog in ("why", "sure"):
        browser.ask(f"document.getElementById('{dialog}').showModal()")
        assert browser.ask(COMPLAINTS) == [], dialog
        browser.ask(f"document.getElementById('{dialog}').close()")


def test_everything_has_a_name(browser: Browser, rig: Rig) -> None:
    browser.do("Accessibility.enable")
    opened(browser, rig, "overview")
    for page in PAGES:
        browser.ask(f"location.hash = '{page}'")
        browser.wait(f"!document.getElementById('{page}').hidden")
        nodes = browser.do("Accessibility.getFullAXTree")["nodes"]
        nameless = [
            node["role"]["value"]
            for node in nodes
            if not node.get("ignored")
            and node.get("role", {}).get("value") in NAMED
            and not node.get("name", {}).get("value", "").strip()
        ]
        assert nameless == [], page
    assert browser.ask("document.documentElement.lang") == "en"
    levels = browser.ask("[...document.querySelectorAll('h1, h2, h3')].map((each) => Number(each.tagName[1]))")
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = browser.ask("[...document.querySelectorAll('[id]')].map((each) => each.id)")
    assert len(ids) == len(set(ids))


def test_a_flow_by_keyboard(browser: Browser, rig: Rig) -> None:
    opened(browser, rig, "overview")
    browser.tab_to("at.classList.contains('skip')")
    browser.tab_to("at.hash === '#flows'")
    browser.enter()
    browser.wait("!document.getElementById('flows').hidden")
    browser.tab_to("at.dataset.key && at.dataset.key.startsWith('why')")
    browser.enter()
    browser.wait("document.getElementById('why').open")
    told = browser.ask("document.getElementById('why-facts').textContent")
    assert "/usr/bin/NetworkManager" in told
    assert "Match" in told
    browser.press("Escape", 27)
    browser.wait("!document.getElementById('why').open")
    browser.wait("document.activeElement.dataset.key && document.activeElement.dataset.key.startsWith('why')")
    browser.tab_to("at.dataset.key && at.dataset.key.startsWith('close')")
    browser.enter()
    until(lambda: len(rig.flows()) == len(FLOWS) - 1)
    browser.wait("document.activeElement.dataset.key && document.activeElement.dataset.key.startsWith('close')")
    browser.wait("document.querySelectorAll('#flow-rows [aria-rowindex]').length === 4")


def test_a_server_by_keyboard(browser: Browser, rig: Rig) -> None:
    opened(browser, rig, "servers")
    browser.wait("document.querySelectorAll('.members button').length > 0")
    browser.tab_to("at.dataset.key === 'pick b'")
    browser.enter()
    browser.wait("document.querySelector('[data-key=\"pick b\"]').getAttribute('aria-pressed') === 'true'")
    browser.wait("document.activeElement.dataset.key === 'pick b'")
    assert rig.get("/proxies/pick")["now"] == "b"


def test_a_name_is_looked_up(browser: Browser, rig: Rig) -> None:
    opened(browser, rig, "rules")
    browser.tab_to("at.id === 'name'")
    browser.do("Input.insertText", text="router.home")
    browser.enter()
    browser.wait("document.getElementById('answer').textContent.includes('192.0.2.7')")


def test_pictures_for_the_manual(browser: Browser, rig: Rig, tmp_path: Path) -> None:
    for shot in SHOTS:
        take(browser, rig, shot, tmp_path / f"{shot.name}.png")
        assert (tmp_path / f"{shot.name}.png").stat().st_size > 5_000


def test_ten_thousand_flows(browser: Browser) -> None:
    """Only what is seen is drawn, the last flow can be reached, and find looks through all of them."""
    crowded = busy_rig()
    try:
        for number in range(10_000):
            flow = FlowInfo(
                "tcp", endpoint("198.18.0.1", number + 1), endpoint("192.0.2.9", 443), f"site{number}.example"
            )
            crowded.api.book.carried(flow, Going(number), "http", flow.target)
        opened(browser, crowded, "flows")
        browser.wait("flows.length > 10000")
        rows = "document.querySelectorAll('#flow-rows [aria-rowindex]').length"
        browser.wait(f"{rows} > 5 && {rows} < 100")
        assert browser.ask("document.querySelector('#flow-box table').getAttribute('aria-rowcount')") == "10006"
        browser.ask("document.getElementById('flow-box').scrollTop = 1e9")
        browser.wait("document.getElementById('flow-rows').innerText.includes('www.example.com:443')")
        assert browser.ask(rows) < 100
        browser.ask("document.getElementById('find').value = 'site77.'; document.getElementById('find').oninput()")
        browser.wait(f"{rows} === 1")
        assert "site77.example" in browser.ask("document.getElementById('flow-rows').innerText")
    finally:
        crowded.close()
