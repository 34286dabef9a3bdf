"""OpenVPN for a whole host: up with a file, nothing around it, uplinks changed in the middle of a download, down."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator

import pytest
from bench.netlab.namespaces import SERVER4, SITE4
from bench.netlab.processes import Process
from lab_system import System
from lab_uplinks import UplinkLab, until
from openvpn_peer import INSIDE, PORT, Keys, start_openvpn
from test_lab_up_leaks import PROBED

pytestmark = pytest.mark.lab
TO_SERVER = f"(host {SERVER4} and port {PORT})"


@pytest.fixture(scope="module")
def keys(uplinks: UplinkLab) -> Keys:
    return Keys(uplinks.directory / "openvpn")


@pytest.fixture
def server(uplinks: UplinkLab, keys: Keys) -> Iterator[Process]:
    with start_openvpn(uplinks, keys, "--tls-crypt", "ta.key", "--push", f"dhcp-option DNS {SITE4}") as running:
        yield running


def test_up_and_down(uplinks: UplinkLab, system: System, keys: Keys, server: Process) -> None:
    before = system.snapshot()
    system.ok("up", keys.client("whole", "tls-crypt ta.key"), TUNFLOW_SERVER="")
    with uplinks.spied(TO_SERVER) as leaks:
        assert system.fetch(f"http://{SITE4}/1k") == 1024, system.log()
        assert system.run(["ping", "-c1", "-W30", INSIDE]).returncode == 0
        assert system.run(["ping", "-6", "-c1", "-W1", "fd77::1"]).returncode != 0
        asked = ["dig", "+short", "+tries=1", "+timeout=30", "site.lab"]
        assert system.run(asked).stdout.split() == [SITE4], system.log()
    assert leaks == []
    assert "PRIVATE" not in system.log() + str(system.status())
    system.ok("down")
    assert system.snapshot() == before


def test_a_server_that_starts_again_and_nothing_goes_around(uplinks: UplinkLab, system: System, keys: Keys) -> None:
    first = start_openvpn(uplinks, keys, "--tls-crypt", "ta.key")
    system.ok("up", keys.client("again", "tls-crypt ta.key"), TUNFLOW_SERVER="")
    assert system.fetch(f"http://{SITE4}/1k") == 1024, system.log()
    with uplinks.spied(TO_SERVER) as leaks:
        first.kill()
        until(lambda: system.facts()["status"] == "reasserting")
        assert system.run(["ping", "-c1", "-W1", SITE4]).returncode != 0
        with start_openvpn(uplinks, keys, "--tls-crypt", "ta.key"):
            until(lambda: system.facts()["status"] == "connected")
            assert system.fetch(f"http://{SITE4}/1k") == 1024, system.log()
    assert [line for line in leaks if not any(f"? {name}" in line for name in PROBED)] == []


@pytest.mark.parametrize("proto", ["udp", "tcp"])
def test_a_download_goes_on_over_another_uplink(uplinks: UplinkLab, system: System, keys: Keys, proto: str) -> None:
    size = 30_000_000
    with (uplinks.directory / "site" / "big").open("rb") as file:
        expected = hashlib.sha256(file.read(size)).hexdigest()
    options = ["--tls-crypt", "ta.key", "--duplicate-cn"] if proto == "tcp" else ["--tls-crypt", "ta.key"]
    with start_openvpn(uplinks, keys, *options, "--ifconfig-pool-persist", "pool", proto=proto):
        system.ok("up", keys.client("moves", "tls-crypt ta.key", proto=proto), TUNFLOW_SERVER="")
        get = f"curl -sS -m 120 --limit-rate 8M -r 0-{size - 1} http://{SITE4}/big | sha256sum"
        with uplinks.start(uplinks.client, ["sh", "-c", get]) as download:
            time.sleep(1.5)
            assert download.popen.poll() is None
            uplinks.use_uplink(2)
            until(lambda: "the network changed" in system.log())
            download.popen.wait(120)
            if proto == "udp":  # over TCP the server may give another address, and then a connection ends
                assert download.output().split()[0] == expected, system.log()
        until(lambda: system.facts()["status"] == "connected")
        assert system.fetch(f"http://{SITE4}/1k") == 1024, system.log()
