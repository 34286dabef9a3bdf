"""`tunflow demo` as a user runs it, but for shorter measurements."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SHORT = "import tunflow.cli.demo as demo; demo.MEASURE_SECONDS = 0.2; raise SystemExit(demo.demo(as_json={}))"


def demo(*prefix: str, as_json: bool) -> subprocess.CompletedProcess[str]:
    """The demo's outcome."""
    command = [*prefix, sys.executable, "-c", SHORT.format(as_json)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(autouse=True)
def _root() -> None:
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("a TUN device needs root on some machines: NOT RUN")


@pytest.mark.lab
def test_the_data_is_whole_and_everything_went_through_the_server() -> None:
    done = demo(as_json=True)
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(done.stdout)
    has_ipv6 = Path("/proc/net/if_inet6").exists() and "lo" in Path("/proc/net/if_inet6").read_text()
    assert [page["label"] for page in facts["pages"]] == ["name", "IPv4"] + ["IPv6"] * has_ipv6
    assert [echo["label"] for echo in facts["udp_echoes"]] == ["IPv4"] + ["IPv6"] * has_ipv6
    assert facts["pages"][0]["saw"]["host"] == "demo.tunflow.example"
    assert facts["verified_bytes_down"] == facts["verified_bytes_up"] == 16 << 20
    assert facts["tcp_flows"] > 60
    assert facts["udp_flows"] == 1 + has_ipv6
    assert 5 < facts["tunnel_peak_memory_mib"] < 50
    for figure in ("download_mbit_s", "upload_mbit_s", "new_connection_ms", "open_connection_ms"):
        assert facts[figure]["tunnel"] > 0
        assert facts[figure]["direct"] > 0


@pytest.mark.lab
def test_the_report_says_what_happened() -> None:
    done = demo(as_json=False)
    assert (done.returncode, done.stderr) == (0, "")
    for words in ("http://demo.tunflow.example/hello", "ss://aes-256-gcm@127.0.0.1", "through the tunnel", "Mbit/s"):
        assert words in done.stdout
    assert "\x1b" not in done.stdout  # no colours into a pipe


@pytest.mark.lab
def test_without_a_tun_device_it_says_what_to_do() -> None:
    hide = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh")
    done = demo(*hide, as_json=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "/dev/net/tun is missing" in done.stderr
