"""Ids of users: what other programs take for one, and nothing else."""

from __future__ import annotations

import pytest

from tunflow.errors import LocalError
from tunflow.protocols.registry import parse_server
from tunflow.protocols.user_id import user_id

ID = "9d0f41e8-7b52-4c1a-8e63-5a0cb7d21f94"
LINKS = ("vless://{}@h.example:1?encryption=none", "vmess://{}@h.example:1", "tuic://{}:p@h.example:1")


@pytest.mark.parametrize("text", [ID, ID.upper(), ID.replace("-", "")])
def test_an_id_has_one_form(text):
    assert str(user_id(text)) == ID
    assert len({parse_server(LINKS[0].format(each)).to_link() for each in (ID, text)}) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example",
        ID[:-1],
        ID + "0",
        ID + "\n",
        f"{{{ID}}}",
        f"urn:uuid:{ID}",
        "0x" + "1" * 30,
        "1_" * 15 + "11",
        "+" + "1" * 31,
        " " + "1" * 31,
        "\u0661" * 32,
        "9-d-0-f-4-1-e-8-7b524c1a8e635a0cb7d21f94",
        "9d0f41e87b52-4c1a-8e63-5a0cb7d21f94",
    ],
)
@pytest.mark.parametrize("link", LINKS)
def test_what_is_none_is_refused_without_its_text(link, text):
    with pytest.raises(LocalError) as caught:
        user_id(text)
    assert not text or text not in str(caught.value)
    quoted = text.replace("{", "%7b").replace("}", "%7d").replace("\n", "%0a").replace(" ", "%20")
    with pytest.raises(LocalError):
        parse_server(link.format(quoted))
