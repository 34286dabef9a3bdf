"""Any text as a wg-quick file and as a wireguard:// link: settings that are written and read again, or LocalError."""

from __future__ import annotations

import contextlib

from tunflow.errors import LocalError
from tunflow.protocols.wireguard.config_file import format_config, is_config_file, parse_config
from tunflow.protocols.wireguard.link import format_link, parse_link

_KEY = b"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
SEEDS = [
    b"[Interface]\nPrivateKey = %b\nAddress = 10.0.0.2/24, fd00::2/64\nDNS = 1.1.1.1, lan\nMTU = 1400\n[Peer]\n"
    b"PublicKey = %b\nAllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = [2001:db8::1]:51820\nPersistentKeepalive = 25\n"
    % (_KEY, _KEY),
    b"wireguard://%b@192.0.2.1:51820?publickey=%b&address=10.0.0.2/32&mtu=1280&dns=1.1.1.1#tag" % (_KEY, _KEY),
]


def one_input(data: bytes) -> None:
    """Both parsers."""
    text = data.decode(errors="replace")
    is_config_file(data)
    with contextlib.suppress(LocalError):
        settings = parse_config(text, "wg0.conf")
        assert parse_config(format_config(settings), "again") == settings
    with contextlib.suppress(LocalError):
        linked = parse_link(text)
        assert parse_link(format_link(linked)) == linked
