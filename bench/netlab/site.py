"""What the lab's web server has to offer: files of known sizes and checksums, a git repository, a package
index.

Contents are pseudo-random, so that bytes lost, doubled or out of order change the checksum (a sparse file of
zeros would hide them).
"""

from __future__ import annotations

import fcntl
import hashlib
import random
import subprocess
import zipfile
from pathlib import Path

BLOCK = 1 << 20


class Site:
    """A document root. Sites that are given the same `made`, a folder on the same file system, share the files that
    `add_file` makes there, also sites of several processes.
    """

    def __init__(self, root: Path, made: Path | None = None) -> None:
        self.root = root
        self.made = made
        root.mkdir(parents=True, exist_ok=True)

    def add_file(self, name: str, size: int, seed: int = 1) -> str:
        """A file of `size` pseudo-random bytes; its SHA-256 in hex."""
        if self.made is None:
            return _write_file(self.root / name, size, seed)
        kept = self.made / f"{size}-{seed}"
        with kept.with_suffix(".sha256").open("a+") as digest:
            fcntl.flock(digest, fcntl.LOCK_EX)
            digest.seek(0)
            found = digest.read()
            if not found:
                found = _write_file(kept, size, seed)
                digest.write(found)
        (self.root / name).hardlink_to(kept)
        return found

    def add_repository(self, name: str) -> str:
        """A bare git repository that plain ("dumb") HTTP can clone; the id of its one commit."""
        work = self.root.parent / f"{name}-work"
        work.mkdir()
        (work / "README").write_text("cloned through a tunnel\n")
        (work / "data.bin").write_bytes(random.Random(2).randbytes(300_000))
        identity = ("-c", "user.name=lab", "-c", "user.email=lab@localhost", "-c", "commit.gpgsign=false")
        for command in (("init", "-q"), ("add", "."), (*identity, "commit", "-qm", "first")):
            _git(work, *command)
        bare = self.root / f"{name}.git"
        _git(work, "clone", "-q", "--bare", str(work), str(bare))
        _git(bare, "update-server-info")
        return _git(work, "rev-parse", "HEAD")

    def add_wheel(self, name: str, version: str) -> str:
        """A package index under `simple/` that holds one wheel; the wheel's file name."""
        wheel = f"{name}-{version}-py3-none-any.whl"
        index = self.root / "simple" / name
        index.mkdir(parents=True)
        info = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(index / wheel, "w") as archive:
            archive.writestr(f"{name}.py", "WHERE = 'the lab'\n")
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        (index / "index.html").write_text(f'<a href="{wheel}">{wheel}</a>')
        return wheel


def _write_file(path: Path, size: int, seed: int) -> str:
    rng = random.Random(seed)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for start in range(0, size, BLOCK):
            block = rng.randbytes(min(BLOCK, size - start))
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def _git(where: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(where), *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()
