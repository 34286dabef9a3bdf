"""`tunflow up`, `status`, `down` as commands: the whole host goes through the server, and is as it was afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from bench.netlab.namespaces import SITE4, SITE6
from bench.netlab.peers import SHADOWSOCKS_PORT, start_shadowsocks_server
from bench.netlab.tunnel import TUNFLOW
from lab_system import DNS, System
from lab_uplinks import until

from tunflow.wire import checksum

pytestmark = pytest.mark.lab


def test_up_status_down(system: System) -> None:
    before = system.snapshot()
    system.up()
    for url in ("http://site.lab/1k", f"http://{SITE4}/1k", f"http://[{SITE6}]/1k"):
        assert system.fetch(url) == 1024
    status = system.status()
    assert status["status"] == "connected"
    assert status["device"] == "tunflow0"
    assert status["bytes_in"] > 3 * 1024
    assert status["bytes_out"] > 0
    is_compiled = str(checksum.__file__).endswith(".so")
    assert ("tunflow__mypyc" in (system.processes / str(status["pid"]) / "maps").read_text()) == is_compiled
    system.ok("down")
    assert system.snapshot() == before
    assert system.tunflow("status", "--json").returncode == 3


def test_no_secret_is_shown(system: System) -> None:
    system.up("-v")
    system.fetch(f"http://{SITE4}/1k")
    pid = system.status()["pid"]
    shown = [
        (system.processes / str(pid) / name).read_bytes().decode(errors="replace") for name in ("cmdline", "environ")
    ]
    shown += [system.ok("status"), system.ok("status", "--json"), system.ok("logs")]
    for text in shown:
        assert "lab-password" not in text
        assert system.secret not in text


def test_a_second_up_is_refused_and_changes_nothing(system: System) -> None:
    system.up()
    before = system.snapshot(), system.status()["pid"]
    refused = system.tunflow("up", "--server", "direct://")
    assert refused.returncode == 2
    assert "already" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert (system.snapshot(), system.status()["pid"]) == before
    assert "connected" in system.ok("logs")


def test_replace(system: System) -> None:
    system.up()
    before = system.status()["pid"]
    system.up("--replace")
    assert system.status()["pid"] != before
    assert system.fetch(f"http://{SITE4}/1k") == 1024


def test_down_twice_and_without_up(system: System) -> None:
    before = system.snapshot()
    assert json.loads(system.ok("down", "--json")) == {"status": "disconnected", "was": "down"}
    system.up()
    system.ok("down")
    assert json.loads(system.ok("down", "--json"))["was"] == "down"
    assert system.snapshot() == before


def test_logs_are_followed(system: System) -> None:
    system.up()
    argv = system.host.command([TUNFLOW, "logs", "--follow"])
    with subprocess.Popen(argv, env=system.env, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        while "carries everything" not in (line := following.stdout.readline()):
            assert line
        system.ok("down")
        rest = following.stdout.read()
    assert "stopping" in rest
    assert rest.count("disconnecting") == 1


def test_status_tells_of_a_server_that_is_gone_and_of_its_return(system: System) -> None:
    with start_shadowsocks_server(system.lab, port=8411) as server:
        system.url = system.env["TUNFLOW_SERVER"] = system.url.replace(str(SHADOWSOCKS_PORT), "8411")
        system.up()
        assert system.tunflow("status").returncode == 0
        server.stop()
        until(lambda: system.tunflow("status").returncode == 1)  # nothing was sent, so it is asked
        (trouble,) = system.status()["troubles"]
        assert trouble["what"].startswith("cannot reach the server at 10.66.0.2 port 8411: Connection refused")
        time.sleep(1.1)
        assert system.status()["troubles"][0]["since"] == trouble["since"]
        shown = system.tunflow("status").stdout.splitlines()
        assert shown[:2] == ["connected", f"trouble     since {trouble['since']}: {trouble['what']}"]
        with start_shadowsocks_server(system.lab, port=8411):
            until(lambda: system.tunflow("status").returncode == 0)
            assert system.status()["troubles"] == []
            system.ok("down")


@pytest.mark.parametrize("dns", [DNS, f"cache,{DNS}"])
def test_status_tells_of_a_wrong_password(system: System, dns: str) -> None:
    with start_shadowsocks_server(system.lab, port=8411, password="another"):
        system.url = system.env["TUNFLOW_SERVER"] = system.url.replace(str(SHADOWSOCKS_PORT), "8411")
        system.up("--dns", dns)
        system.fetch(f"http://{SITE4}/1k", timeout=5)
        until(lambda: system.tunflow("status").returncode == 1)
        assert any("check the password and method" in each["what"] or "sent nothing" in each["what"]
                   for each in system.status()["troubles"])  # fmt: skip
        asked = [["dig", "+tries=1", "+timeout=7", f"n{number}.lab"] for number in range(3)]
        for running in [system.lab.start(system.host, argv) for argv in asked]:
            running.popen.wait(60)
        until(lambda: any("names cannot be looked up" in each["what"] for each in system.status()["troubles"]))
        system.ok("down")


def test_a_tunnel_is_recorded_bounded_and_counted(system: System, tmp_path: Path) -> None:
    pcap = tmp_path / "up.pcapng"
    system.up("--pcap", str(pcap), "--memory-limit", "8M", "--stats")
    assert system.fetch(f"http://{SITE4}/1k") == 1024
    assert pcap.stat().st_mode & 0o777 == 0o600
    size = pcap.stat().st_size
    assert size > 1024
    os.kill(system.status()["pid"], signal.SIGKILL)  # what is started again goes on in the same file
    until(lambda: system.fetch(f"http://{SITE4}/1k", timeout=5) == 1024)
    assert pcap.stat().st_size > size + 1024
    system.ok("down")
    assert "TCP flows 1, failed 0" in system.log()
    refused = system.tunflow("up", "--memory-limit", "1K")
    assert (refused.returncode, "--memory-limit 1K: expected at least 1M" in refused.stderr) == (2, True)
    refused = system.tunflow("up", "--pcap", str(tmp_path / "none" / "x"))
    assert (refused.returncode, "--pcap: cannot write" in refused.stderr) == (2, True)
