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


CLASH = "proxies: [{name: a, type: ss, server: 192.0.2.1, port: 443, cipher: aes-256-gcm, password: x}]\n"


@pytest.mark.parametrize(
    ("content", "file"),
    [
        (CLASH + "dns: {enable: true, nameserver-policy: {'geosite:': 192.0.2.53}}", "c.yaml"),
        (CLASH + "dns: {enable: true, nameserver-policy: {'geosite: ,cn': 192.0.2.53}}", "c.yaml"),
        (CLASH + "dns: {enable: true, enhanced-mode: fake-ip, fake-ip-filter: ['geosite: ']}", "c.yaml"),
        ({"servers": [{"tag": "d", "address": "192.0.2.53"}], "rules": [{"geosite": "", "server": "d"}]}, "s.json"),
        ({"servers": [{"address": "192.0.2.53", "domains": ["geosite:"]}]}, "x.json"),
    ],
)
def test_names_of_a_topic_without_a_name_are_lost(content: object, file: str) -> None:
    if not isinstance(content, str):
        data = json.loads((FILES / {"s.json": "sing-box.json", "x.json": "xray.json"}[file]).read_text())
        content = json.dumps({**data, "dns": content})
    made = import_profile(ImportSource(content.encode(), file, "x"))
    lost = [each.reason for each in made.told if each.is_lost]
    assert len(lost) == 1
    assert "geosite: is followed by nothing" in lost[0]
    assert all("geosite:" not in route.domains for route in made.profile.dns.routes)


@pytest.mark.parametrize("names", ["geosite:", "geosite: ", "rule-set:"])
def test_a_profile_that_names_no_list_is_refused(names: str) -> None:
    text = f'server = "direct://"\n[[dns.routes]]\ndomains = ["{names}"]\nservers = ["192.0.2.53"]\n'
    with pytest.raises(LocalError, match=f"{names.strip()} is followed by nothing"):
        import_profile(ImportSource(text.encode(), "p.toml", "x"))
