"""Every value of the manual's profiles, replaced by what somebody might write there: one line says what is wrong."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from odd_values import with_odd_values
from tunflow.errors import LocalError
from tunflow.profiles.profile import Profile
from tunflow.tunnel.compile import compile_profile

MANUAL = Path(__file__).parents[2] / "docs"
ODD: tuple[Any, ...] = (
    "",
    "\0",
    "a\nb",
    "(",
    "\u0663",
    "yesterday",
    "x" * 300,
    "[::1",
    -1,
    10**30,
    1.5,
    [],
    {},
    [""],
    ["\0"],
)
WAYS = ("server", "servers", "groups", "server_lists", "provider")


def _profiles() -> Iterator[Any]:
    for file in sorted(MANUAL.rglob("*.md")):
        for number, text in enumerate(re.findall(r"^```toml\n(.*?)^```", file.read_text(), re.DOTALL | re.MULTILINE)):
            data = tomllib.loads(text)
            if not any(key in data for key in WAYS):
                data["server"] = "direct://"
            yield pytest.param(data, id=f"{file.stem}-{number}")


def _said(data: Any) -> str:
    """What is wrong with a profile; "" for nothing."""
    try:
        compile_profile(Profile.parse(data, "p.toml"))
    except LocalError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("data", list(_profiles()))
def test_a_value_of_any_shape_is_taken_or_refused_in_one_line(data: dict[str, Any]) -> None:
    for place, changed in with_odd_values(data, ODD):
        assert "\n" not in _said(changed), place
