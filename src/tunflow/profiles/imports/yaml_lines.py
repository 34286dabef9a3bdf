"""YAML as plain values with the line of each, for files of other programs.

Rules: every scalar is its text, whatever YAML would make of it (a password 0123 is not 83, and `no` not False); the
caller knows what it wants. Aliases and merge keys work; a document that grows by them beyond bounds is refused.

Read first: https://yaml.org/spec/1.1/ (what PyYAML reads), https://yaml.org/type/merge.html
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from tunflow.errors import LocalError
from tunflow.profiles.toml_lines import Key
from tunflow.single_values import TwoValues, put

MOST_VALUES = 500_000
DEEPEST = 32

_HALF = re.compile(r"[\ud800-\udfff]")
"""No text in UTF-8 has it; libyaml's reader refuses it."""

Value = str | None | list[Any] | dict[str, Any]


class YAMLDocument:
    """The values of a document, and where each key and list item stands (from 1). Raises LocalError."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.lines: dict[Key, int] = {}
        try:
            node = _composed(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            place = f"{file}:{mark.line + 1}" if mark is not None else file
            why = " ".join(str(getattr(error, "problem", None) or error).split())
            raise LocalError(f"{place}: not valid YAML: {why}") from None
        except RecursionError:
            raise LocalError(f"{file}: not valid YAML: nested too deep") from None
        self._count = 0
        self.data = self._value(node, (), 0) if node is not None else None

    def at(self, *key: str | int) -> str:
        """The place of a key, to begin an error with: `clash.yaml:12`."""
        line = next((self.lines[key[:size]] for size in range(len(key), 0, -1) if key[:size] in self.lines), None)
        return self.file if line is None else f"{self.file}:{line}"

    def _value(self, node: yaml.Node, key: Key, depth: int) -> Value:
        self._count += 1
        if depth > DEEPEST or self._count > MOST_VALUES:
            raise LocalError(f"{self.file}:{node.start_mark.line + 1}: too deep, or too much, for a configuration")
        if isinstance(node, yaml.SequenceNode):
            values = []
            for number, item in enumerate(node.value):
                self.lines[(*key, number)] = item.start_mark.line + 1
                values.append(self._value(item, (*key, number), depth + 1))
            return values
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key, depth)
        text = node.value
        is_plain = node.tag == "tag:yaml.org,2002:null"
        return None if is_plain else str(text)

    def _mapping(self, node: yaml.MappingNode, key: Key, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        merged: list[Any] = []
        """What the merge keys name: mappings."""
        for name_node, value_node in node.value:
            if not isinstance(name_node, yaml.ScalarNode):
                raise LocalError(f"{self.file}:{name_node.start_mark.line + 1}: a key must be a text")
            if name_node.tag == "tag:yaml.org,2002:merge":
                others = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                merged += [self._merged(each, key, depth + 1) for each in others]
                continue
            name = str(name_node.value)
            line = name_node.start_mark.line + 1
            self.lines.setdefault((*key, name), line)
            try:
                put(values, name, self._value(value_node, (*key, name), depth + 1))
            except TwoValues as error:
                raise LocalError(f"{self.file}:{line}: {error}; the other is at {self.at(*key, name)}") from None
        for mapping in merged:
            for name, value in mapping.items():
                values.setdefault(name, value)
        return values

    def _merged(self, node: yaml.Node, key: Key, depth: int) -> Value:
        if not isinstance(node, yaml.MappingNode):
            raise LocalError(f"{self.file}:{node.start_mark.line + 1}: << takes a mapping, or a list of mappings")
        return self._value(node, key, depth)


def _composed(text: str) -> yaml.Node | None:
    """The document's nodes. Raises YAMLError.

    An anchor may be given again, and then means the later one (YAML 1.2 §3.2.2.2); libyaml's own reader, which is
    faster, does not know that.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.compose(text, Loader=loader)
    except yaml.composer.ComposerError as error:
        if "anchor" not in str(error.context):
            raise
    return yaml.compose(text, Loader=_AnchorsAgain)


class _AnchorsAgain(yaml.SafeLoader):
    """Takes an anchor that was there before."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if not self.check_event(yaml.AliasEvent):
            self.anchors.pop(self.peek_event().anchor, None)  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        if _HALF.search(node.value):
            raise yaml.composer.ComposerError(None, None, "half of a character (a surrogate)", node.start_mark)
        return node
