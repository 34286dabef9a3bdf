"""What a user can look at afterwards: `--stats` on stderr and `--pcap` in Wireshark."""

from __future__ import annotations

import subprocess

import pytest
from bench.netlab.namespaces import SITE4, SITE6
from lab_support import Contents, Tunnel

pytestmark = pytest.mark.lab


def test_stats_at_the_end(tunnel: Tunnel, contents: Contents) -> None:
    done = tunnel.run(["curl", "-sSf", "-o", "/dev/null", f"http://{SITE4}/10m"], options=["--stats"])
    text = done.stderr.decode().lower()
    assert done.returncode == 0
    for word in ("tcp flows 1", "down 10.0 mb", "retransmissions", "time to connect"):
        assert word in text, text
    assert done.stdout == b""


def test_no_stats_without_asking(tunnel: Tunnel, contents: Contents) -> None:
    assert tunnel.run(["curl", "-sSf", f"http://{SITE4}/1k"]).stderr == b""


def tshark(capture: str, *arguments: str) -> list[str]:
    done = subprocess.run(["tshark", "-n", "-r", capture, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_capture_opens_in_wireshark(tunnel: Tunnel, contents: Contents) -> None:
    capture = str(tunnel.lab.directory / "capture.pcapng")
    script = (
        f"curl -sSf http://{SITE4}/10m >/dev/null; curl -gsSf 'http://[{SITE6}]/1k' >/dev/null; dig site.lab >/dev/null"
    )
    tunnel.ok(["sh", "-c", script], options=["--pcap", capture])
    for seen in ("ip && tcp.flags.syn == 1", "ipv6 && tcp", "tcp.flags.fin == 1", "dns", "http.response.code == 200"):
        assert tshark(capture, "-Y", seen), f"no packet with {seen}"
    assert tshark(capture, "-Y", "_ws.malformed || tcp.analysis.retransmission || tcp.analysis.lost_segment") == []


def test_capture_that_cannot_be_written(tunnel: Tunnel) -> None:
    done = tunnel.run(["true"], options=["--pcap", "/no/such/directory/x.pcapng"])
    assert done.returncode == 2
    assert b"/no/such/directory" in done.stderr
    assert b"Traceback" not in done.stderr
