"""Every key that the other programs document has a fate: nothing of theirs passes in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunflow.profiles.imports import keys

FOLDER = Path(__file__).parent / "documented_keys"


def documented() -> list[tuple[str, str, set[str]]]:
    """Format, section, keys."""
    found: list[tuple[str, str, set[str]]] = []
    for path in sorted(FOLDER.glob("*.txt")):
        for line in path.read_text().splitlines():
            if line.startswith("["):
                found.append((path.stem, line[1:-1], set()))
            elif not line.startswith("#"):
                found[-1][2].update(line.split())
    return found


@pytest.mark.parametrize(("name", "section", "wanted"), documented())
def test_every_documented_key_has_a_fate(name: str, section: str, wanted: set[str]) -> None:
    assert wanted
    missing = sorted(wanted - keys.fates(name, section).keys())
    assert not missing
