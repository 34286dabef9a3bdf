"""WireGuard for a whole host: up with a wg-quick file, nothing around it, another uplink in mid-download, down."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.netlab.namespaces import SERVER4, SITE4, SITE6
from bench.netlab.tunnel import shadowsocks_url
from lab_system import DNS, System
from lab_uplinks import SECOND4, UplinkLab, until
from test_lab_up_leaks import PROBED
from wireguard_peer import INSIDE4, INSIDE6, INTERFACE, PORT, Keys, wireguard_go

pytestmark = pytest.mark.lab
TO_SERVER = f"(host {SERVER4} and port {PORT})"


@pytest.fixture(scope="module")
def keys(uplinks: UplinkLab) -> Iterator[Keys]:
    made = Keys()
    with wireguard_go(uplinks, made):
        yield made


@pytest.fixture
def profile(keys: Keys, tmp_path: Path) -> str:
    return keys.profile(tmp_path, more=f"DNS = {SITE4}\n")


def test_up_and_down(uplinks: UplinkLab, system: System, keys: Keys, profile: str) -> None:
    before = system.snapshot()
    system.ok("up", profile, TUNFLOW_SERVER="")
    with uplinks.spied(TO_SERVER) as leaks:
        assert system.fetch(f"http://{SITE4}/1k") == 1024, system.log()
        assert system.fetch(f"http://[{SITE6}]/1k", "-g") == 1024, system.log()
        for version, address in (("-4", INSIDE4), ("-6", INSIDE6)):
            assert system.run(["ping", version, "-c1", "-W30", address]).returncode == 0
        asked = ["dig", "+short", "+tries=1", "+timeout=30", "site.lab"]
        assert system.run(asked).stdout.split() == [SITE4], system.log()
    assert leaks == []
    assert keys.client not in system.log() + str(system.status())
    system.ok("down")
    assert system.snapshot() == before


def test_a_download_goes_on_over_another_uplink(uplinks: UplinkLab, system: System, profile: str) -> None:
    size = 30_000_000
    with (uplinks.directory / "site" / "big").open("rb") as file:
        expected = hashlib.sha256(file.read(size)).hexdigest()
    system.ok("up", profile, TUNFLOW_SERVER="")
    get = f"curl -sS -m 120 --limit-rate 8M -r 0-{size - 1} http://{SITE4}/big | sha256sum"
    with uplinks.start(uplinks.client, ["sh", "-c", get]) as download:
        time.sleep(1.5)
        assert download.popen.poll() is None
        uplinks.use_uplink(2)
        where = ["wg", "show", INTERFACE, "endpoints"]
        until(lambda: f"{SECOND4}:" in uplinks.server.run(where).stdout, 60, "the server hears it from there")
        assert download.popen.wait(120) == 0
        assert download.output().split()[0] == expected, system.log()
    until(lambda: system.facts()["status"] == "connected")


def test_a_server_that_starts_again_and_nothing_goes_around(
    uplinks: UplinkLab, system: System, keys: Keys, profile: str
) -> None:
    system.ok("up", profile, TUNFLOW_SERVER="")
    assert system.fetch(f"http://{SITE4}/1k") == 1024, system.log()
    with uplinks.spied(TO_SERVER) as leaks:
        uplinks.server.run(["ip", "link", "set", INTERFACE, "down"])
        assert system.run(["ping", "-c1", "-W1", SITE4]).returncode != 0
        uplinks.server.run(["ip", "link", "set", INTERFACE, "up"])
        until(lambda: system.fetch(f"http://{SITE4}/1k", timeout=5) == 1024)
    assert [line for line in leaks if not any(f"? {name}" in line for name in PROBED)] == []


def test_rules_and_a_download_that_goes_on_over_another_uplink(
    uplinks: UplinkLab, system: System, keys: Keys, tmp_path: Path
) -> None:
    """WireGuard as the target of a rule, by a stack at its near end: what is inside does not see that it roams."""
    profile = tmp_path / "rules.toml"
    profile.write_text(f"""
        rules = ["IP-CIDR,{SITE4}/32,wg", "MATCH,ss"]
        [servers.wg]
        url = "{keys.link()}"
        [servers.ss]
        url = "{shadowsocks_url()}"
        [dns]
        mode = "{DNS}"
    """)
    profile.chmod(0o600)
    size = 20_000_000
    with (uplinks.directory / "site" / "big").open("rb") as file:
        expected = hashlib.sha256(file.read(size)).hexdigest()
    before = system.snapshot()
    system.ok("up", str(profile), TUNFLOW_SERVER="")
    with uplinks.spied(f"host {SERVER4}") as seen:
        assert system.fetch(f"http://{SITE4}/1k") == 1024, system.log()
        assert system.fetch(f"http://[{SITE6}]/1k", "-g") == 1024, system.log()
    assert seen == []
    (tunnel,) = system.status()["tunnels"]
    assert tunnel["status"] == "connected"
    assert tunnel["bytes_in"] > 1024
    assert tunnel["tunnel"]["peers"][0]["latest_handshake"] is not None
    assert "tunnel      wireguard://" in system.ok("status")
    get = f"curl -sS -m 120 --limit-rate 4M -r 0-{size - 1} http://{SITE4}/big | sha256sum"
    with uplinks.start(uplinks.client, ["sh", "-c", get]) as download:
        time.sleep(1.5)
        uplinks.use_uplink(2)
        download.popen.wait(120)
        assert download.output().split()[0] == expected, system.log()
    system.ok("down")
    uplinks.use_uplink(1)
    assert system.snapshot() == before
