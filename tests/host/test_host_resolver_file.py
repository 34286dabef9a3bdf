from __future__ import annotations

import json
import os
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from tunflow.errors import LocalError
from tunflow.host.network.settings import HostDNS
from tunflow.host.resolvers import resolver_file
from tunflow.host.syscalls import CLONE_NEWNS, MNT_DETACH, MS_BIND, MS_REC, MS_SLAVE, mount, unmount, unshare

DNS = HostDNS((ip_address("198.18.0.2"),))
STATE = Path("/nonexistent/host.json")
HOST = "nameserver 192.168.1.1\nsearch home.example\noptions edns0 trust-ad\n"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "resolv.conf"
    path.write_text(HOST)
    path.chmod(0o640)
    return path


def _is_servers(path: Path, *servers: str) -> bool:
    return [line.split()[1] for line in path.read_text().splitlines() if line.startswith("nameserver")] == [*servers]


def _write(path: Path, dns: HostDNS = DNS) -> dict[str, object]:
    """Inspect and write as a tunnel does, with the record on the way through its file."""
    saved = resolver_file.inspect(path)
    assert saved is not None
    saved = json.loads(json.dumps(saved))
    assert resolver_file.is_sound(saved)
    resolver_file.write(dns, saved, STATE)
    return saved


def test_a_file_is_replaced_and_put_back_as_it_was(conf: Path) -> None:
    before = conf.stat()
    saved = _write(conf)
    assert conf.read_text().splitlines()[2:] == ["nameserver 198.18.0.2", "search home.example", "options edns0"]
    assert conf.stat().st_ino != before.st_ino  # by a rename: nobody reads half of it
    resolver_file.restore(saved)
    after = conf.stat()
    assert conf.read_text() == HOST
    assert (after.st_ino, after.st_mode, after.st_mtime_ns) == (before.st_ino, before.st_mode, before.st_mtime_ns)
    assert [path.name for path in conf.parent.iterdir()] == ["resolv.conf"]


def test_a_link_is_put_back_as_a_link(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    target = tmp_path / "run" / "stub.conf"
    target.write_text(HOST)
    path = tmp_path / "resolv.conf"
    path.symlink_to("run/stub.conf")
    saved = _write(path)
    assert not path.is_symlink()
    assert target.read_text() == HOST
    assert _is_servers(path, "198.18.0.2")
    resolver_file.restore(saved)
    assert str(path.readlink()) == "run/stub.conf"


def test_a_link_is_put_back_from_the_record_alone(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.symlink_to("nowhere")
    saved = _write(path)
    (tmp_path / "resolv.conf.before-tunflow").unlink()
    resolver_file.restore(saved)
    assert str(path.readlink()) == "nowhere"


def test_where_there_was_none_there_is_none_again(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    saved = _write(path)
    assert _is_servers(path, "198.18.0.2")
    resolver_file.restore(saved)
    assert list(tmp_path.iterdir()) == []


def test_what_a_dhcp_client_writes_meanwhile_is_what_is_put_back(conf: Path) -> None:
    _write(conf)
    conf.unlink()
    conf.write_text("nameserver 10.0.0.1\n")
    saved = _write(conf)
    assert _is_servers(conf, "198.18.0.2")
    resolver_file.restore(saved)
    assert conf.read_text() == "nameserver 10.0.0.1\n"


def test_what_somebody_else_wrote_last_is_left_alone(conf: Path) -> None:
    saved = _write(conf)
    conf.unlink()
    conf.write_text("nameserver 10.0.0.1\n")
    resolver_file.restore(saved)
    assert conf.read_text() == "nameserver 10.0.0.1\n"
    assert [path.name for path in conf.parent.iterdir()] == ["resolv.conf"]


def test_a_reboot_loses_the_record_and_not_the_resolvers(conf: Path) -> None:
    _write(conf)
    assert resolver_file.inspect(conf) is None
    assert resolver_file.restore_unrecorded(STATE, conf)
    assert conf.read_text() == HOST
    assert not resolver_file.restore_unrecorded(STATE, conf)


def test_ours_of_a_tunnel_that_is_recorded_elsewhere_is_left_alone(conf: Path, tmp_path: Path) -> None:
    record = tmp_path / "run of another" / "host.json"
    record.parent.mkdir()
    record.touch()
    saved = resolver_file.inspect(conf)
    assert saved is not None
    resolver_file.write(DNS, saved, record)
    ours = conf.read_text()
    with pytest.raises(LocalError, match=f"TUNFLOW_RUNTIME_DIR='{record.parent}' tunflow down"):
        resolver_file.restore_unrecorded(STATE, conf)
    assert conf.read_text() == ours
    assert resolver_file.restore_unrecorded(record, conf)
    assert conf.read_text() == HOST


def test_new_resolvers_replace_ours_and_not_what_is_put_back(conf: Path) -> None:
    saved = _write(conf)
    resolver_file.write(HostDNS((ip_address("fd00::1"), ip_address("9.9.9.9")), search=("corp.example",)), saved, STATE)
    assert conf.read_text().splitlines()[2:] == [
        "nameserver fd00::1", "nameserver 9.9.9.9", "search corp.example", "options edns0",
    ]  # fmt: skip
    resolver_file.restore(saved)
    assert conf.read_text() == HOST


def test_a_bind_mount_is_rewritten_in_place(conf: Path, tmp_path: Path) -> None:
    """As Docker and `ip netns exec` lay one over /etc/resolv.conf."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    source = tmp_path / "source"
    source.write_text(HOST * 50)  # longer than ours: what is rewritten in place must be cut
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            unshare(CLONE_NEWNS)
            mount("", "/", "", MS_REC | MS_SLAVE)
            mount(str(source), str(conf), "", MS_BIND)
            link = tmp_path / "link"
            link.symlink_to(conf)
            assert resolver_file.inspect(link)["path"] == str(conf)  # the link itself is the host's
            written = conf.stat().st_mtime_ns
            saved = _write(conf)
            assert _is_servers(conf, "198.18.0.2")
            resolver_file.restore(saved)
            assert conf.read_text() == HOST * 50
            assert conf.stat().st_mtime_ns == written
            unmount(str(conf), MNT_DETACH)
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert source.read_text() == HOST * 50
    assert conf.read_text() == HOST


def test_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").mkdir()
    with pytest.raises(LocalError, match=r"resolv\.conf cannot be read: .*expected a plain file"):
        resolver_file.inspect(tmp_path / "resolv.conf")


@pytest.mark.parametrize("change", [{"path": 1}, {"path": "etc"}, {"text": 1}, {"mode": "x"}, {"link": 5}])
def test_a_damaged_record_is_seen(conf: Path, change: dict[str, object]) -> None:
    saved = resolver_file.inspect(conf)
    assert saved is not None
    assert not resolver_file.is_sound({**saved, **change})


def test_servers_without_any_are_refused() -> None:
    with pytest.raises(LocalError, match="dns servers: expected at least one IP address"):
        replace(DNS, servers=())
