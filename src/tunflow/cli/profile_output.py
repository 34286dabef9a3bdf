"""What `tunflow profile` prints."""

from __future__ import annotations

import json

from tunflow.profiles.profile import Profile


def labels(found: Profile) -> list[str]:
    """What a profile's servers are called."""
    links = [*found.server]
    for section in found.servers.values():
        links += section.links
    return [link.server.label for link in links]


def print_line(line: str) -> None:
    """A line of the output."""
    print(line)  # noqa: T201


def print_json(value: object) -> None:
    """A value as the output."""
    print_line(json.dumps(value, indent=2, ensure_ascii=False, default=str))
