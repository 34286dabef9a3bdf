from __future__ import annotations

from tunflow.host.program.sysfs import submounts

# Shaped like /proc/self/mountinfo of Debian 12 (proc_pid_mountinfo(5)).
_MOUNTS = """\
22 28 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
23 28 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:13 - proc proc rw
28 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
29 22 0:6 / /sys/kernel/security rw,nosuid shared:8 - securityfs securityfs rw
32 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw
33 32 0:30 / /sys/fs/cgroup/inner rw,nosuid - tmpfs tmpfs rw
34 22 0:31 / /sys/with\\040space rw - tmpfs tmpfs rw
35 28 0:32 / /system rw - tmpfs tmpfs rw
"""


def test_only_what_is_mounted_directly_on_sys() -> None:
    assert submounts(_MOUNTS) == ["/sys/kernel/security", "/sys/fs/cgroup", "/sys/with space"]


def test_the_topmost_of_two_mounts_on_sys_counts() -> None:
    stacked = _MOUNTS + "40 22 0:33 / /sys rw - sysfs sysfs rw\n41 40 0:34 / /sys/fs/bpf rw - bpf bpf rw\n"
    assert submounts(stacked) == ["/sys/fs/bpf"]


def test_a_system_without_sysfs() -> None:
    assert submounts("28 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n") is None
