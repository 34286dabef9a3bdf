"""Every value of whole configurations of other programs, replaced by an odd one: a line says what is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from odd_values import with_odd_values
from tunflow.errors import BadPacket, LocalError
from tunflow.profiles.imports.importer import ImportSource, import_profile
from tunflow.tunnel.check import check

FILES = Path(__file__).parent / "whole_files"
ODD: tuple[Any, ...] = ("", "\0", "(", -1, 1.5, [], {"": ""}, [{}])


def _said(content: bytes, file: str) -> list[str]:
    try:
        made = import_profile(ImportSource(content, file, "x"))
    except (LocalError, BadPacket) as error:
        return [str(error)]
    said = [each.reason for each in made.told]
    try:
        check(made.profile, said.append)
    except LocalError as error:
        said.append(str(error))
    return said


@pytest.mark.parametrize("name", ["sing-box.json", "xray.json", "clash.yaml"])
def test_a_value_of_any_shape_is_taken_or_said_in_one_line(name: str) -> None:
    text = (FILES / name).read_text()
    data = json.loads(text) if name.endswith("json") else yaml.safe_load(text)
    for place, changed in with_odd_values(data, ODD):
        said = _said(json.dumps(changed).encode(), name)
        assert not any("\n" in each for each in said), (place, said)


@pytest.mark.parametrize("name", ["sing-box.json", "xray.json", "clash.yaml"])
def test_the_whole_files_are_taken(name: str) -> None:
    made = import_profile(ImportSource((FILES / name).read_bytes(), name, "x"))
    assert [each for each in made.told if each.is_lost] == []
