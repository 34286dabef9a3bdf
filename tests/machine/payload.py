"""The second disk: tunflow as it is now, what it depends on, and the lab's programs, mounted at /usr/local."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.machine.image import Image, cache_directory, forget, make_disk

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LOCK = ROOT / "requirements" / "run.txt"
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


def made(image: Image, directory: Path) -> Payload:
    """Make the disk in `directory`, for the Python of `image`."""
    made = Payload(directory / "payload.ext4", directory / "payload")
    tree = made.tree
    packages = tree / _packages(image)
    shutil.copytree(_dependencies(image), packages)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--no-compile", "--target", str(packages), str(ROOT)], check=True)
    shutil.copytree(HERE / "inside", tree / "lib" / "lab", ignore=shutil.ignore_patterns("__pycache__"))
    script = tree / "bin" / "tunflow"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    script.chmod(0o755)
    if _compile(image, packages, "tunflow"):
        raise RuntimeError("tunflow has a file that Python does not compile")
    make_disk(made.disk, tree, "payload", DISK_BYTES)
    return made


def _dependencies(image: Image) -> Path:
    """What tunflow depends on, in the versions of requirements/, kept in the user's cache directory."""
    key = hashlib.sha256(LOCK.read_bytes() + _python_name(image).encode()).hexdigest()[:16]
    kept = cache_directory() / f"packages-{image.release}-{key}"
    if not kept.exists():
        forget("packages", image.release)
        cache_directory().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_directory(), prefix="new-") as work:
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            pip += [
                "--require-hashes",
                "--only-binary=:all:",
                "--no-compile",
                "--python-version",
                _python_name(image).removeprefix("python"),
            ]
            subprocess.run([*pip, "--requirement", str(LOCK), "--target", f"{work}/tree"], check=True)
            _compile(image, Path(work, "tree"))
            Path(work, "tree").rename(kept)
    return kept


def _compile(image: Image, packages: Path, name: str = "") -> int:
    """Compile `packages`, or one of them, where they are inside and by the Python inside; its exit status.

    In a mount namespace that is gone afterwards.
    """
    place = f"/usr/local/{_packages(image)}"
    command = ["chroot", str(image.tree), "/usr/bin/python3", "-B", "-m", "compileall", "-q"]
    command += ["--invalidation-mode", "unchecked-hash", f"{place}/{name}"]
    bound = 'mount --bind "$1" "$2"; shift 2; exec "$@"'
    argv = ["unshare", "--mount", "sh", "-ec", bound, "sh", str(packages), f"{image.tree}{place}", *command]
    return subprocess.run(argv, check=False).returncode


def _packages(image: Image) -> str:
    """Where Debian's Python looks for packages that are not Debian's, below /usr/local."""
    return f"lib/{_python_name(image)}/dist-packages"


def _python_name(image: Image) -> str:
    """Such as `python3.11`."""
    return (image.tree / "usr/bin/python3").readlink().name
