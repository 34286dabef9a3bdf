"""The scanner against tomllib: every key that tomllib knows has a line, and it is the right one."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given, strategies

from tunflow.profiles.toml_lines import Key, lines_of

DOCUMENT = """\
# comment
name = "home" # not a key = 1
server = [
  "ss://x#y",   # [no table]
  'a, "b"', ]
long = '''
[fake]
x = 1
'''
a."b c".d = 1
date = 1979-05-27T07:32:00Z
inline = { x = [1, 2], y.z = { w = "}" } }

[tunnel]
mtu = 1500
[[apps]]
path = "/a"

[[apps]]
path = "/b"
[apps.inner]
deep = \"\"\"one\\"\"\"\"
[servers.'q.r']
url = "x"
"""


def every_key(value: Any, key: Key = ()) -> set[Key]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {key} | {found for part, each in items for found in every_key(each, (*key, part))}


def test_every_key_has_its_line() -> None:
    lines = lines_of(DOCUMENT)
    assert set(lines) == every_key(tomllib.loads(DOCUMENT)) - {()}
    rows = DOCUMENT.split("\n")
    for key, text in {
        ("name",): "name =",
        ("server", 1): "'a,",
        ("a", "b c", "d"): "a.",
        ("inline", "y", "z", "w"): "inline",
        ("tunnel", "mtu"): "mtu",
        ("apps", 1, "path"): 'path = "/b"',
        ("apps", 1, "inner", "deep"): "deep",
        ("servers", "q.r", "url"): 'url = "x"',
    }.items():
        assert text in rows[lines[key] - 1], key


values = strategies.recursive(
    strategies.integers() | strategies.booleans() | strategies.text(),
    lambda each: (
        strategies.lists(each, max_size=3) | strategies.dictionaries(strategies.text(min_size=1), each, max_size=3)
    ),
    max_leaves=12,
)


@given(strategies.dictionaries(strategies.text(min_size=1), values, max_size=4))
def test_any_document_that_tomlkit_writes(data: dict[str, Any]) -> None:
    import tomlkit

    text = tomlkit.dumps(data)
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # tomlkit writes what TOML forbids for some control characters
    assert set(lines_of(text)) == every_key(parsed) - {()}
