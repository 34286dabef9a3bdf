"""An ordinary user: no root, no capability, only user namespaces."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.netlab.namespaces import SITE4, SITE6, Lab
from bench.netlab.tunnel import TUNFLOW, run_command, shadowsocks_url
from lab_support import DNS, Contents, Tunnel

import tunflow

pytestmark = pytest.mark.lab
NOBODY = 65534
BECOME = [
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--inh-caps=-all",
    "--bounding-set=-all",
]

TUN_NODE = 'n=$(mktemp -u) && mknod -m 666 $n c 10 200 && mount --bind $n /dev/net/tun && rm $n && exec "$@"'
OPEN_TUN = ["unshare", "-m", "sh", "-c", TUN_NODE, "sh"]
"""A /dev/net/tun with the mode that udev gives it (0666), in a mount namespace of its own: here it may be root's."""


@pytest.fixture(scope="module")
def tunflow_command(lab: Lab) -> Iterator[tuple[list[str], dict[str, str]]]:
    """tunflow as an ordinary user can run it: this installation, or a copy where that one is root's own."""
    if subprocess.run([*BECOME, TUNFLOW, "--help"], capture_output=True, check=False).returncode == 0:
        yield [TUNFLOW], {}
        return
    copy = lab.directory / "copy"
    ignore = shutil.ignore_patterns("__pycache__", "mypy*", "ruff*", "pip", "hypothesis")
    shutil.copytree(sysconfig.get_path("purelib"), copy, ignore=ignore)
    shutil.copytree(Path(tunflow.__file__).parent, copy / "tunflow", dirs_exist_ok=True, ignore=ignore)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    python = next(path for path in (f"/usr/bin/{version}", "/usr/bin/python3") if Path(path).exists())
    yield [python, "-c", "import sys; from tunflow.cli import main; sys.exit(main())"], {"PYTHONPATH": str(copy)}
    shutil.rmtree(copy)


def run_as_nobody(
    lab: Lab, tunflow_command: tuple[list[str], dict[str, str]], argv: list[str], profile: str | None = None
) -> subprocess.CompletedProcess[str]:
    program, env = tunflow_command
    options = ["--profile", profile] if profile else []
    arguments = run_command(argv, server=None if profile else shadowsocks_url(), dns=DNS, options=options)[1:]
    return subprocess.run(
        lab.client.command([*OPEN_TUN, *BECOME, *program, *arguments]),
        env={**lab.client.env, **env, "HOME": "/nonexistent"},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("url", ["http://site.lab/1k", f"http://{SITE4}/1k", f"http://[{SITE6}]/1k"])
def test_curl(tunnel: Tunnel, contents: Contents, tunflow_command: tuple[list[str], dict[str, str]], url: str) -> None:
    curl = ["curl", "-sSf", "-o", "/dev/null", "-w", "%{size_download}", url]
    done = run_as_nobody(tunnel.lab, tunflow_command, curl)
    assert (done.returncode, done.stdout) == (0, "1024"), done.stderr


def test_user_is_its_own(tunnel: Tunnel, tunflow_command: tuple[list[str], dict[str, str]]) -> None:
    done = run_as_nobody(tunnel.lab, tunflow_command, ["sh", "-c", "id -u; id -g; grep CapEff /proc/self/status"])
    uid, gid, _, capabilities = done.stdout.split()
    assert (uid, gid) == (str(NOBODY), str(NOBODY)), done.stderr
    assert int(capabilities, 16) == 0 or os.environ.get("CI") is None, "the program has capabilities of its namespace"


def test_app_rules_need_no_root(
    tunnel: Tunnel, contents: Contents, tunflow_command: tuple[list[str], dict[str, str]]
) -> None:
    """A user's own programs are told apart by what the user may know of them."""
    profile = tunnel.lab.directory / "nobody.toml"
    profile.write_text(f'server = "{shadowsocks_url()}"\n[[apps]]\npath = "/usr/bin/curl"\naction = "block"\n')
    profile.chmod(0o644)
    url = f"http://{SITE4}/1k"
    script = f"curl -s -m 30 {url} >/dev/null; echo $?; wget -q -t 1 -T 30 -O /dev/null {url}; echo $?"
    done = run_as_nobody(tunnel.lab, tunflow_command, ["sh", "-c", script], str(profile))
    assert done.stdout.split() == ["7", "0"], done.stderr
