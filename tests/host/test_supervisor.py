"""Who starts the tunnel's process again, when, and when no more: with processes that do nothing else than end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from host_lab import host

from tunflow.errors import LocalError
from tunflow.host import supervisor
from tunflow.host.restart_memory import EarlierRestarts, RestartMemory
from tunflow.host.restarts import FAILURES, FIRST_PAUSE, LONGEST_PAUSE, STABLE, Restarts

SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from tunflow.host import restarts, supervisor
from tunflow.host.restart_memory import RestartMemory
from tunflow.host.network import helper
from tunflow.host.network.helper import HelperNetwork
from tunflow.host.network.settings import HostSettings
from ipaddress import ip_interface

folder, how = Path(sys.argv[1]), sys.argv[2]
restarts.FIRST_PAUSE = 0.01
service = helper.HelperService(folder / "state")

def serve(link):
    network = HelperNetwork(link.helper)
    with (folder / "served").open("a") as file:
        print(os.getpid(), link.restarts, link.last_cause, link.instructions, file=file)
    count = len((folder / "served").read_text().splitlines())
    link.beat()
    if how == "never up":
        return 7
    if how == "unreached" and 1 < count < 9:
        network.leave(keep=False, stopped=False, failure="cannot reach the server", unreached=True)
        return 1
    if how == "wrong" and count > 1:
        network.leave(keep=False, stopped=False, failure="it is wrong", unreached=False)
        return 2
    if how == "logins" and count < 9:
        network.tell({"ready": True})
        network.lose("the login page is out of the way", unreached=True)
        return 1
    if how.startswith("closed"):
        network.apply(HostSettings(addresses=(ip_interface("198.18.0.1/30"),), kill_switch=True))
        network.tell({"ready": True})
        network.leave(keep=False, stopped=how == "closed, stopped", failure="it is over", unreached=False)
        return 1
    network.tell({"remember": {"number": count}})
    network.tell({"ready": True})
    if count == 3 or how in ("unreached", "logins") and count == 9:
        network.leave(keep=False, stopped=True, failure=None, unreached=False)
        return 0
    if how == "bug":
        raise RuntimeError("a bug")
    if how == "hangs":
        time.sleep(60)
    if how == "waits":
        while os.getppid() == link.supervisor:
            link.beat()
            time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)

say = lambda line: print(line, flush=True)
memory = RestartMemory(folder / "restarts")
made = supervisor.Supervisor(
    service, folder / "record", memory, say, lambda: say("ready"), lambda line: say("gave up")
)
sys.exit(made.run(serve))
"""


def run(folder: Path, how: str, **env: str) -> tuple[int, list[str], list[list[str]]]:
    """The exit status, what was said, and what each process that served knew."""
    argv = [sys.executable, "-c", SCRIPT, str(folder), how]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **env})
    served = [line.split(" ", 3) for line in (folder / "served").read_text().splitlines()]
    return done.returncode, done.stdout.splitlines(), served


def test_one_that_dies_is_started_again_and_knows_why(tmp_path: Path) -> None:
    status, said, served = run(tmp_path, "dies")
    assert status == 0
    assert [line[1] for line in served] == ["0", "1", "2"]
    assert len({line[0] for line in served}) == 3
    assert said[0] == "ready"
    assert said.count("ready") == 1
    assert said[1] == "the tunnel's process was killed by SIGKILL: traffic is held, and it is started again in 0.01 s"
    assert said[2] == "the tunnel is up again (started again 1 times)"
    assert not (tmp_path / "record").exists()


@pytest.mark.parametrize(("how", "is_closed"), [("closed", True), ("closed, stopped", False)])
def test_only_who_is_told_to_stop_opens_a_kill_switch(tmp_path: Path, how: str, is_closed: bool) -> None:
    with host():
        run(tmp_path, how)
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
        assert ("inet tunflow" in tables) is is_closed


def test_what_it_was_told_to_remember_is_what_the_next_serves(tmp_path: Path) -> None:
    _, _, served = run(tmp_path, "dies")
    assert "{'number': 2}" in served[2][3]


def test_a_bug_is_an_end_like_others(tmp_path: Path) -> None:
    status, said, _ = run(tmp_path, "bug")
    assert status == 0
    assert said[1].startswith("the tunnel's process ended with status 70: traffic is held")


def test_one_that_was_never_up_is_not_started_again(tmp_path: Path) -> None:
    status, said, served = run(tmp_path, "never up")
    assert (status, said, len(served)) == (7, [], 1)


def test_one_that_hangs_is_killed_after_a_while(tmp_path: Path) -> None:
    started = time.monotonic()
    status, said, _ = run(tmp_path, "hangs", TUNFLOW_WATCHDOG_SECONDS="1")
    assert status == 0
    assert said[1].startswith("the tunnel's process did nothing for 1 s and was killed: traffic is held")
    assert time.monotonic() - started >= 2


def test_a_start_that_fails_is_given_up_after_five_in_a_row(tmp_path: Path) -> None:
    status, said, served = run(tmp_path, "wrong")
    assert status == 1
    assert len(served) == FAILURES
    assert said[-1] == "gave up"
    assert said[-2] == (
        f"the tunnel was lost {FAILURES} times in a row, at last because it is wrong; the host is put back as it was"
    )
    record = json.loads((tmp_path / "record").read_text())
    assert (record["status"], record["restarts"], record["last_cause"]) == ("disconnected", 0, "it is wrong")


def test_a_server_that_is_not_reached_is_tried_as_often_as_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, said, served = run(tmp_path, "unreached")
    assert status == 0
    assert len(served) == 9
    assert "cannot reach the server: traffic is held, and it is started again in" in said[2]


def test_one_that_waits_for_logins_is_started_again_as_often_as_it_takes(tmp_path: Path) -> None:
    """It is up, as `tunflow status` says of it, but never was connected."""
    status, said, served = run(tmp_path, "logins")
    assert (status, len(served)) == (0, 9)
    assert said[1] == "the login page is out of the way: traffic is held, and it is started again in 0.01 s"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_both(tmp_path: Path, number: signal.Signals) -> None:
    running = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path), "waits"], stdout=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    try:
        assert running.stdout.readline() == "ready\n"
        pid = int((tmp_path / "served").read_text().split()[0])
        running.send_signal(number)
        assert running.wait(60) == 0
        assert not Path(f"/proc/{pid}").exists()
    finally:
        running.kill()
        running.communicate()


@pytest.mark.parametrize("is_managed", [True, False], ids=["by a service manager", "by its user"])
def test_a_supervisor_that_is_started_in_a_killed_ones_place_counts(tmp_path: Path, is_managed: bool) -> None:
    """Where a service manager did it; and once it ended well, the next one is the first again."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify")} if is_managed else {}
        argv = [sys.executable, "-c", SCRIPT, str(tmp_path), "waits"]
        killed = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env={**os.environ, **env})
        assert killed.stdout is not None
        try:
            assert killed.stdout.readline() == "ready\n"
        finally:
            killed.kill()
            killed.communicate()
        status, said, served = run(tmp_path, "dies", **env)
    knew = [" ".join(line[1:]).split(" {")[0].removesuffix(" None") for line in served]
    first, second = ("1 the supervisor ended unforeseen", 2) if is_managed else ("0 None", 1)
    assert knew == ["0 None", first, f"{second} the tunnel's process was killed by SIGKILL"]
    assert (status, said[0], said[-1]) == (0, "ready", f"the tunnel is up again (started again {second} times)")
    assert not (tmp_path / "restarts").exists()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"restarts": "1"}', '{"restarts": -1}', '{"restarts": 1, "ended_because": 2}']
)
def test_what_is_no_memory_of_restarts_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "restarts").write_text(text)
    assert RestartMemory(tmp_path / "restarts").recall() == EarlierRestarts()


def test_pauses_grow_and_a_long_life_ends_a_row() -> None:
    known = Restarts()
    pauses = [known.died("x", 0.0) for _ in range(FAILURES - 1)]
    assert pauses == [FIRST_PAUSE * 2**number for number in range(FAILURES - 1)]
    assert known.died("x", STABLE) is not None
    assert known.in_a_row == 1
    for _ in range(20):
        longest = known.unreached("no server")
    assert longest == LONGEST_PAUSE
    known.came_up()
    assert known.died("x", 0.0) == FIRST_PAUSE
    assert [known.died("x", 0.0) for _ in range(3)][-1] is None


@pytest.mark.parametrize("text", ["0", "3601", "1.5", "+3", "soon", "\u0663"])
def test_a_wrong_number_of_seconds_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(supervisor.SILENCE_VARIABLE, text)
    with pytest.raises(LocalError, match="expected whole seconds, 1 to 3600"):
        supervisor.silence()


def test_systemd_is_told_and_its_watchdog_fed(tmp_path: Path) -> None:
    told: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))

        def listen() -> None:
            while told[-1:] != [b"STOPPING=1"]:
                told.append(heard.recv(1000))

        listening = threading.Thread(target=listen, daemon=True)
        listening.start()
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
        assert run(tmp_path, "hangs", TUNFLOW_WATCHDOG_SECONDS="1", **env)[0] == 0
        listening.join(60)
    assert told.index(b"READY=1") < told.index(b"STOPPING=1")
    assert told.count(b"WATCHDOG=1") >= 5
    assert any(line.startswith(b"STATUS=held: the tunnel's process did nothing for 1 s") for line in told)


def test_a_service_manager_that_does_not_listen_stops_nothing(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "notify"))
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000"}
        assert run(tmp_path, "hangs", TUNFLOW_WATCHDOG_SECONDS="2", **env)[0] == 0
