"""Host settings as text: what is written is read again, and anything else is refused."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.errors import BadPacket
from tunflow.host.network.settings import AppScope, HostDNS, HostSettings
from tunflow.host.network.settings_text import from_json_untrusted, to_json

FULL = HostSettings(
    addresses=(ip_interface("198.18.0.1/30"), ip_interface("fd00::1/126")),
    mtu=1400,
    included=(ip_network("10.0.0.0/8"),),
    excluded=(ip_network("2001:db8::/32"),),
    exclude_lan=True,
    dns=HostDNS((ip_address("198.18.0.2"),), ("lab",), ("example.com",)),
    kill_switch=True,
    servers=(ip_address("192.0.2.1"),),
    portal=(ip_address("192.0.2.53"), ip_address("2001:db8::53")),
    portal_ports=(80, 8080),
    gateways=("eth1",),
    cgroups=("/tunflow/apps",),
    scope=AppScope.ONLY,
)
SMALL = HostSettings((ip_interface("198.18.0.1/30"),))


@pytest.mark.parametrize("settings", [FULL, SMALL])
def test_round_trip(settings: HostSettings) -> None:
    assert from_json_untrusted(to_json(settings)) == settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("addresses", []), ("addresses", [7]), ("addresses", "10.0.0.1"), ("mtu", 1), ("mtu", True), ("mark", None),
        ("device", "a/b"), ("device", 7), ("device", "x" * 16), ("kill_switch", 1), ("gateways", [[]]),
        ("cgroups", ["/.."]), ("scope", "all"), ("dns", {}), ("dns", {"servers": [], "search": [], "match": None}),
        ("included", ["10.0.0.1/8"]), ("servers", ["nowhere"]),
        ("portal", ["nowhere"]), ("portal", 1), ("portal_ports", ["80"]), ("portal_ports", [True]),
        ("portal_ports", [0]),
        ("portal_ports", None), ("table", 254),
    ],
)  # fmt: skip
def test_what_is_no_setting_is_refused(name: str, value: Any) -> None:
    with pytest.raises(BadPacket):
        from_json_untrusted(json.dumps({**json.loads(to_json(FULL)), name: value}))


@given(st.text(max_size=100) | st.builds(json.dumps, st.dictionaries(st.text(max_size=8), st.integers())))
def test_any_text(text: str) -> None:
    with pytest.raises(BadPacket):
        from_json_untrusted(text)
