"""The first root file system of the emulated machine: a static busybox, the modules that its disk takes, and a script.

Debian's own does the same with udev and some hundred processes, which is half a minute of emulation.
"""

from __future__ import annotations

import lzma
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
"""Debian's package busybox-static."""
MODULES = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")
INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs none /dev
for each in /modules/*; do /bin/busybox insmod $each; done
until /bin/busybox mount -t ext4 -o noatime /dev/vda /root 2>/dev/null; do /bin/busybox sleep 0.1; done
/bin/busybox mount -o move /dev /root/dev
exec /bin/busybox switch_root /root /sbin/init
"""


def make(path: Path, tree: Path) -> None:
    """Make it for the newest kernel of a Debian tree."""
    archive = _Archive()
    for name in ("bin", "dev", "modules", "root"):
        archive.add(name, 0o40755)
    archive.add("bin/busybox", 0o100755, BUSYBOX.read_bytes())
    archive.add("init", 0o100755, INIT.encode())
    for number, module in enumerate(_in_order(sorted(tree.glob("lib/modules/*"))[-1])):
        archive.add(f"modules/{number:02}.ko", 0o100644, _content(module))
    archive.add("TRAILER!!!", 0)
    path.write_bytes(archive.data)


def _content(module: Path) -> bytes:
    """Debian compresses modules from 13 on, and a busybox need not know how."""
    content = module.read_bytes()
    return lzma.decompress(content) if module.suffix == ".xz" else content


def _in_order(folder: Path) -> list[Path]:
    """Those of MODULES that the kernel has not built in, each behind what it depends on (modules.dep(5))."""
    built_in = (folder / "modules.builtin").read_text().split()
    needs: dict[str, list[str]] = {_name(each): [] for each in built_in}
    for line in (folder / "modules.dep").read_text().splitlines():
        module, _, others = line.partition(":")
        needs[_name(module)] = [*reversed(others.split()), module]
    return [folder / each for each in dict.fromkeys(part for name in MODULES for part in needs[name])]


def _name(path: str) -> str:
    """A module's, by its file's."""
    return Path(path).name.partition(".")[0]


class _Archive:
    """cpio's "newc" (initramfs buffer format of Linux)."""

    def __init__(self) -> None:
        self.data = b""
        self._number = 0

    def add(self, name: str, mode: int, content: bytes = b"") -> None:
        self._number += 1
        fields = (self._number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        self._put(b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0")
        self._put(content)

    def _put(self, part: bytes) -> None:
        self.data += part + bytes(-len(part) % 4)
