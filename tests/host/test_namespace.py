from __future__ import annotations

import errno
import os

import pytest

from tunflow.host.program.namespace import explain_user_namespace, read_fact


def _explain(number: int, facts: dict[str, str] | None = None) -> str:
    line = explain_user_namespace(OSError(number, os.strerror(number)), lambda name: (facts or {}).get(name, ""))
    assert "\n" not in line
    return line


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES])
def test_ubuntu_is_told_of_apparmor(number: int) -> None:
    line = _explain(number, {"sys/kernel/apparmor_restrict_unprivileged_userns": "1"})
    assert "AppArmor" in line
    assert "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0" in line
    assert "as root" in line


def test_an_apparmor_that_restricts_nothing_is_not_blamed() -> None:
    assert "AppArmor" not in _explain(errno.EPERM, {"sys/kernel/apparmor_restrict_unprivileged_userns": "0"})


@pytest.mark.parametrize(
    ("number", "fact", "remedy"),
    [
        (errno.ENOSPC, "sys/user/max_user_namespaces", "sysctl user.max_user_namespaces=10000"),
        (errno.EPERM, "sys/kernel/unprivileged_userns_clone", "sysctl kernel.unprivileged_userns_clone=1"),
    ],
)
def test_a_sysctl_that_switches_them_off_is_named(number: int, fact: str, remedy: str) -> None:
    assert remedy in _explain(number, {fact: "0"})


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (errno.ENOSPC, "max_user_namespaces"),
        (errno.EUSERS, "nested"),
        (errno.EINVAL, "CONFIG_USER_NS"),
        (errno.ENOSYS, "CONFIG_USER_NS"),
        (errno.EPERM, "security module"),
    ],
)
def test_other_reasons(number: int, word: str) -> None:
    assert word in _explain(number)


def test_a_container_is_told_what_to_allow() -> None:
    line = _explain(errno.EPERM, {"self/status": "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1"})
    assert "--device /dev/net/tun" in line
    assert "seccomp" not in _explain(errno.EPERM, {"self/status": "Seccomp:\t0"})


def test_a_chroot_is_told_from_other_reasons() -> None:
    mounts = "30 25 0:6 / /proc rw - proc proc rw\n31 25 8:1 /x /home rw - ext4 /dev/sda1 rw"
    assert "A chroot may have no user namespaces" in _explain(errno.EPERM, {"self/mountinfo": mounts})
    whole = mounts + "\n25 1 8:1 / / rw - ext4 /dev/sda1 rw"
    assert "A chroot" not in _explain(errno.EPERM, {"self/mountinfo": whole})


def test_a_fact_that_is_missing_is_empty() -> None:
    assert read_fact("sys/kernel/no_such_thing") == ""
    assert read_fact("self/status").startswith("Name:")
