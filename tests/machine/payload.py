"""The second disk: tunflow as it is now, what it depends on, and the lab's programs, mounted at /usr/local."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.machine.image import cache_directory, make_disk

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LOCK = ROOT / "requirements" / "run.txt"
PYTHON = Path("/usr/bin/python3")
"""Debian's own, as inside."""
SCRIPT = """#!/usr/bin/python3 -P
import sys
from tunflow.cli import main
sys.exit(main())
"""
DISK_BYTES = 220 << 20


@dataclass(frozen=True, slots=True)
class Payload:
    """The disk, and the folder that it was made of."""

    disk: Path
    tree: Path


def made(directory: Path) -> Payload:
    """Make the disk in `directory`."""
    made = Payload(directory / "payload.ext4", directory / "payload")
    tree = made.tree
    packages = tree / "lib" / _python_name() / "dist-packages"
    shutil.copytree(_dependencies(), packages)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--no-compile", "--target", str(packages), str(ROOT)], check=True)
    shutil.copytree(HERE / "inside", tree / "lib" / "lab", ignore=shutil.ignore_patterns("__pycache__"))
    script = tree / "bin" / "tunflow"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    script.chmod(0o755)
    compiled = [str(PYTHON), "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([*compiled, "-s", str(tree), "-p", "/usr/local", str(packages / "tunflow")], check=True)
    make_disk(made.disk, tree, "payload", DISK_BYTES)
    return made


def _dependencies() -> Path:
    """What tunflow depends on, in the versions of requirements/, kept in the user's cache directory."""
    key = hashlib.sha256(LOCK.read_bytes() + _python_name().encode()).hexdigest()[:16]
    kept = cache_directory() / f"packages-{key}"
    if not kept.exists():
        for old in cache_directory().glob("packages-*"):
            shutil.rmtree(old)
        cache_directory().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_directory(), prefix="new-") as work:
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            pip += [
                "--require-hashes",
                "--only-binary=:all:",
                "--python-version",
                _python_name().removeprefix("python"),
            ]
            subprocess.run([*pip, "--requirement", str(LOCK), "--target", f"{work}/tree"], check=True)
            subprocess.run(
                [str(PYTHON), "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", f"{work}/tree"],
                check=False,
            )
            Path(work, "tree").rename(kept)
    return kept


def _python_name() -> str:
    code = "import sys; print('python%d.%d' % sys.version_info[:2])"
    return subprocess.run([str(PYTHON), "-c", code], capture_output=True, text=True, check=True).stdout.strip()
