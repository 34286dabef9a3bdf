"""Names system-wide: fake addresses that outlive the process, and a network whose answers are poisoned."""

from __future__ import annotations

import os
import signal

import pytest
from bench.netlab.namespaces import SITE4
from lab_system import DNS, System
from lab_uplinks import UplinkLab

pytestmark = pytest.mark.lab


def look_up(system: System, name: str) -> str:
    return system.run(["dig", "+short", "+tries=1", name]).stdout.strip()


def test_fake_addresses_outlive_the_process(uplinks: UplinkLab, system: System) -> None:
    """A client that holds an address reaches its name after a restart, and after a crash."""
    system.up("--dns", f"fake,{DNS}")
    given = {name: look_up(system, name) for name in ("one.lab", "site.lab", "two.lab")}
    assert len({*given.values()}) == 3
    os.kill(system.status()["pid"], signal.SIGKILL)
    system.ok("down")
    system.up("--dns", f"fake,{DNS}")
    assert system.fetch(f"http://{given['site.lab']}/1k") == 1024  # without a lookup
    assert look_up(system, "four.lab") not in given.values()
    system.ok("down")
    system.up("--dns", f"fake,{DNS}")
    assert {name: look_up(system, name) for name in given} == given
    kept = list((system.directory / "data" / "fake-ip").iterdir())
    assert [path.stat().st_mode & 0o777 for path in kept] == [0o600]


def test_a_reload_swaps_names_at_once_and_keeps_the_cache(uplinks: UplinkLab, system: System) -> None:
    profile = system.directory / "names.toml"
    text = f'server = ["{system.url}"]\n[dns]\nservers = ["tcp://{{}}"]\nhosts = {{{{ "h.lab" = ["{{}}"] }}}}\n'
    profile.write_text(text.format(SITE4, "192.0.2.1"))
    profile.chmod(0o600)
    system.ok("up", str(profile))
    assert look_up(system, "h.lab") == "192.0.2.1"
    assert look_up(system, "site.lab") == SITE4
    profile.write_text(text.format("192.0.2.99", "192.0.2.2"))
    system.ok("reload")
    assert look_up(system, "h.lab") == "192.0.2.2"
    profile.write_text(text.format("not a resolver", "192.0.2.3"))
    assert "dns.servers[0]" in system.tunflow("reload").stderr
    assert look_up(system, "h.lab") == "192.0.2.2"
