"""The manual's site builds without the network, every link in it leads somewhere, and its reference is fresh."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import make_reference  # noqa: E402 - a script


@pytest.mark.parametrize("name", ["commands.md", "profile.md"])
def test_the_reference_is_fresh(name: str) -> None:
    made = make_reference.pages()[name]
    assert (make_reference.FOLDER / name).read_text() == made, "run python scripts/make_reference.py"


def test_every_profile_key_says_what_it_is() -> None:
    rows = [line for line in make_reference.profile_page().splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    silent = [row.split("|")[1].strip() for row in rows if not row.split("|")[4].strip()]
    assert len(silent) < len(rows) / 3, silent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built in a namespace without a network; strict, so a warning is an error."""
    made = tmp_path_factory.mktemp("site")
    command = [
        "unshare",
        "--user",
        "--map-root-user",
        "--net",
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "-d",
        str(made),
    ]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return made


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        text = path.read_text()
        loaded = re.findall(r"<(?:script|img|iframe)[^>]* src=\"([^\"]+)\"", text)
        loaded += re.findall(r"<link[^>]* rel=\"stylesheet\"[^>]* href=\"([^\"]+)\"", text)
        assert not [each for each in loaded if "//" in each], path


def test_pictures_load_nothing_from_elsewhere() -> None:
    for path in (ROOT / "docs/pictures").glob("*.svg"):
        assert not re.findall(r"(?:href|src)=\"https?:|url\(\"?https?:", path.read_text()), path


def test_links_of_the_readme_lead_somewhere() -> None:
    for name in ("README.md", "README.zh-CN.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / name).read_text()):
            assert (ROOT / target).exists(), f"{name}: {target}"
