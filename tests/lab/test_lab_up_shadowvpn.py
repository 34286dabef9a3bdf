"""ShadowVPN for a whole host: up, a change of uplinks in the middle of a download, and down."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator

import pytest
from bench.netlab.namespaces import SERVER4, SITE4
from bench.netlab.processes import Process
from bench.netlab.tunnel import TUNFLOW
from lab_system import System
from lab_uplinks import UplinkLab, until

pytestmark = pytest.mark.lab

PORT = 1123
LINK = f"shadowvpn://secret@{SERVER4}:{PORT}?net=10.7.0.2/24"
TO_SERVER = f"(host {SERVER4} and udp port {PORT})"


@pytest.fixture(scope="module")
def shadowvpn(uplinks: UplinkLab) -> Iterator[Process]:
    """The server, on S."""
    link = f"shadowvpn://secret@{SERVER4}:{PORT}?net=10.7.0.1/24"
    with uplinks.start(uplinks.server, [TUNFLOW, "serve", link]) as server:
        until(lambda: "serving" in server.output())
        yield server


def test_up_and_down(uplinks: UplinkLab, system: System, shadowvpn: Process) -> None:
    before = system.snapshot()
    told = system.tunflow("up", "--server", LINK, TUNFLOW_SERVER="").stderr
    assert f"through shadowvpn at {SERVER4}" in told
    facts = system.status()
    assert facts["servers"] == [f"shadowvpn at {SERVER4}"]
    assert facts["path"]
    with uplinks.spied(TO_SERVER) as leaks:
        assert system.fetch(f"http://{SITE4}/1k") == 1024, system.log()
        assert system.run(["ping", "-c1", "-W30", "10.7.0.1"]).returncode == 0
        assert system.run(["ping", "-6", "-c1", "-W1", "fd77::1"]).returncode != 0  # no IPv6 inside, and none around it
    assert leaks == []
    assert "secret" not in system.log() + str(system.status())
    system.ok("down")
    assert system.snapshot() == before


def test_a_download_goes_on_over_another_uplink(uplinks: UplinkLab, system: System, shadowvpn: Process) -> None:
    size = 30_000_000
    with (uplinks.directory / "site" / "big").open("rb") as file:
        expected = hashlib.sha256(file.read(size)).hexdigest()
    system.ok("up", "--server", LINK, TUNFLOW_SERVER="")
    get = f"curl -sS -m 120 --limit-rate 8M -r 0-{size - 1} http://{SITE4}/big | sha256sum"
    with uplinks.start(uplinks.client, ["sh", "-c", get]) as download:
        time.sleep(1.5)
        assert download.popen.poll() is None
        uplinks.use_uplink(2)
        until(lambda: "the network changed" in system.log())
        until(lambda: system.facts()["status"] == "connected")
        download.popen.wait(120)
        assert download.output().split()[0] == expected, system.log()


def test_what_a_profile_excludes_goes_around(uplinks: UplinkLab, system: System, shadowvpn: Process) -> None:
    path = system.directory / "vpn.toml"
    configuration = f'provider = "shadowvpn"\n[provider_configuration]\nlink = "{LINK}"\n'
    path.write_text(f'{configuration}[tunnel]\nexcluded_routes = ["{SITE4}/32"]\n')
    path.chmod(0o600)
    system.ok("up", str(path))
    with uplinks.spied(TO_SERVER) as around:
        assert system.fetch(f"http://{SITE4}/1k") == 1024
    assert any(f"{SITE4}.80" in line for line in around)


def test_a_country_and_the_resolver_of_a_profile(uplinks: UplinkLab, system: System, shadowvpn: Process) -> None:
    place = system.directory / "data" / "delegated"
    place.mkdir(parents=True)
    (place / "apnic.txt").write_text(
        "2|apnic|20210715|1|19830613|20210714|+1000\napnic|*|ipv4|*|1|summary\n"
        "apnic|CN|ipv4|114.114.0.0|65536|20100101|allocated\n"
    )
    path = system.directory / "vpn.toml"
    configuration = f'provider = "shadowvpn"\n[provider_configuration]\nlink = "{LINK}"\ndns = ["{SITE4}"]\n'
    path.write_text(f'{configuration}[tunnel]\nexcluded_routes = ["CN"]\n')
    path.chmod(0o600)
    before = system.snapshot()
    system.ok("up", str(path))
    with uplinks.spied(TO_SERVER) as around:
        system.run(["busybox", "nc", "-w", "1", "114.114.114.114", "80"])
    assert any("114.114.114.114" in line for line in around)
    with uplinks.spied(TO_SERVER) as around:
        assert system.fetch(f"http://{SITE4}/1k") == 1024
        asked = ["dig", "+short", "+tries=1", "+timeout=30", "site.lab"]
        assert system.run(asked).stdout.split() == [SITE4], system.log()
    assert around == []
    system.ok("down")
    assert system.snapshot() == before


def test_import_of_a_link_and_of_the_originals_file(system: System) -> None:
    file = system.directory / "client.conf"
    file.write_text(f"mode=client\nserver={SERVER4}\nport={PORT}\npassword=secret\nnet=10.7.0.2/24\nmtu=1432\n")
    for source, name in ((LINK, "one"), (str(file), "two")):
        system.ok("profile", "import", source, "--name", name, XDG_CONFIG_HOME=str(system.directory))
        shown = system.ok("profile", "show", name, XDG_CONFIG_HOME=str(system.directory))
        assert 'provider = "shadowvpn"' in shown
        assert "secret" not in shown
