"""`tunflow run` where something that is usually there is not: it works, or says why not in one line, with status 2."""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from launching import needs_root

from tunflow.inbound.budget import LEAST

pytestmark = needs_root

RUN = [sys.executable, "-m", "tunflow", "run", "--server", "direct://", "--"]
OWN = "nameserver 198.18.0.2"
"""What the program's resolv.conf says behind the tunnel."""
PRIVATE = 'set -e; mount --make-rprivate /; {}; exec "$@"'
CHROOT = """
set -e
mount --make-rprivate /
for each in /*; do
    case $each in /proc|/sys|/dev|/run) continue;; esac
    if [ -L $each ]; then cp -P $each $0$each
    elif [ -d $each ]; then mkdir $0$each; mount --rbind $each $0$each; fi
done
mkdir $0/proc $0/dev $0/run
mount -t proc proc $0/proc
mount --rbind /dev $0/dev
exec chroot $0 "$@"
"""
READ_ONLY = (
    "awk '{ print $5 }' /proc/self/mountinfo | grep -v -e ^/proc -e ^/sys -e ^/dev |"
    " while read each; do mount -o remount,ro,bind $each 2>/dev/null || true; done"
)
UNSHARE = {"x86_64": 272, "aarch64": 97}
"""The number of unshare(2), by machine."""


def run(
    *argv: str, before: tuple[str, ...] = (), set_up: Callable[[], None] | None = None, **options: object
) -> subprocess.CompletedProcess[str]:
    """Run `argv` in a tunnel, with a command `before` all of it, and `set_up` called in the process."""
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [*before, *RUN, *argv],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=set_up,
        **{"stdin": subprocess.DEVNULL, **options},
    )


def works(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == OWN


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("tunflow: ")
    return line


def private(commands: str) -> tuple[str, ...]:
    """What puts a program behind shell `commands` in a mount namespace of its own."""
    return ("unshare", "--mount", "sh", "-c", PRIVATE.format(commands), "sh")


def chrooted(folder: Path) -> tuple[str, ...]:
    return ("unshare", "--mount", "sh", "-c", CHROOT, str(folder))


def test_a_chroot_to_a_mere_folder(tmp_path: Path) -> None:
    works(run("cat", "/etc/resolv.conf", before=chrooted(tmp_path)))


def test_the_mounts_of_a_chroot_show_nowhere_else(tmp_path: Path) -> None:
    """Though those around it are shared, as systemd makes them, and the one it lies in has no name inside."""
    script = CHROOT.replace("make-rprivate", "make-rshared").replace(
        "exec chroot", "export OUTSIDE=$$\ncp /proc/$OUTSIDE/mountinfo $0/tmp/$OUTSIDE\nchroot"
    )
    program = "cat /etc/resolv.conf; diff /tmp/$OUTSIDE /proc/$OUTSIDE/mountinfo; rm /tmp/$OUTSIDE"
    done = run("sh", "-c", program, before=("unshare", "--mount", "sh", "-c", script, str(tmp_path)))
    assert (done.returncode, done.stderr, done.stdout.splitlines()[0]) == (0, "", OWN)
    assert not [line for line in done.stdout.splitlines() if line[:1] in "<>"]


def test_without_proc() -> None:
    assert "mount -t proc proc /proc" in one_line(run("true", before=private("umount -l /proc")))


def test_a_read_only_file_system() -> None:
    works(run("cat", "/etc/resolv.conf", before=private(READ_ONLY)))


def test_without_etc_resolv_conf() -> None:
    works(run("cat", "/etc/resolv.conf", before=private("mount -t tmpfs none /etc")))


@pytest.mark.parametrize("folder", ["/dev/net", "/dev"])
def test_without_the_tun_driver(folder: str) -> None:
    assert "/dev/net/tun is missing" in one_line(run("true", before=private(f"mount -t tmpfs none {folder}")))


def test_without_home_and_any_other_variable() -> None:
    works(run("/bin/cat", "/etc/resolv.conf", env={}))


def test_without_ip_on_path() -> None:
    works(run("/bin/cat", "/etc/resolv.conf", env={**os.environ, "PATH": "/nonexistent"}))


def test_with_stdin_closed() -> None:
    works(run("cat", "/etc/resolv.conf", before=("sh", "-c", 'exec "$@" <&-', "sh")))


def test_with_all_three_closed(tmp_path: Path) -> None:
    script = f"cat /etc/resolv.conf > {tmp_path}/out"
    done = run("sh", "-c", script, before=("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"))
    assert done.returncode == 0
    assert (tmp_path / "out").read_text().splitlines()[0] == OWN


def test_in_a_folder_that_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    works(run("cat", "/etc/resolv.conf", before=("sh", "-c", f'rmdir {gone}; exec "$@"', "sh"), cwd=gone))


def test_with_few_descriptors() -> None:
    works(run("cat", "/etc/resolv.conf", before=("sh", "-c", f'ulimit -n {LEAST}; exec "$@"', "sh")))
    line = one_line(run("true", before=("sh", "-c", f'ulimit -n {LEAST - 1}; exec "$@"', "sh")))
    assert f"{LEAST - 1} open files are too few (ulimit -n): expected {LEAST} at least" in line


def test_where_there_may_be_no_more_processes() -> None:
    def become_nobody_with_one_process() -> None:
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        os.setgroups([])
        os.setgid(64999)
        os.setuid(64999)

    assert "gives no more" in one_line(run("true", set_up=become_nobody_with_one_process))


def test_with_a_seccomp_filter_that_denies_unshare() -> None:
    assert "A seccomp filter denies a network namespace" in one_line(run("true", set_up=_deny_unshare))


def test_where_user_namespaces_are_switched_off() -> None:
    script = 'echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all --inh-caps=-all "$@"'
    line = one_line(run("true", before=("unshare", "-U", "-r", "sh", "-c", script, "sh")))
    assert "sudo sysctl user.max_user_namespaces=10000" in line


def test_where_there_may_be_no_more_network_namespaces() -> None:
    script = 'echo 0 >/proc/sys/user/max_net_namespaces; exec "$@"'
    line = one_line(run("true", before=("unshare", "-U", "-r", "sh", "-c", script, "sh")))
    assert "user.max_net_namespaces" in line


def _deny_unshare() -> None:
    """Have unshare(2) fail with EPERM from here on: seccomp(2), as container runtimes do it."""
    load, equal, answer = 0x20, 0x15, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
    instructions = [
        (load, 0, 0, 0),  # the number of the call
        (equal, 0, 1, UNSHARE[os.uname().machine]),
        (answer, 0, 0, 0x00050000 | 1),  # SECCOMP_RET_ERRNO with EPERM
        (answer, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in instructions))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(instructions), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    assert libc.prctl(22, 2, ctypes.c_void_p(ctypes.addressof(program)), 0, 0) == 0  # PR_SET_SECCOMP
