"""What other programs do to /etc/resolv.conf while a tunnel is up, and that the tunnel's resolvers come back."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path

import pytest

from tunflow.errors import LocalError
from tunflow.host.network.settings import HostDNS
from tunflow.host.resolvers import resolver_file, resolvers, watch
from tunflow.host.resolvers.watch import ResolverWatch

DNS = HostDNS((ip_address("198.18.0.2"), ip_address("fd00::2")))
THEIRS = "nameserver 192.168.1.1\nsearch lan.example\n"


class Host:
    """A host whose tunnel is up: its resolv.conf, its record, and what is said."""

    def __init__(self, folder: Path) -> None:
        self.conf = folder / "resolv.conf"
        self.conf.write_text("nameserver 10.9.9.9\n")
        self.record: dict[str, object] = {}
        self.said: list[str] = []
        self.times = 0
        self.done = asyncio.Event()
        """That they were put back."""
        self.put_back()

    def put_back(self) -> None:
        self.times += 1
        self.done.set()
        resolvers.apply(DNS, "lo", self.record, lambda: None, Path("host.json"))
        assert resolvers.is_sound(json.loads(json.dumps(self.record)))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self.done.clear()
                await self.done.wait()

    def is_ours(self) -> bool:
        return not self.conf.is_symlink() and resolvers.is_in_force(DNS, self.conf)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(resolver_file, "RESOLV_CONF", tmp_path / "resolv.conf")
    monkeypatch.setenv("PATH", os.defpath + ":/nowhere")
    monkeypatch.setattr("tunflow.host.resolvers.resolver_resolved.is_running", lambda: False)
    monkeypatch.setattr(watch, "SETTLE", 0.01)
    monkeypatch.setattr(watch, "FIRST", 0.01)
    return Host(tmp_path)


def by_rename(conf: Path) -> None:
    new = conf.with_name("resolv.conf.dhclient-new")
    new.write_text(THEIRS)
    new.rename(conf)


def in_place(conf: Path) -> None:
    conf.write_text(THEIRS)


def in_two_steps(conf: Path) -> None:
    with conf.open("w") as file:
        file.flush()
        os.fsync(file.fileno())
        file.write(THEIRS)


def by_removal(conf: Path) -> None:
    conf.unlink()
    conf.write_text(THEIRS)


def by_a_link(conf: Path) -> None:
    target = conf.with_name("target")
    target.write_text(THEIRS)
    link = conf.with_name("link")
    link.symlink_to("target")
    link.rename(conf)


@pytest.mark.parametrize("change", [by_rename, in_place, in_two_steps, by_removal, by_a_link])
def test_ours_comes_back_and_theirs_is_what_the_host_gets(host: Host, change: Callable[[Path], None]) -> None:
    async def main() -> None:
        guard = ResolverWatch(lambda: DNS, host.put_back, host.said.append, host.conf)
        await asyncio.sleep(0)
        for _ in range(2):
            change(host.conf)
            assert not host.is_ours()
            await host.until(host.is_ours)
        guard.close()

    asyncio.run(main())
    assert host.said[0] == f"another program changed {host.conf}: the tunnel's resolvers are put back"
    assert host.times == 3
    resolvers.undo(host.record)
    assert host.conf.read_text() == THEIRS
    assert host.conf.is_symlink() == (change is by_a_link)


def test_what_a_link_leads_to_is_watched(host: Host, tmp_path: Path) -> None:
    """As Debian's resolvconf writes it, with the tunnel's record first and others behind it."""
    resolvers.undo(host.record)
    target = tmp_path / "run" / "resolv.conf"
    target.parent.mkdir()
    target.write_text("nameserver 198.18.0.2\n")
    host.conf.unlink()
    host.conf.symlink_to("run/resolv.conf")

    async def main() -> None:
        guard = ResolverWatch(lambda: DNS, host.put_back, host.said.append, host.conf)
        await asyncio.sleep(0)
        new = target.with_name("new")
        new.write_text("nameserver 198.18.0.2\nnameserver 192.168.1.1\n")
        new.rename(target)
        await host.until(host.is_ours)
        guard.close()

    asyncio.run(main())
    assert len(host.said) == 1, "what was there first was as wanted"


def test_an_emptied_file_is_not_what_the_host_gets(host: Host) -> None:
    async def main() -> None:
        guard = ResolverWatch(lambda: DNS, host.put_back, host.said.append, host.conf)
        await asyncio.sleep(0)
        host.conf.write_text("")
        await host.until(host.is_ours)
        guard.close()

    asyncio.run(main())
    resolvers.undo(host.record)
    assert host.conf.read_text() == "nameserver 10.9.9.9\n"


def test_two_that_insist_wait_longer_each_time_and_say_little(host: Host) -> None:
    times: list[float] = []

    def put_back_in_vain() -> None:
        times.append(asyncio.get_running_loop().time())
        host.put_back()
        in_place(host.conf)

    async def main() -> None:
        guard = ResolverWatch(lambda: DNS, put_back_in_vain, host.said.append, host.conf)
        await asyncio.sleep(0)
        in_place(host.conf)
        await host.until(lambda: len(times) == 5)
        guard.close()

    asyncio.run(main())
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert all(pause >= watch.FIRST * (2 << number) for number, pause in enumerate(pauses))
    assert len(host.said) == 1


def test_it_says_why_they_cannot_be_put_back_and_goes_on(host: Host) -> None:
    def refuse() -> None:
        host.times += 1
        if host.times < 4:
            raise LocalError("/etc/resolv.conf cannot be written: Read-only file system")
        host.put_back()

    async def main() -> None:
        guard = ResolverWatch(lambda: DNS, refuse, host.said.append, host.conf)
        await asyncio.sleep(0)
        in_place(host.conf)
        await host.until(host.is_ours)
        guard.close()

    asyncio.run(main())
    assert "cannot be put back: /etc/resolv.conf cannot be written" in host.said[1]
    assert len(host.said) == 2


def test_without_resolvers_of_the_tunnels_nothing_is_done(host: Host) -> None:
    looks = asyncio.Queue[None]()

    def wanted() -> None:
        looks.put_nowait(None)

    async def main() -> None:
        guard = ResolverWatch(wanted, host.put_back, host.said.append, host.conf)
        await looks.get()
        in_place(host.conf)
        for _ in range(2):  # it has seen the change, and watches again
            await looks.get()
        guard.close()

    asyncio.run(main())
    assert host.times == 1
    assert host.conf.read_text() == THEIRS


def test_of_resolved_its_list_counts(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolvers, "RESOLVED_FOLDERS", (f"{tmp_path}/",))
    monkeypatch.setattr(resolvers, "RESOLVED_LIST", tmp_path / "list")
    assert not resolvers.is_in_force(DNS, host.conf)
    (tmp_path / "list").write_text("nameserver 192.168.1.1\nnameserver 198.18.0.2\n")
    assert resolvers.is_in_force(DNS, host.conf)
    (tmp_path / "list").write_text("nameserver 192.168.1.1\n")
    assert not resolvers.is_in_force(DNS, host.conf)


def test_resolveds_list_does_not_have_who_answers_for_some_domains_only(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolvers, "RESOLVED_FOLDERS", (f"{tmp_path}/",))
    monkeypatch.setattr(resolvers, "RESOLVED_LIST", tmp_path / "list")
    (tmp_path / "list").write_text("nameserver 192.168.1.1\n")
    split = replace(DNS, match=("corp.example",))
    assert resolvers.is_in_force(split, host.conf)
    host.conf.write_text(THEIRS)
    monkeypatch.setattr(resolvers, "RESOLVED_FOLDERS", ("/nowhere/",))
    assert not resolvers.is_in_force(split, host.conf)
