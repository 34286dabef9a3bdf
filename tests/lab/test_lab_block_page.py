"""The block page on a phone: everything fits its width, and the button is large enough for a finger."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tunflow.filter.judge import Cause
from tunflow.filter.page import DEFAULT, PageFacts, block_page
from tunflow.filter.page_text import text_for

pytestmark = pytest.mark.lab

MEASURE = b"""<script>onload = () => {
const box = document.querySelector("button").getBoundingClientRect();
document.title = JSON.stringify([innerWidth, document.documentElement.scrollWidth, box.height]);
}</script>"""


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_it_fits_a_phone(tmp_path: Path, language: str) -> None:
    words = text_for(language)
    facts = PageFacts(
        "games.example",
        f"http://games.example/{'a-word-/' * 10}{'x' * 200}",
        "blocked by " + "y" * 60,
        words.causes[Cause.LIST].format(list="z" * 60),
        "games",
    )
    answer = block_page(DEFAULT, words, facts, button=("/ask", words.ask))
    page = tmp_path / "page.html"
    page.write_bytes(answer.partition(b"\r\n\r\n")[2] + MEASURE)
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/chromium"]
    command += ["--window-size=500,800", "--virtual-time-budget=2000", "--dump-dom", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=90).stdout
    title = re.search(r"<title>(.*?)</title>", shown)
    assert title is not None
    inner, needed, height = json.loads(title[1])
    assert needed <= inner
    assert height >= 40
