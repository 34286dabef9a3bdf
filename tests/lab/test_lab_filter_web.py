"""The content filter and real web programs behind a gateway: Chromium, HTTP/3, DNS over TCP."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.netlab.namespaces import SITE4
from lab_system import System, client
from lab_uplinks import UplinkLab, until
from test_lab_filter import ALLOWED, BLOCKED, https, profile_of  # noqa: F401 (a fixture)

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def http3(uplinks: UplinkLab) -> Iterator[None]:
    """An HTTP/3 server on S."""
    key, certificate = uplinks.directory / "h3.key", uplinks.directory / "h3.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
         "-out", certificate, "-days", "2", "-subj", "/CN=lab"],
        check=True, capture_output=True,
    )  # fmt: skip
    with uplinks.start(uplinks.server, client("http3", "serve", SITE4, certificate, key)) as process:
        until(lambda: "listening" in process.output(), what="the HTTP/3 server")
        yield


def browse(lab: UplinkLab, directory: Path, url: str) -> str:
    """The page that a LAN client's Chromium shows, as it stands after loading."""
    command = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", f"--user-data-dir={directory / 'chromium'}",
        "--virtual-time-budget=4000", "--ignore-certificate-errors", "--dump-dom", url,
    ]  # fmt: skip
    done = subprocess.run(
        lab.behind.command(command),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env={**lab.behind.env, "HOME": str(directory)},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_a_browser_behind_the_gateway(uplinks: UplinkLab, system: System) -> None:
    """The page of a listed site, another site as it is, and the listed page of that one."""
    path = profile_of(system, 'dns_answer = "address"\nhow_to_ask = "Ask Ms Miller."')
    system.ok("up", str(path), "--gateway", "lan0")
    directory = Path(system.directory)
    page = browse(uplinks, directory, f"http://{BLOCKED}/1k")
    assert "This page is blocked" in page, (page[:500], system.log())
    assert "school:1" in page
    assert "Ask Ms Miller." in page
    (Path(uplinks.directory) / "site" / "page.html").write_text("<p>what the site says")
    assert "what the site says" in browse(uplinks, directory, f"http://{ALLOWED}/page.html")
    assert "school:2" in browse(uplinks, directory, f"http://{ALLOWED}/big")
    explained = system.ok("filter", "test", f"http://{BLOCKED}/1k", "--profile", str(path))
    assert "list.txt:1" in explained


@pytest.mark.usefixtures("https")
def test_a_browser_that_only_pretends_to_encrypt_its_hello(uplinks: UplinkLab, system: System) -> None:
    """Chromium's hellos all look like encrypted ones (GREASE): closing the door must not lock it out."""
    path = profile_of(system, 'close = ["ech"]')
    system.ok("up", str(path), "--gateway", "lan0")
    directory = Path(system.directory)
    page = browse(uplinks, directory, f"https://{ALLOWED}/")
    assert "s_server" in page, (page[:500], system.log(), (directory / "filter.jsonl").read_text())
    assert "s_server" not in browse(uplinks, directory, f"https://{BLOCKED}/")


@pytest.mark.parametrize("how", ["gateway", "host", "run"])
def test_http3(uplinks: UplinkLab, system: System, http3: None, how: str) -> None:
    """A listed name is refused at once, another one passes."""
    path = profile_of(system)
    if how == "run":
        for name, answer in ((ALLOWED, "200 1024"), (f"!{BLOCKED}", "none")):
            script = client("http3", "get", SITE4, name)
            done = system.tunflow("run", "--profile", str(path), "--", *script)
            assert done.stdout.strip().splitlines()[-1] == answer, done
        return
    system.ok("up", str(path), *(("--gateway", "lan0") if how == "gateway" else ()))
    host = uplinks.behind if how == "gateway" else uplinks.client
    assert host.run(client("http3", "get", SITE4, ALLOWED)).stdout.strip() == "200 1024", system.log()
    assert host.run(client("http3", "get", SITE4, f"!{BLOCKED}")).stdout.strip().endswith("none")


def test_a_second_quic_connection_on_the_same_ports(uplinks: UplinkLab, system: System, http3: None) -> None:
    """Each of a socket's connections is judged, however many it opened before."""
    system.ok("up", str(profile_of(system)))
    said = uplinks.client.run(client("http3", "get", SITE4, ALLOWED, ALLOWED, f"!{BLOCKED}")).stdout
    assert said.split("\n")[:3] == ["200 1024", "200 1024", "none"], system.log()


def test_quic_can_be_closed(uplinks: UplinkLab, system: System, http3: None) -> None:
    system.ok("up", str(profile_of(system, 'close = ["quic"]')))
    assert uplinks.client.run(client("http3", "get", SITE4, f"!{ALLOWED}")).stdout.strip().endswith("none")


def test_names_over_tcp_and_to_any_resolver(uplinks: UplinkLab, system: System) -> None:
    """DNS over TCP, to whichever resolver a client likes: the answer is the filter's."""
    system.ok("up", str(profile_of(system)), "--gateway", "lan0")
    for resolver in (SITE4, "203.0.113.77"):
        for way in ("+tcp", "+notcp"):
            dig = ["dig", "+tries=1", "+time=30", way, f"@{resolver}"]
            assert "NXDOMAIN" in uplinks.behind.run([*dig, f"www.{BLOCKED}"], check=False).stdout
            assert "NOERROR" in uplinks.behind.run([*dig, ALLOWED], check=False).stdout


def test_a_blocked_address_in_every_spelling(uplinks: UplinkLab, system: System) -> None:
    path = profile_of(system)
    (path.parent / "list.txt").write_text(f"{SITE4}\n")
    system.ok("up", str(path), "--gateway", "lan0")
    number = int.from_bytes(bytes(map(int, SITE4.split("."))), "big")
    for host in (SITE4, str(number), hex(number), "012.0115.0.1"):
        done = uplinks.behind.run(["curl", "-sS", "-m", "30", "-o", "/dev/null", "-w", "%{http_code}", f"http://{host}/1k"],
                                  check=False)  # fmt: skip
        assert done.stdout == "403", (host, done.stdout, done.stderr)
