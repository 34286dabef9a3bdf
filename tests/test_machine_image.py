"""The emulated machine's releases of Debian: apt's sources, what is kept, the modules that it boots with."""

from __future__ import annotations

import lzma
import subprocess
import sys
from pathlib import Path

import pytest
from tests.machine import image, initrd

ROOT = Path(__file__).parent.parent
SOURCES = """\
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""


def test_the_sources_of_another_release_are_these_with_its_name() -> None:
    made = image.sources_of("trixie", "bookworm", SOURCES)
    assert [line for line in made.splitlines() if line not in SOURCES.splitlines()] == [
        "Suites: trixie trixie-updates",
        "Suites: trixie-security",
    ]
    assert image.sources_of("bookworm", "bookworm", SOURCES) == SOURCES


def test_what_is_kept_of_another_release_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = image.cache_directory()
    for name in ("tree-bookworm-1", "tree-trixie-1", "tree-1"):
        (folder / name).mkdir(parents=True)
    for name in ("disk-bookworm-1.ext4", "disk-trixie-1.ext4"):
        (folder / name).touch()
    image.forget("tree", "trixie")
    image.forget("disk", "bookworm")
    assert {path.name for path in folder.iterdir()} == {"tree-bookworm-1", "disk-trixie-1.ext4"}


@pytest.mark.parametrize(("program", "status"), [("pytest", 4), ("tests.machine", 2)])
def test_an_unknown_release_is_told(program: str, status: int) -> None:
    argv = [sys.executable, "-m", program, "--release", "potato", *(["tests/machine"] if program == "pytest" else [])]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == status, done
    (line,) = [line for line in (done.stdout + done.stderr).splitlines() if "potato" in line]
    assert all(name in line for name in image.RELEASES)


def test_modules_are_carried_as_the_kernel_takes_them(tmp_path: Path) -> None:
    """One that is built in, one as it is, one that is compressed, and what it depends on."""
    folder = tmp_path / "lib" / "modules" / "6.12"
    (folder / "kernel").mkdir(parents=True)
    (folder / "modules.builtin").write_text("kernel/virtio_pci.ko\n")
    (folder / "modules.dep").write_text(
        "kernel/virtio_blk.ko:\nkernel/jbd2.ko.xz:\nkernel/ext4.ko.xz: kernel/jbd2.ko.xz\nkernel/crc32c_generic.ko:\n"
    )
    for name in ("virtio_blk.ko", "crc32c_generic.ko", "jbd2.ko.xz", "ext4.ko.xz"):
        content = f"<{name.partition('.')[0]}>".encode()
        (folder / "kernel" / name).write_bytes(lzma.compress(content) if name.endswith(".xz") else content)
    initrd.make(tmp_path / "initrd", tmp_path)
    made = (tmp_path / "initrd").read_bytes()
    places = [made.find(content) for content in (b"<virtio_blk>", b"<jbd2>", b"<ext4>", b"<crc32c_generic>")]
    assert places == sorted(places)
    assert -1 not in places
    assert b"<virtio_pci>" not in made
