"""Ways around the content filter, and what it must not take for one, with real programs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.netlab.namespaces import SITE4
from bench.netlab.peers import start_dns
from lab_system import System, client
from lab_uplinks import UplinkLab, until
from test_lab_filter import ALLOWED, BLOCKED, curl, https, profile_of  # noqa: F401 (a fixture)

pytestmark = pytest.mark.lab

RESOLVER = "10.77.0.9"
CLOAK, FINE = f"cloak.{ALLOWED}", f"fine.{ALLOWED}"
QUIC_PORT = 8443


@pytest.fixture(scope="module")
def aliases(uplinks: UplinkLab) -> Iterator[None]:
    """A resolver on S that knows a name as an alias of the blocked one."""
    names = {BLOCKED: (SITE4,), FINE: (SITE4,)}
    with (
        uplinks.server.addressed(f"{RESOLVER}/32"),
        start_dns(uplinks, [RESOLVER], names, {}, [f"cname={CLOAK},{BLOCKED}"]),
    ):
        yield


@pytest.fixture(scope="module")
def http3(uplinks: UplinkLab) -> Iterator[None]:
    """An HTTP/3 server on S, at a port of its own."""
    key, certificate = uplinks.directory / "h3odd.key", uplinks.directory / "h3odd.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
         "-out", certificate, "-days", "2", "-subj", "/CN=lab"],
        check=True, capture_output=True,
    )  # fmt: skip
    with uplinks.start(uplinks.server, client("http3", "serve", f"{SITE4}@{QUIC_PORT}", certificate, key)) as process:
        until(lambda: "listening" in process.output(), what="the HTTP/3 server")
        yield


def straight(path: Path) -> Path:
    """The profile without a server between."""
    lines = path.read_text().splitlines()
    path.write_text(
        "\n".join('server = "direct://"' if line.strip().startswith("server =") else line for line in lines)
    )
    return path


@pytest.mark.parametrize("mode", ["cache", "fake"])
def test_an_alias_of_a_blocked_name(uplinks: UplinkLab, system: System, aliases: None, mode: str) -> None:
    system.ok("up", str(straight(profile_of(system, dns=f"{mode},tcp://{RESOLVER}"))))
    host, code = uplinks.client, ("-o", "/dev/null", "-w", "%{http_code}")
    assert curl(host, f"http://{FINE}/1k", *code)[0] == "200", system.log()
    assert curl(host, f"http://{CLOAK}/1k", *code)[0] == "000", system.log()
    assert "NXDOMAIN" in system.run(["dig", CLOAK]).stdout
    assert f"it is an alias of {BLOCKED}" in (Path(system.directory) / "filter.jsonl").read_text()


def test_an_alias_that_a_server_would_find_out(uplinks: UplinkLab, system: System, aliases: None) -> None:
    """Behind fake addresses Shadowsocks' server resolves names: they are asked for here as well, through it."""
    system.ok("up", str(profile_of(system, dns=f"fake,tcp://{RESOLVER}")))
    assert "NXDOMAIN" in system.run(["dig", CLOAK]).stdout, system.log()
    assert "198.18." in system.run(["dig", "+short", FINE]).stdout, system.log()
    assert f"it is an alias of {BLOCKED}" in (Path(system.directory) / "filter.jsonl").read_text()


def test_pings(uplinks: UplinkLab, system: System) -> None:
    path = straight(profile_of(system))
    (path.parent / "list.txt").write_text(f"{SITE4}\n")
    system.ok("up", str(path))
    pinged = uplinks.client.run(["ping", "-c", "1", "-W", "30", SITE4], check=False).stdout
    assert "Packet filtered" in pinged, (pinged, system.log())
    (path.parent / "list.txt").write_text("nothing.example\n")
    system.ok("reload")
    assert " 0% packet loss" in uplinks.client.run(["ping", "-c", "1", "-W", "30", SITE4], check=False).stdout


def test_rtsp_is_no_http(uplinks: UplinkLab, system: System) -> None:
    with uplinks.start(uplinks.server, client("camera", SITE4, "8554")) as camera:
        until(lambda: "listening" in camera.output(), what="the camera")
        system.ok("up", str(profile_of(system)))
        said, status, _ = curl(uplinks.client, f"rtsp://{SITE4}:8554/cam", "-i")
        assert ("RTSP/1.0 200 OK" in said, status) == (True, 0), (said, system.log())


@pytest.mark.parametrize(("name", "outcomes"), [(BLOCKED, {"reset"}), (ALLOWED, {"answered", "ended"})])
def test_a_hello_behind_an_alert_in_odd_records(
    uplinks: UplinkLab,
    system: System,
    https: None,  # noqa: F811
    name: str,
    outcomes: set[str],
) -> None:
    """OpenSSL declines the allowed one itself; other servers take it."""
    system.ok("up", str(profile_of(system, 'forged = "pass"')))
    assert uplinks.client.run(client("odd_hello", SITE4, name)).stdout.strip() in outcomes, system.log()


def test_http3_on_another_port(uplinks: UplinkLab, system: System, http3: None) -> None:
    path = profile_of(system)
    system.ok("up", str(path))
    where = f"{SITE4}@{QUIC_PORT}"
    said = uplinks.client.run(client("http3", "get", where, ALLOWED, ALLOWED, f"!{BLOCKED}")).stdout
    assert said.split("\n")[:3] == ["200 1024", "200 1024", "none"], system.log()
    profile_of(system, 'close = ["quic"]')
    system.ok("reload")
    assert uplinks.client.run(client("http3", "get", where, f"!{ALLOWED}")).stdout.strip().endswith("none")


def test_an_allowed_name_at_another_address(uplinks: UplinkLab, system: System, aliases: None) -> None:
    path = profile_of(system, 'only_allowed = true\nforged = "refuse"', f"cache,tcp://{RESOLVER}")
    (path.parent / "list.txt").write_text(f"{FINE}\n")
    path.write_text(path.read_text().replace('category = "not for school"', 'action = "allow"'))
    system.ok("up", str(path))
    host, sizes = uplinks.client, ("-o", "/dev/null", "-w", "%{http_code} %{size_download}")
    assert curl(host, f"http://{FINE}/1k", *sizes)[0] == "200 1024", system.log()
    there = ("--resolve", f"{FINE}:80:10.77.0.9")
    assert curl(host, f"http://{FINE}/1k", *there, *sizes)[0].startswith("403"), system.log()
