"""Runs the launcher as root and as an ordinary user, for the tests in this folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

USER = 12345
"""A uid that no account has, unlike 65534, which also stands for uids that are not mapped."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes namespaces and changes its uid")

_HERE = Path(__file__).parent
_SOURCE = _HERE.parent.parent / "src" / "tunflow"

# Root's own copy of /dev/net/tun, open to all as distributions have it, in a mount namespace that goes with the test.
_AS_USER = """
set -e
mount -t tmpfs -o mode=755 tmpfs /media
mknod -m 666 /media/tun c 10 200
mount --bind /media/tun /dev/net/tun
%s
exec setpriv --reuid {uid} --regid {uid} --clear-groups --inh-caps=-all env PYTHONPATH={home} {python} {launch} "$@"
"""
_AS_ROOT = """
set -e
%s
exec env PYTHONPATH={home} {python} {launch} "$@"
"""


class Launcher:
    """Starts `launch.py` as root or as a user. `prepare` is shell code that root runs first, in the same namespace."""

    def __init__(self, home: Path, *, as_root: bool) -> None:
        self.as_root = as_root
        self.uid = 0 if as_root else USER
        script = _AS_ROOT if as_root else _AS_USER
        self.python = sys.executable if as_root else _python_for_all()
        self._script = script.format(uid=USER, home=home, python=self.python, launch=home / "launch.py")

    def command(self, *argv: str, prepare: str = "") -> list[str]:
        """The command that runs `argv` in the launcher."""
        return ["unshare", "--mount", "sh", "-c", self._script.replace("%s", prepare), "sh", *argv]

    def run(self, *argv: str, prepare: str = "", text: str = "") -> subprocess.CompletedProcess[str]:
        """Run it to its end, with `text` on its standard input."""
        command = self.command(*argv, prepare=prepare)
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=30, check=False)

    def output(self, *argv: str, prepare: str = "") -> str:
        """What a run that must succeed prints."""
        done = self.run(*argv, prepare=prepare)
        assert done.returncode == 0, done.stderr
        return done.stdout


def home_for_all() -> Path:
    """A copy of the package that every user can read, wherever the repository is."""
    home = Path(tempfile.mkdtemp(prefix="tunflow-test-"))
    shutil.copytree(_SOURCE, home / "tunflow", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(_HERE / "launch.py", home)
    subprocess.run(["chmod", "-R", "a+rX", str(home)], check=True)
    return home


def _python_for_all() -> str:
    """A Python that an ordinary user can execute: one below /root cannot."""
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        test = "import sys; sys.exit(sys.version_info < (3, 11) or not sys.executable)"
        command = ["setpriv", "--reuid", str(USER), "--clear-groups", "--inh-caps=-all"]
        readable = subprocess.run([*command, "test", "-x", python], check=False).returncode == 0
        if readable and subprocess.run([*command, python, "-c", test], check=False).returncode == 0:
            return python
    pytest.fail("no Python >= 3.11 that an ordinary user can execute: install Debian's python3")
