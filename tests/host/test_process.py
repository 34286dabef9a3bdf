"""Finding the process of a flow: in a made-up /proc, and with real programs among five hundred others."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.process_lookup import measure

from open_files import open_files, opened_since
from tunflow.endpoint import Endpoint, endpoint
from tunflow.flow import ProcessInfo
from tunflow.host.netlink.socket_diag import SocketDiag, SocketFacts
from tunflow.host.owner.process import SCAN_CREDIT, ProcessTable
from tunflow.host.owner.socket_owners import SocketOwners, open_owners

CLIENT, TARGET = endpoint("10.0.0.1", 1000), endpoint("192.0.2.1", 80)
UID = os.getuid()


class Kernel(SocketDiag):
    """Knows one socket."""

    def __init__(self) -> None:
        self.socket: SocketFacts | None = None

    def find(self, protocol: str, client: Endpoint, target: Endpoint) -> SocketFacts | None:
        return self.socket

    def close(self) -> None:
        pass


class World:
    """A /proc of symbolic links, and a clock that a look at everything moves by `scan_time`."""

    def __init__(self, proc: Path) -> None:
        self.proc = proc
        self.kernel = Kernel()
        self.now = 0.0
        self.born(1)
        self.table = ProcessTable(self.kernel, proc=str(proc), clock=lambda: self.now)

    def born(self, pid: int) -> None:
        (self.proc / "loadavg").write_text(f"0.00 0.00 0.00 1/100 {pid}\n")

    def process(self, pid: int, *sockets: int, exe: str = "/usr/bin/curl", group: int | None = None) -> None:
        """With sockets at descriptors 3, 4 …"""
        fd = self.proc / str(pid) / "fd"
        fd.mkdir(parents=True)
        (fd / "0").symlink_to("/dev/null")
        for number, inode in enumerate(sockets, 3):
            (fd / str(number)).symlink_to(f"socket:[{inode}]")
        (fd.parent / "exe").symlink_to(exe)
        (fd.parent / "cgroup").write_text("1:name=systemd:/\n0::/user.slice/x\n")
        (fd.parent / "status").write_text(f"Name:\tx\nTgid:\t{group or pid}\nNgid:\t0\n")

    def open(self, pid: int, descriptor: int, inode: int) -> None:
        link = self.proc / str(pid) / "fd" / str(descriptor)
        link.unlink(missing_ok=True)
        link.symlink_to(f"socket:[{inode}]")

    def find(self, inode: int) -> ProcessInfo | None:
        self.kernel.socket = SocketFacts(inode, UID, 0)
        return self.table.find("tcp", CLIENT, TARGET)

    def pid(self, inode: int) -> int | None:
        found = self.find(inode)
        assert found is not None
        return found.pid


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.table.close()


def test_all_that_is_known(world: World) -> None:
    world.process(50, 7, exe="/opt/a b/prog (deleted)")
    assert world.find(7) == ProcessInfo(50, "/opt/a b/prog", "prog", UID, "/user.slice/x")


def test_nothing_is_known_of_a_socket_that_is_not_there(world: World) -> None:
    assert world.table.find("tcp", CLIENT, TARGET) is None


def test_only_the_user_is_known_of_a_socket_that_nobody_holds(world: World) -> None:
    world.process(50, 7)
    assert world.find(8) == ProcessInfo(uid=UID)


def test_a_process_that_just_started_is_found_without_a_scan(world: World) -> None:
    world.process(50, 7)
    world.process(60, 8)
    world.born(60)
    assert world.pid(8) == 60
    assert world.table.scans == 0


def test_the_next_socket_of_a_known_process_is_found_without_a_scan(world: World) -> None:
    world.process(50, 7)
    assert world.pid(7) == 50
    for inode, descriptor in ((8, 4), (9, 40), (10, 3)):  # the next number, a new one, one that was used before
        world.open(50, descriptor, inode)
        assert world.pid(inode) == 50
    assert world.table.scans == 1


def test_a_thread_that_just_started_counts_as_its_process(world: World) -> None:
    world.process(60, 8, group=50)
    world.process(50, 8)
    world.born(60)
    assert world.pid(8) == 50


def test_a_descriptor_that_is_another_socket_now_is_no_proof(world: World) -> None:
    world.process(50, 7)
    world.process(51, 9)
    assert world.pid(7) == 50
    world.open(50, 3, 11)
    world.open(51, 4, 7)  # handed over
    assert world.pid(7) == 51
    world.open(51, 4, 12)
    assert world.pid(7) is None


def test_a_pid_that_is_another_program_now_is_described_anew(world: World) -> None:
    world.process(50, 7, exe="/bin/one")
    first = world.find(7)
    (world.proc / "50" / "exe").unlink()
    (world.proc / "50" / "exe").symlink_to("/bin/two")
    (world.proc / "50" / "cgroup").write_text("0::/other\n")
    assert first != world.find(7) == ProcessInfo(50, "/bin/two", "two", UID, "/other")


def test_looking_at_everything_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.process(50)
    each = SCAN_CREDIT / 4
    listdir = os.listdir

    def slowly(path: str) -> list[str]:
        world.now += each
        return listdir(path)

    monkeypatch.setattr(os, "listdir", slowly)
    for inode in range(100, 200):
        assert world.pid(inode) is None
    scans = world.table.scans
    assert 0 < scans <= 5  # the credit, and what went over it
    world.now += 1000
    assert world.pid(300) is None
    assert world.table.scans == scans + 1


class Owners(SocketOwners):
    """A table with one line: process 50 made the socket with the cookie 1."""

    def __init__(self) -> None:
        pass

    def find(self, cookie: int) -> int | None:
        return 50 if cookie == 1 else None

    def close(self) -> None:
        pass


def test_who_made_the_socket_needs_no_search(world: World) -> None:
    world.process(50)
    table = ProcessTable(world.kernel, Owners(), proc=str(world.proc))
    world.kernel.socket = SocketFacts(7, UID, 1)
    assert table.find("tcp", CLIENT, TARGET) == ProcessInfo(50, "/usr/bin/curl", "curl", UID, "/user.slice/x")
    assert table.scans == 0
    shutil.rmtree(world.proc / "50")
    world.process(51, 7)
    found = table.find("tcp", CLIENT, TARGET)
    assert found is not None
    assert found.pid == 51, "its maker has ended and left it to another"
    table.close()


def owners_or_skip() -> SocketOwners:
    owners = open_owners()
    if owners is None:
        pytest.skip("no table of sockets' makers here (needs root, eBPF and cgroup version 2): NOT RUN")
    return owners


def test_the_kernels_table_goes_with_its_descriptors() -> None:
    before = open_files()
    owners_or_skip().close()
    assert not opened_since(before)


@pytest.mark.parametrize("owners", [True, False])
def test_real_programs_among_five_hundred(owners: bool) -> None:
    """Issue 5: under 50 us at the median (bench/process_lookup.py prints it); here only that nothing scans for each."""
    if owners:
        owners_or_skip().close()
    found, scans = measure(idle=500, busy=5, rounds=200, owners=owners)
    assert found["running"].wrong == found["new"].wrong == 0
    assert found["new"].unknown == 0
    assert found["running"].unknown <= (0 if owners else 10)
    assert scans <= (0 if owners else 20)
    assert min(found["running"].seconds) < 0.001  # a busy machine only ever adds


def test_this_very_process() -> None:
    table = ProcessTable(SocketDiag())
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            socket.create_connection(listener.getsockname()) as client,
        ):
            found = table.find("tcp", endpoint(*client.getsockname()), endpoint(*listener.getsockname()))
    finally:
        table.close()
    assert found is not None
    assert (found.pid, found.uid) == (os.getpid(), UID)
    assert found.executable == os.path.realpath("/proc/self/exe")
