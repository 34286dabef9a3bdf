"""A Clash file on its way into a draft: what its sections' readers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tunflow.errors import LocalError
from tunflow.paths import parse_path
from tunflow.profiles.imports import keys
from tunflow.profiles.imports.draft import Draft
from tunflow.profiles.imports.yaml_lines import YAMLDocument

Fetch = Callable[[str], bytes]
"""What an address holds. Raises RemoteError."""
TRUE = {"true", "yes", "on"}


class ClashSource:
    """The document, the draft, and how lines are told."""

    def __init__(self, document: YAMLDocument, fetch: Fetch | None) -> None:
        self.document = document
        self.draft = Draft(document.file)
        self.fetch = fetch
        """None where nothing is to be fetched."""

    def at(self, *key: str | int) -> str:
        """The place of a key."""
        return self.document.at(*key)

    def line(self, *key: str | int) -> int | None:
        """The line of a key."""
        return self.document.lines.get(key)

    def tell(self, why: str, *key: str | int, is_lost: bool = True) -> None:
        """Say a line about a key."""
        self.draft.tell(self.at(*key), why, is_lost=is_lost)

    def tell_keys(self, section: str, values: dict[str, Any], label: str, *key: str | int) -> None:
        """Say of each key of a mapping what the table of keys says."""
        for name, words, is_refused in keys.unspoken("clash", section, values):
            self.tell(f"{label}{name}: {words}", *key, name, is_lost=is_refused)

    def mapping(self, name: str, value: Any) -> dict[str, Any]:
        """A section that must be a mapping. Raises LocalError."""
        if not isinstance(value, dict):
            raise LocalError(f"{self.at(name)}: {name} must be a mapping")
        return value

    def items(self, section: str, items: Any) -> Iterator[tuple[int, dict[str, Any]]]:
        """The entries of a list of mappings with names. Raises LocalError for what is no list."""
        if not isinstance(items, list):
            raise LocalError(f"{self.at(section)}: {section} must be a list")
        for number, item in enumerate(items):
            if not isinstance(item, dict) or not isinstance(item.get("name"), str) or "," in item["name"]:
                why = f"an entry of {section} is a mapping with a name that has no comma"
                self.draft.lose(
                    str(item.get("name") if isinstance(item, dict) else item), self.at(section, number), why
                )
            else:
                yield number, item

    def beside(self, path: str) -> Path:
        """A file that the document names."""
        return Path(self.document.file).parent.absolute() / parse_path(path)


def is_true(value: Any) -> bool:
    """Return True if YAML's text says yes."""
    return str(value).strip().lower() in TRUE


def texts(value: Any) -> list[str]:
    """A list of texts, also where one stands alone."""
    if isinstance(value, str):
        return [value]
    return [str(each) for each in value if isinstance(each, str)] if isinstance(value, list) else []
