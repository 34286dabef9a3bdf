"""What a network says of its login page is read where this host's network manager writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunflow.host.network.portal_option import portal_api


@pytest.mark.parametrize(
    ("line", "url"),
    [
        ("CAPTIVE_PORTAL=https://api.example/captive", "https://api.example/captive"),
        ("CAPTIVE_PORTAL=urn:ietf:params:capport:unrestricted", None),
        ("CAPTIVE_PORTAL=file:///etc/passwd", None),
        ("DNS=10.0.0.1", None),
    ],
)
def test_networkd(tmp_path: Path, line: str, url: str | None) -> None:
    (tmp_path / "3").write_text(f"ADMIN_STATE=configured\n{line}\n")
    assert portal_api("nothing0", 3, tmp_path) == url


def test_a_link_that_nobody_manages(tmp_path: Path) -> None:
    assert portal_api("nothing0", 4, tmp_path) is None
