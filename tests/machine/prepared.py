"""The image with the service on it before its first power on, as `tunflow service install` writes it.

It runs inside of the tree with nothing booted, at this machine's speed, and systemd's own tools enable what it wrote.
Laid over the kept tree in a mount namespace that is gone afterwards: `python -m tests.machine.prepared` is that part.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from tests.machine import initrd
from tests.machine.image import DISK_BYTES, Image, make_disk
from tests.machine.installed import PLACE
from tests.machine.payload import ROOT, Payload

UNITS = ("tunflow.service", "tunflow-guard.service")
UNASKED = (
    *("apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"),
    *("dev-hugepages.mount", "dev-mqueue.mount", "proc-sys-fs-binfmt_misc.automount", "sys-fs-fuse-connections.mount"),
    *("sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount"),
    *("getty.target", "systemd-ask-password-console.path", "systemd-ask-password-wall.path", "systemd-binfmt.service"),
    *("systemd-journal-flush.service", "systemd-logind.service", "systemd-random-seed.service"),
    *("systemd-sysusers.service", "systemd-update-utmp-runlevel.service", "systemd-update-utmp.service"),
    "systemd-user-sessions.service",
)
"""What the boot does without."""
COLDPLUG = "etc/systemd/system/systemd-udev-trigger.service.d/lab.conf"
FEWER_DEVICES = """\
[Service]
ExecStart=
ExecStart=-udevadm trigger --type=devices --action=add --prioritized-subsystem=virtio \
  --subsystem-match=virtio --subsystem-match=virtio-ports --subsystem-match=block --subsystem-match=net
"""
"""Of some hundred devices that a boot tells udev of, those that this one needs."""


def made(base: Image, payload: Payload, profile: str, directory: Path) -> Image:
    """Make it in `directory`."""
    disk = directory / "prepared.ext4"
    argv = ["unshare", "--mount", sys.executable, "-m", "tests.machine.prepared", str(base.tree), str(payload.tree)]
    done = subprocess.run([*argv, str(disk)], input=profile, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise RuntimeError(f"the service cannot be installed: {done.stderr[-2000:]}")
    initrd.make(directory / "initrd", base.tree)
    return replace(base, disk=disk, initrd=directory / "initrd")


def main() -> None:
    """Arguments: the tree, the payload's, the disk to make. The profile is the standard input."""
    tree, payload, disk = sys.argv[1:]
    work = Path(disk).parent / "laid"
    work.mkdir()
    _run("mount", "-t", "tmpfs", "none", work)
    root = work / "root"
    for each in ("upper", "work", "root"):
        (work / each).mkdir()
    over = f"lowerdir={tree},upperdir={work}/upper,workdir={work}/work"
    _run("mount", "-t", "overlay", "none", "-o", over, root)
    place = root / PLACE.removeprefix("/")
    place.parent.mkdir()
    place.write_text(sys.stdin.read())
    place.chmod(0o600)
    trigger = root / COLDPLUG
    trigger.parent.mkdir()
    trigger.write_text(FEWER_DEVICES)
    _run("mount", "--bind", payload, root / "usr/local")
    _run("chroot", root, "/usr/local/bin/tunflow", "service", "install", PLACE, "--kill-switch-at-boot")
    _run("umount", root / "usr/local")
    _run("systemd-sysusers", f"--root={root}", root / "etc/sysusers.d/tunflow.conf")
    _run("systemctl", f"--root={root}", "-q", "enable", *UNITS)
    _run("systemctl", f"--root={root}", "-q", "mask", *UNASKED)
    make_disk(Path(disk), root, "root", DISK_BYTES)


def _run(*argv: object) -> None:
    subprocess.run([str(word) for word in argv], stdin=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    main()
