"""Public class names that stand for two things. What is allowed is what is left of them, and only gets less."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src"
PROTOCOLS = SOURCE / "tunflow" / "protocols"

TWICE = """
Answer ClientStream Command Credentials Entry Event Fate Group Host Line Link Lookup Network Outbound Outcome Pair
Place Plan Record Request Resolver Route Rule Server Session Source Step Surroundings TCPConnection Transport UDPFlow
Verdict Way WireGuardServer
"""
"""Each stands for two things still."""


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
    twice = {name for name, places in public_classes().items() if len(places) > 1}
    print(f"no longer twice: {sorted(set(TWICE.split()) - twice)}")
    assert sorted(twice - set(TWICE.split())) == []
