"""A public class name stands for one thing."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src"
PROTOCOLS = SOURCE / "tunflow" / "protocols"


def public_classes() -> dict[str, set[Path]]:
    """Where classes of each public name are. The rooms of protocols may use the same nouns: they count as one place."""
    places: dict[str, set[Path]] = {}
    for file in SOURCE.rglob("*.py"):
        place = PROTOCOLS if file.is_relative_to(PROTOCOLS) else file
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, set()).add(place)
    return places


def test_a_public_class_name_stands_for_one_thing() -> None:
    twice = {name: sorted(map(str, places)) for name, places in public_classes().items() if len(places) > 1}
    assert twice == {}
