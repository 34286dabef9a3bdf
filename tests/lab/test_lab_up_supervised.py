"""`up` whose process dies or hangs: what the host sends is held, and it is started again; and when that is given up."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest
from bench.netlab.namespaces import SITE4
from bench.netlab.tunnel import TUNFLOW
from lab_system import DNS, System, is_running
from lab_uplinks import UplinkLab, until

from tunflow.host.restarts import FAILURES

pytestmark = pytest.mark.lab

SWITCH = pytest.mark.parametrize("options", [(), ("--kill-switch",)], ids=["", "kill switch"])


def kill(system: System, number: signal.Signals = signal.SIGKILL) -> int:
    """Kill the process that serves the tunnel; its process id."""
    pid = int(system.status()["pid"])
    os.kill(pid, number)
    return pid


def is_up_again(system: System, restarts: int) -> bool:
    facts = system.status()
    return facts["status"] == "connected" and facts["restarts"] == restarts


@SWITCH
def test_killed_in_mid_download_nothing_leaks_and_it_is_up_again(
    uplinks: UplinkLab, system: System, options: tuple[str, ...]
) -> None:
    before = system.snapshot()
    system.up(*options)
    during = system.snapshot()
    assert (system.status()["restarts"], system.status()["last_cause"]) == (0, None)
    with uplinks.spied() as leaks:
        argv = ["curl", "-sS", "-m", "10", "-o", "/dev/null", "--limit-rate", "2M", f"http://{SITE4}/big"]
        download = subprocess.Popen(system.host.command(argv), stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        pid = kill(system)
        for _ in range(5):  # others go on sending meanwhile
            system.run(["ping", "-c", "1", "-W", "0.1", SITE4])
            system.fetch("http://site.lab/1k", timeout=0.3)
        until(lambda: is_up_again(system, 1))
        until(lambda: system.fetch("http://site.lab/1k", timeout=5) == 1024)
        assert download.wait(60) != 0  # its connection is gone, and it hears of that
    assert leaks == []
    facts = system.status()
    assert facts["pid"] != pid
    assert is_running(facts["helper"])
    assert facts["last_cause"] == "the tunnel's process was killed by SIGKILL"
    assert "restarts    1, the last because the tunnel's process was killed by SIGKILL" in system.ok("status")
    log = system.ok("logs")
    assert "was killed by SIGKILL: traffic is held, and it is started again in" in log
    assert "the tunnel is up again" in log
    assert system.snapshot() == during
    system.ok("down")
    assert system.snapshot() == before
    assert not is_running(facts["helper"])


def test_one_that_hangs_is_killed_and_started_again(uplinks: UplinkLab, system: System) -> None:
    before = system.snapshot()
    system.env["TUNFLOW_WATCHDOG_SECONDS"] = "4"
    system.up()
    with uplinks.spied() as leaks:
        pid = kill(system, signal.SIGSTOP)
        time.sleep(0.5)
        assert is_running(pid)
        system.fetch("http://site.lab/1k", timeout=0.3)
        until(lambda: not is_running(pid))
        until(lambda: is_up_again(system, 1))
        assert system.fetch("http://site.lab/1k") == 1024
    assert leaks == []
    assert "did nothing for 4 s and was killed" in system.status()["last_cause"]
    time.sleep(5)  # one that idles is not taken to hang
    assert system.status()["restarts"] == 1
    system.ok("down")
    assert system.snapshot() == before


def test_given_up_without_a_kill_switch_the_host_is_put_back(system: System) -> None:
    before = system.snapshot()
    system.up()
    for count in range(FAILURES):
        until(lambda count=count: is_up_again(system, count))
        kill(system)
    until(lambda: system.tunflow("status").returncode == 3)
    until(lambda: system.snapshot() == before)
    facts = system.status()
    assert facts["restarts"] == FAILURES - 1
    assert "SIGKILL" in facts["last_cause"]
    assert not facts["left_behind"]
    assert f"lost {FAILURES} times in a row" in system.log()
    assert "the host is put back as it was" in system.log()
    assert system.fetch(f"http://{SITE4}/1k") == 1024
    system.up()
    assert (system.status()["restarts"], system.status()["last_cause"]) == (0, None)


def test_given_up_with_a_kill_switch_everything_stays_closed(uplinks: UplinkLab, system: System) -> None:
    before = system.snapshot()
    system.up("--kill-switch")
    with uplinks.spied() as leaks:
        for count in range(FAILURES):
            until(lambda count=count: is_up_again(system, count))
            kill(system)
        until(lambda: system.tunflow("status").returncode == 3)
        assert system.fetch(f"http://{SITE4}/1k", timeout=1) == 0
    assert leaks == []
    assert "everything stays closed (kill switch)" in system.log()
    assert system.status()["left_behind"]
    system.ok("down")
    assert system.snapshot() == before


@SWITCH
def test_without_its_server_it_is_held_and_tried_until_that_is_back(
    uplinks: UplinkLab, system: System, options: tuple[str, ...]
) -> None:
    """More often than it would be given up for."""
    system.up(*options)
    uplinks.server.run(["nft", "add table inet away"])
    uplinks.server.run(
        ["nft", "add chain inet away input { type filter hook input priority 0; tcp dport 8388 reject; }"]
    )
    try:
        with uplinks.spied() as leaks:
            kill(system)
            until(lambda: "cannot reach the server" in str(system.status()["last_cause"]))
            assert system.tunflow("status").returncode == 1
            until(lambda: system.log().count("started again in") > FAILURES, 40)
            assert system.fetch("http://site.lab/1k", timeout=0.5) == 0
            uplinks.server.run(["nft", "delete table inet away"])
            until(lambda: is_up_again(system, 1), 40)
            assert system.fetch("http://site.lab/1k") == 1024
        assert leaks == []
    finally:
        uplinks.server.run(["nft", "delete table inet away"], check=False)


@SWITCH
def test_down_at_any_moment_after_a_kill_restores_exactly(system: System, options: tuple[str, ...]) -> None:
    before = system.snapshot()
    for pause in (0.0, 0.1, 0.3, 0.6, 1.0, 1.5):
        system.up(*options)
        kill(system)
        time.sleep(pause)
        system.ok("down")
        assert system.snapshot() == before, pause
        assert system.tunflow("status").returncode == 3


def test_who_follows_the_log_hears_of_it(system: System) -> None:
    system.up()
    argv = system.host.command([TUNFLOW, "logs", "--follow"])
    with subprocess.Popen(argv, env=system.env, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        said = following.stdout.readline()
        kill(system)
        until(lambda: is_up_again(system, 1))
        system.ok("down")
        said += following.stdout.read()
    assert said.splitlines() == system.ok("logs").splitlines()
    assert said.count("traffic is held") == 1
    assert said.count("the tunnel is up again") == 1


def test_sigterm_to_the_supervisor_takes_it_down(system: System) -> None:
    before = system.snapshot()
    system.up()
    helper = system.status()["helper"]
    os.kill(helper, signal.SIGTERM)
    until(lambda: not is_running(helper))
    assert system.snapshot() == before


def test_what_was_reloaded_is_what_is_started_again(system: System) -> None:
    system.up()
    system.ok("reload", "--server", "direct://", "--dns", DNS)
    kill(system)
    until(lambda: is_up_again(system, 1))
    assert system.status()["servers"] == ["direct://"]


def test_replaced_while_nobody_serves_it(uplinks: UplinkLab, system: System) -> None:
    before = system.snapshot()
    system.up("--kill-switch")
    with uplinks.spied() as leaks:
        kill(system, signal.SIGSTOP)
        system.up("--kill-switch", "--replace")
        assert system.fetch("http://site.lab/1k") == 1024
    assert leaks == []
    system.ok("down")
    assert system.snapshot() == before


def test_a_supervisor_that_is_killed_takes_the_tunnel_with_it(uplinks: UplinkLab, system: System) -> None:
    """And the kill switch holds."""
    before = system.snapshot()
    system.up("--kill-switch")
    facts = system.status()
    with uplinks.spied() as leaks:
        os.kill(facts["helper"], signal.SIGKILL)
        until(lambda: not is_running(facts["pid"]), 5)
        assert system.fetch(f"http://{SITE4}/1k", timeout=0.5) == 0
    assert leaks == []
    assert "left changes behind" in system.tunflow("status").stdout
    system.ok("down")
    assert system.snapshot() == before


@SWITCH
def test_a_device_that_is_deleted_is_made_anew(uplinks: UplinkLab, system: System, options: tuple[str, ...]) -> None:
    """Its routes go with it, so only the kill switch holds what is sent meanwhile."""
    before = system.snapshot()
    system.up(*options)
    with uplinks.spied() as leaks:
        system.run(["ip", "link", "del", "tunflow0"])
        system.fetch("http://site.lab/1k", timeout=0.3)
        until(lambda: is_up_again(system, 1))
        until(lambda: system.fetch("http://site.lab/1k", timeout=5) == 1024)
    assert leaks == [] or not options
    assert system.status()["last_cause"] == "the device tunflow0 is gone"
    system.ok("down")
    assert system.snapshot() == before


def test_a_wrong_watchdog_is_refused(system: System) -> None:
    argv = system.host.command([TUNFLOW, "up", "--dns", DNS])
    env = {**system.env, "TUNFLOW_WATCHDOG_SECONDS": "soon"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "tunflow: TUNFLOW_WATCHDOG_SECONDS=soon: expected whole seconds, 1 to 3600\n",
    )
