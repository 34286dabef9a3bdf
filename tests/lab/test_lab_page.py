"""The page in a browser: it runs, and shows what there is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "api"))

from api_rig import SECRET, Rig

pytestmark = pytest.mark.lab


def shown(rig: Rig, page: str, folder: Path, language: str = "en-US") -> str:
    """What the page holds after a few seconds in Chromium."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}"]
    command += [f"--accept-lang={language}", "--virtual-time-budget=8000", "--dump-dom", f"{rig.api.where}/ui/#{page}"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=90).stdout


@pytest.mark.parametrize(
    ("page", "language", "parts"),
    [
        ("servers", "en-US", ["pick (Selector)", 'aria-pressed="true"', "connected", 'lang="en"']),
        ("rules", "en-US", ["DstPort", "Match"]),
        ("overview", "zh-CN", ["概览", "已连接", 'lang="zh"']),
    ],
)
def test_a_browser_shows(tmp_path: Path, page: str, language: str, parts: list[str]) -> None:
    rig = Rig()
    try:
        found = shown(rig, page, tmp_path, language)
    finally:
        rig.close()
    assert [part for part in parts if part not in found] == []


def test_it_asks_for_the_secret(tmp_path: Path) -> None:
    rig = Rig(SECRET)
    try:
        found = shown(rig, "servers", tmp_path)
    finally:
        rig.close()
    assert "pick (Selector)" not in found
    assert '<form id="login">' in found
