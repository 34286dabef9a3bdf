"""The file of fake addresses: written as they are given out, private, and no reason to stop."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tunflow.dns.fake_ip import FakeIPMap
from tunflow.errors import LocalError
from tunflow.loop.reactor import Reactor
from tunflow.names.fake_ip_file import FakeIPFile

POOLS = ("198.18.128.0/28", "fd00::/112")


def opened(path: Path, failed=None) -> tuple[FakeIPMap, FakeIPFile]:
    fake = FakeIPMap(*POOLS)
    return fake, FakeIPFile(str(path), fake, Reactor(), failed or (lambda line: None))


def test_every_address_is_on_disk_at_the_end_of_its_round(tmp_path):
    path = tmp_path / "state" / "fake"
    fake, file = opened(path)
    given = fake.addresses("a.test")
    assert "a.test" not in path.read_text()
    file.flush()
    assert path.stat().st_mode & 0o777 == 0o600
    again, other = opened(path)  # without a close, as after kill -9
    assert again.addresses("a.test") == given
    other.close()
    file.close()


def test_the_file_stays_small(tmp_path):
    path = tmp_path / "fake"
    fake, file = opened(path)
    for number in range(1000):
        fake.addresses(f"n{number}.test")
        file.flush()
    assert len(path.read_text().splitlines()) <= 4 * fake.capacity + 1
    file.close()
    assert len(path.read_text().splitlines()) == fake.capacity + 1


def test_a_broken_file_is_begun_anew(tmp_path):
    path = tmp_path / "fake"
    path.write_bytes(b"\xff\xfe\0 nonsense\n" * 10)
    fake, file = opened(path)
    assert len(fake) == 0
    file.close()
    assert path.read_text() == f"{fake.header}\n"


def refuse(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_cannot_be_written_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError, match="cannot keep fake addresses"):
        opened(tmp_path / "file" / "fake")
    said: list[str] = []
    fake, file = opened(tmp_path / "fake", said.append)
    monkeypatch.setattr(os, "write", refuse)
    fake.addresses("a.test")
    file.flush()
    assert len(said) == 1
    fake.addresses("b.test")
    file.flush()
