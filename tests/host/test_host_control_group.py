from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from host_lab import SETTINGS, host, snapshot
from witness import Witness, witnessed

from tunflow.errors import LocalError
from tunflow.host.network.network import HostNetwork
from tunflow.host.network.settings import AppScope, HostSettings
from tunflow.host.owner.control_group import ControlGroup, mount_point

HYBRID = """\
35 25 0:30 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
41 35 0:36 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
45 35 0:40 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""


def test_where_the_unified_hierarchy_is() -> None:
    assert mount_point("29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n") == ""
    assert mount_point(HYBRID) == "unified"
    assert mount_point(HYBRID.replace("cgroup2", "cgroup")) is None
    assert mount_point("29 23 0:26 / /mnt rw - cgroup2 cgroup2 rw\n") is None


@pytest.fixture
def group() -> Iterator[ControlGroup]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    made = ControlGroup(f"/tunflow-test-{os.getpid()}/apps")
    try:
        made.create()
    except LocalError as error:
        pytest.skip(f"no control group of our own here: {error}")
    yield made
    assert made.remove()
    assert ControlGroup(str(Path(made.path).parent)).remove()


@pytest.fixture
def witness() -> Iterator[Witness]:
    with witnessed() as made:
        yield made


def _send(destination: str, group: ControlGroup | None = None) -> None:
    """Send a datagram and try a connection to `destination`, from inside `group`."""
    script = (
        f"import socket; a = ('{destination}', 9); f = socket.AF_INET6 if ':' in a[0] else socket.AF_INET\n"
        "input()\n"
        "for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):\n"
        "    s = socket.socket(f, kind); s.setblocking(False); s.connect_ex(a)\n"
        "    try: s.send(b'x')\n"
        "    except OSError: pass\n"
    )
    sender = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE)
    if group is not None:
        group.add(sender.pid)
        assert group.processes() == [sender.pid]
        assert not group.remove()
    sender.communicate(b"\n", timeout=60)


@pytest.mark.parametrize("kill_switch", [False, True])
def test_only_its_programs_go_around(witness: Witness, group: ControlGroup, tmp_path: Path, kill_switch: bool) -> None:
    before = snapshot()
    network = HostNetwork(tmp_path / "state")
    network.apply(replace(SETTINGS, cgroups=(group.path,), kill_switch=kill_switch, servers=(ip_address("9.9.9.9"),)))
    _send("8.8.8.8", group)
    _send("2600::1", group)
    assert witness.seen() == {"8.8.8.8", "2600::1"}
    _send("8.8.8.8")
    _send("2600::1")
    assert witness.seen() == set()
    network.undo()
    assert snapshot() == before


@pytest.mark.parametrize("kill_switch", [False, True])
def test_only_its_programs_use_the_tunnel(
    witness: Witness, group: ControlGroup, tmp_path: Path, kill_switch: bool
) -> None:
    network = HostNetwork(tmp_path / "state")
    settings = replace(SETTINGS, cgroups=(group.path,), scope=AppScope.ONLY, kill_switch=kill_switch)
    network.apply(settings)
    _send("8.8.8.8")
    _send("2600::1")
    assert witness.seen() == {"8.8.8.8", "2600::1"}
    _send("8.8.8.8", group)
    _send("2600::1", group)
    assert witness.seen() == set()
    assert network.device is not None
    packets = network.device.read(100)
    for address in ("8.8.8.8", "2600::1"):
        assert any(ip_address(address).packed in packet for packet in packets)
    network.undo()


@host()
def test_a_group_that_is_not_there_is_refused(tmp_path: Path) -> None:
    before = snapshot()
    with pytest.raises(LocalError, match="control group '/tunflow-test-nowhere' does not exist"):
        HostNetwork(tmp_path / "state").apply(replace(SETTINGS, cgroups=("/tunflow-test-nowhere",)))
    assert snapshot() == before


@pytest.mark.parametrize("path", ["tunflow", "/", "/a/../b", '/a"b', "/a\nb"])
def test_paths_that_are_refused(path: str) -> None:
    with pytest.raises(LocalError, match="expected a path such as /tunflow/apps"):
        HostSettings(addresses=SETTINGS.addresses, cgroups=(path,))
