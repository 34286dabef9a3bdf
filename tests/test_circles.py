"""Files that import each other in a circle, imports for types counted, and public class names of two things.

What is allowed is what is left of both, and only gets less.
"""

from __future__ import annotations

import ast
from pathlib import Path

import grimp

SOURCE = Path(__file__).parent.parent / "src"
PROTOCOLS = SOURCE / "tunflow" / "protocols"

FILES_IN_CIRCLES = 21
"""How many there may be: lower it with each circle that goes."""

TWICE = """
Answer ClientStream Command Credentials Entry Event Fate Group Host Line Link Lookup Network Outbound Outcome Pair
Place Plan Record Request Resolver Route Rule Server Session Source Step Surroundings TCPConnection Transport UDPFlow
Verdict Way WireGuardServer
"""
"""Each stands for two things still."""


def circles() -> list[list[str]]:
    """The sets of files of which each can be reached from each other one by imports."""
    graph = grimp.build_graph("tunflow", exclude_type_checking_imports=False, cache_dir=None)
    found, seen = [], set()
    for module in sorted(graph.modules):
        if module not in seen:
            both = graph.find_upstream_modules(module) & graph.find_downstream_modules(module)
            seen |= both
            if both:
                found.append(sorted(both | {module}))
    return found


def public_classes() -> dict[str, set[Path]]:
    """Where classes of each public name are. The rooms of protocols may use the same nouns: they count as one place."""
    places: dict[str, set[Path]] = {}
    for file in SOURCE.rglob("*.py"):
        place = PROTOCOLS if file.is_relative_to(PROTOCOLS) else file
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, set()).add(place)
    return places


def test_no_file_imports_itself_by_way_of_another() -> None:
    found = circles()
    print("\n\n".join("\n".join(circle) for circle in found))
    assert sum(map(len, found)) <= FILES_IN_CIRCLES


def test_a_public_class_name_stands_for_one_thing() -> None:
    twice = {name for name, places in public_classes().items() if len(places) > 1}
    print(f"no longer twice: {sorted(set(TWICE.split()) - twice)}")
    assert sorted(twice - set(TWICE.split())) == []
