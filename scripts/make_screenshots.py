#!/usr/bin/env python3
"""Writes the pictures of the block page in docs/filter.md, by Chromium, in the size of a phone.

python scripts/make_screenshots.py
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from tunflow.filter.judge import Cause
from tunflow.filter.page import DEFAULT, PageFacts, block_page
from tunflow.filter.page_text import CHINESE, ENGLISH, PageText

FOLDER = Path(__file__).parent.parent / "docs" / "pictures"
SIZE = "390,700"
"""Of a phone's window, in CSS pixels."""
VIEWS = (("block-page", ENGLISH, False), ("block-page-dark", ENGLISH, True), ("block-page-zh", CHINESE, False))


def page(words: PageText) -> bytes:
    """The HTML of a page about a game in homework hours, with the button that asks."""
    days = words.weekday("mon") + words.until + words.weekday("fri")
    reason = words.causes[Cause.LIST].format(list="homework")
    facts = PageFacts(
        "games.example",
        "http://games.example/play/chess?level=3",
        "blocked by homework:12",
        f"{reason} {words.hours.format(start='15:00', end='18:00', days=days)}",
        "games",
    )
    answer = block_page(DEFAULT, words, facts, button=("/.well-known/tunflow/ask/0", words.ask))
    return answer.partition(b"\r\n\r\n")[2]


def main() -> None:
    """Make all pictures."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, words, dark in VIEWS:
            html = Path(folder, f"{name}.html")
            html.write_bytes(page(words))
            command = [
                "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                f"--user-data-dir={folder}/chromium", f"--window-size={SIZE}",
                f"--screenshot={FOLDER / name}.png", *(["--blink-settings=preferredColorScheme=0"] if dark else []),
                html.as_uri(),
            ]  # fmt: skip
            subprocess.run(command, check=True, capture_output=True, timeout=60)


if __name__ == "__main__":
    main()
