"""The status in one line: for a bar, or as somebody wants it."""

from __future__ import annotations

import json

import pytest

from tunflow.cli.status_line import KEYS, formatted, waybar
from tunflow.errors import LocalError

FACTS = {
    "status": "connected", "device": "tunflow0", "servers": ["ss://a", "ss://<b>"], "path": "wlan0",
    "kill_switch": True, "troubles": [], "pid": 7,
}  # fmt: skip
DOWN = {"status": "disconnected", "pid": None, "device": None, "servers": []}


def test_a_text_of_ones_own() -> None:
    assert formatted("{status} {{by}} {servers} {kill_switch}", FACTS) == "connected {by} ss://a -> ss://<b> on"
    assert formatted("{status}|{device}|{since}|{kill_switch}", DOWN) == "disconnected|||off"
    assert all(formatted(f"{{{key}}}", FACTS) is not None for key in KEYS)


@pytest.mark.parametrize("text", ["{password}", "{", "}", "{status.x}", "{0}", "{status!r}"])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(LocalError, match=r"--format: .* is not known"):
        formatted(text, FACTS)


def test_a_bar() -> None:
    said = json.loads(waybar(FACTS))
    assert (said["text"], said["alt"], said["class"]) == ("VPN", "connected", ["connected", "kill-switch"])
    assert "&lt;b>" in said["tooltip"]
    captive = {**FACTS, "status": "captive", "troubles": [{"what": "a login", "since": "now"}]}
    assert json.loads(waybar(captive))["text"] == "VPN: login"
    assert "a login" in json.loads(waybar(captive))["tooltip"]
    assert json.loads(waybar({**captive, "status": "connected"}))["class"][0] == "trouble"
    avoided = [{"what": "one of two", "since": "now", "avoided": True}]
    assert json.loads(waybar({**FACTS, "troubles": avoided}))["alt"] == "connected"
    assert json.loads(waybar(DOWN)) == {
        "text": "no VPN", "alt": "disconnected", "class": ["disconnected"], "tooltip": "disconnected"
    }  # fmt: skip
