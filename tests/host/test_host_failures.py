"""What is left of a host when a step of `apply` fails, or the process is killed at it: nothing.

Steps are what really changes the host: a netlink request, a run of nft(8), a sysctl, a file, the device.
"""

from __future__ import annotations

import itertools
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, TypeVar

import pytest
from host_lab import SETTINGS, host, run, snapshot

from open_files import open_files, opened_since
from tunflow.errors import LocalError
from tunflow.host import files
from tunflow.host.netlink.socket import RouteSocket
from tunflow.host.network import firewall, network, state_file, sysctls
from tunflow.host.network.network import HostNetwork, undo_recorded
from tunflow.host.network.settings import HostDNS
from tunflow.host.resolvers import resolver_file
from tunflow.host.tun import TunDevice

T = TypeVar("T")

WITH_ALL = replace(
    SETTINGS,
    kill_switch=True,
    servers=(ip_address("203.0.113.5"), ip_address("2001:db8:5::5")),
    gateways=("docker0",),
    excluded=(ip_network("198.51.100.0/24"),),
    dns=HostDNS((ip_address("198.18.0.2"),)),
)
STEPS: tuple[tuple[Any, str], ...] = (
    (RouteSocket, "send_batch"),
    (firewall, "load"),
    (sysctls, "write"),
    (state_file, "replace_file"),
    (resolver_file, "replace_file"),
    (files, "sync_folder"),
    (TunDevice, "_open"),
)


@contextmanager
def step(number: int, what: Callable[[], None]) -> Iterator[list[str]]:
    """Do `what` in the place of step `number`; the names of the steps so far."""
    steps: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in STEPS:
            original = getattr(owner, name)

            @wraps(original)
            def instead(*arguments: Any, original: Any = original, name: str = name, **named: Any) -> Any:
                steps.append(name)
                if len(steps) == number:
                    what()
                return original(*arguments, **named)

            patch.setattr(owner, name, instead)
        yield steps


def _fail() -> None:
    raise OSError(5, "injected failure", "step")


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "etc").mkdir()
    path = tmp_path / "etc" / "resolv.conf"
    path.write_text("nameserver 192.168.1.1\n")
    monkeypatch.setattr(resolver_file, "RESOLV_CONF", path)
    return path


def _strict() -> None:
    run("sysctl -q -w net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.eth0.rp_filter=1")


@host()
def test_a_failure_at_any_step_leaves_nothing(tmp_path: Path, conf: Path) -> None:
    _strict()
    before = snapshot()
    with step(0, _fail) as steps:
        host_network = HostNetwork(tmp_path / "state")
        host_network.apply(WITH_ALL)
    count = len(steps)
    host_network.undo()
    assert snapshot() == before
    assert {name for _, name in STEPS} == set(steps)
    for number in range(1, count + 1):
        with step(number, _fail) as steps, pytest.raises(LocalError, match=r"injected failure"):
            HostNetwork(tmp_path / "state").apply(WITH_ALL)
        assert snapshot() == before, (number, steps)
        assert conf.read_text() == "nameserver 192.168.1.1\n", (number, steps)
        assert [path.name for path in conf.parent.iterdir()] == ["resolv.conf"], (number, steps)
        assert not (tmp_path / "state").exists(), (number, steps)


def _killed_at_each_step(state: Path, conf: Path, prepare: Callable[[], T], act: Callable[[T], None]) -> int:
    """Kill `act` at every step it takes; after `down` nothing is left each time. How many steps there were, and one."""
    before = snapshot()
    for number in itertools.count(1):
        pid = os.fork()
        if pid == 0:
            try:
                prepared = prepare()
                with step(number, lambda: os.kill(os.getpid(), signal.SIGKILL)):
                    act(prepared)
                    os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(70)  # whatever happens, no second pytest goes on from here
        ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert ended in {0, -signal.SIGKILL}, f"step {number}: the child said why"
        undo_recorded(state)
        assert snapshot() == before, number
        assert conf.read_text() == "nameserver 192.168.1.1\n", number
        assert not undo_recorded(state)
        if ended == 0:  # not killed: that was past the last step
            return number
    raise AssertionError


@host()
def test_being_killed_at_any_step_leaves_nothing_after_down(tmp_path: Path, conf: Path) -> None:
    _strict()
    state = tmp_path / "state"
    assert _killed_at_each_step(state, conf, lambda: None, lambda _: HostNetwork(state).apply(WITH_ALL)) > 15


@host()
def test_being_killed_at_any_step_of_undo_leaves_nothing_after_down(tmp_path: Path, conf: Path) -> None:
    _strict()

    def applied() -> HostNetwork:
        host_network = HostNetwork(tmp_path / "state")
        host_network.apply(WITH_ALL)
        return host_network

    assert _killed_at_each_step(tmp_path / "state", conf, applied, HostNetwork.undo) > 8


@host()
def test_undo_goes_on_past_what_fails_and_can_be_repeated(tmp_path: Path, conf: Path) -> None:
    before = snapshot()
    host_network = HostNetwork(tmp_path / "state")
    host_network.apply(WITH_ALL)
    with step(1, _fail), pytest.raises(LocalError, match=r"not all could be undone: .*injected failure"):
        host_network.undo()
    assert (tmp_path / "state").exists()
    host_network.undo()
    assert snapshot() == before


@host()
def test_bad_new_settings_leave_the_old_ones_in_force(tmp_path: Path, conf: Path) -> None:
    host_network = HostNetwork(tmp_path / "state")
    host_network.apply(WITH_ALL)
    once = snapshot()
    new = replace(WITH_ALL, kill_switch=False, included=(ip_network("10.0.0.0/8"),), table=5000)
    with step(9, _fail), pytest.raises(LocalError, match="injected failure"):
        host_network.apply(new)
    assert snapshot() == once
    assert host_network.settings == WITH_ALL
    host_network.apply(new)
    assert "dev tunflow0" in run("ip route show table 5000")
    assert run("ip route show table 10048 2>/dev/null || true") == ""
    assert "admin-prohibited" not in run("nft list ruleset")
    host_network.undo()


@host()
def test_the_kill_switch_outlives_a_crash_and_a_failed_restart(tmp_path: Path, conf: Path) -> None:
    before = snapshot()
    pid = os.fork()
    if pid == 0:
        HostNetwork(tmp_path / "state").apply(WITH_ALL)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert "reject" in run("nft list ruleset")
    with step(8, _fail), pytest.raises(LocalError, match="injected failure"):
        HostNetwork(tmp_path / "state").apply(WITH_ALL)
    assert "reject" in run("nft list ruleset")
    assert conf.read_text() == "nameserver 192.168.1.1\n"
    host_network = HostNetwork(tmp_path / "state")
    host_network.apply(WITH_ALL)
    host_network.undo()
    assert snapshot() == before


@host()
def test_a_table_that_somebody_else_changed_is_mended(tmp_path: Path, conf: Path) -> None:
    host_network = HostNetwork(tmp_path / "state")
    host_network.apply(WITH_ALL)
    once = snapshot()
    for damage in ("flush ruleset", "flush chain inet tunflow output", "add rule inet tunflow forward accept"):
        run(f"nft {damage}")
        host_network.apply(WITH_ALL)
        assert snapshot() == once, damage
    host_network.undo()


@host()
def test_up_and_down_again_and_again(tmp_path: Path, conf: Path) -> None:
    host_network = HostNetwork(tmp_path / "state")
    quick = replace(WITH_ALL, kill_switch=False, gateways=())  # without the 15 ms that each nft(8) takes
    host_network.apply(quick)
    host_network.undo()
    before, files = snapshot(), open_files()
    for _ in range(40):
        host_network.apply(quick)
        host_network.undo()
    assert not opened_since(files)
    assert snapshot() == before


def test_a_record_in_use_is_not_undone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    record = state_file.new_record("tunflow0", 10048)
    record.pid, record.started = os.getppid(), state_file.start_time(os.getppid()) or 0
    state_file.save(record, state)
    assert state.stat().st_mode & 0o777 == 0o600
    with pytest.raises(LocalError, match=rf"still up \(process {os.getppid()}\)"):
        undo_recorded(state)
    with pytest.raises(LocalError, match=r"a tunnel is up already .*take it down first"):
        HostNetwork(state).apply(WITH_ALL)
    assert network.load(state) == record


GOOD = (
    '{"tunflow":1,"pid":1,"started":1,"device":"a","table":1,"has_routes":false,"has_firewall":false,'
    '"kill_switch":false,"addresses":["198.18.0.1"],"sysctls":{},"resolver":{}}'
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "is damaged"),
        (b"\xff\xfe", "it is no text"),
        (b"[]", "is no record of tunflow's"),
        (b'{"a": 1}', "is no record of tunflow's"),
        (GOOD.replace('"tunflow":1', '"tunflow":2').encode(), "has version 2, and this tunflow knows 1"),
        (GOOD[:-20].encode(), "is damaged"),
        (GOOD.replace('"pid":1,', "").encode(), "is damaged"),
        (GOOD.replace('"pid":1', '"pid":true').encode(), "is damaged"),
        (GOOD.replace("198.18.0.1", "198.18.0").encode(), "is damaged"),
        (GOOD.replace('"198.18.0.1"', "1").encode(), "is damaged"),
        (GOOD.replace('"sysctls":{}', '"sysctls":{"../kernel/core_pattern":["0","1"]}').encode(), "is damaged"),
        (GOOD.replace('"sysctls":{}', '"sysctls":{"ipv4/../../x":["0","1"]}').encode(), "is damaged"),
        (GOOD.replace('"sysctls":{}', '"sysctls":{"ipv4/x":["0"]}').encode(), "is damaged"),
        (GOOD.replace('"resolver":{}', '"resolver":{"file":{}}').encode(), "is damaged"),
        (GOOD.replace('"resolver":{}', '"resolver":{"other":{}}').encode(), "is damaged"),
    ],
)
def test_a_state_file_that_is_not_ours_is_one_line(tmp_path: Path, text: bytes, said: str) -> None:
    state = tmp_path / "state"
    state.write_bytes(text)
    for act in (lambda: undo_recorded(state), lambda: HostNetwork(state).apply(WITH_ALL)):
        with pytest.raises(LocalError) as caught:
            act()
        assert said in str(caught.value)
        assert str(state) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert state.read_bytes() == text


def test_a_sound_record_is_read(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text(GOOD)
    record = state_file.load(state)
    assert record is not None
    assert (record.pid, record.device) == (1, "a")
