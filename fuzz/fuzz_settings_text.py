"""Host settings as text: they parse, or are a BadPacket."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address, ip_interface

from tunflow.errors import BadPacket
from tunflow.host.network.settings import HostDNS, HostSettings
from tunflow.host.network.settings_text import from_json_untrusted, to_json

SEEDS: list[bytes] = [
    to_json(HostSettings((ip_interface("198.18.0.1/30"),))).encode(),
    to_json(
        HostSettings(
            (ip_interface("fd00::1/126"),),
            dns=HostDNS((ip_address("fd00::2"),), match=("example.com",)),
            servers=(ip_address("192.0.2.1"),),
        )
    ).encode(),
]


def one_input(data: bytes) -> None:
    """Parse; what parses is the same when written and read again."""
    with suppress(BadPacket):
        settings = from_json_untrusted(data.decode(errors="replace"))
        assert from_json_untrusted(to_json(settings)) == settings
