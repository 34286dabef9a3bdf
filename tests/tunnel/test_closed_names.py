"""Which names nobody may look up: split DNS under a kill switch."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from tunflow.host.network.settings import AppScope, HostDNS, HostSettings
from tunflow.tunnel.closed_names import closed_names

OUTER = ["192.0.2.1", "fe80::1%eth0"]
SETTINGS = HostSettings(
    addresses=(ip_interface("198.18.0.1/30"),),
    dns=HostDNS((ip_address("198.18.0.2"),), match=("corp.example", "lab")),
    kill_switch=True,
)


@pytest.fixture
def resolved(tmp_path: Path) -> Path:
    """A resolv.conf by which programs ask systemd-resolved."""
    path = tmp_path / "resolv.conf"
    path.symlink_to("/run/systemd/resolve/stub-resolv.conf")
    return path


def test_the_kill_switch_leaves_the_tunnels_domains_alone(resolved: Path) -> None:
    line = closed_names(SETTINGS, OUTER, resolved)
    assert line is not None
    assert line.startswith("only names of corp.example, lab resolve")
    assert "dns.match_domains" in line


@pytest.mark.parametrize(
    "settings",
    [
        None,
        replace(SETTINGS, kill_switch=False),
        replace(SETTINGS, dns=None),
        replace(SETTINGS, dns=HostDNS((ip_address("198.18.0.2"),))),
        replace(SETTINGS, cgroups=("/apps",), scope=AppScope.ONLY),
        replace(SETTINGS, excluded=(ip_network("192.0.2.0/24"),)),
        replace(SETTINGS, included=(ip_network("10.0.0.0/8"),)),
    ],
    ids=["down", "open", "no resolvers", "all names", "some programs", "theirs excluded", "theirs not included"],
)
def test_else_all_names_resolve(resolved: Path, settings: HostSettings | None) -> None:
    assert closed_names(settings, OUTER, resolved) is None


def test_where_nothing_splits_the_tunnel_is_asked_for_all(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 198.18.0.2\n")
    assert closed_names(SETTINGS, OUTER, tmp_path / "resolv.conf") is None
