"""The disk of the emulated machine: a Debian with systemd and Debian's kernel, made once and kept.

`mmdebstrap` makes a tree through apt as this machine has it configured, `mkfs.ext4 -d` a disk of it; no loop device, no
chroot with network. Kept in the user's cache directory, each release of Debian beside the other, under a hash of what
it was made from.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
OVERLAY = HERE / "root"
"""Files that are laid over the Debian tree."""

RELEASES = ("bookworm", "trixie")
"""Those it is known to work with."""
PACKAGES = (
    "linux-image-amd64",
    "systemd-sysv",
    "systemd-resolved",
    "libnss-resolve",
    "udev",
    "dbus",
    "kmod",
    "python3",
    "iproute2",
    "nftables",
    "iputils-ping",
    "procps",
    "curl",
    "dnsmasq-base",
    "network-manager",
    "wpasupplicant",
    "hostapd",
    "iw",
    "wireguard-tools",
)
DRIVERS = (
    "acpi",
    "block/virtio_blk*",
    "char/hw_random/virtio*",
    "char/virtio_console*",
    "net/dummy*",
    "net/ifb*",
    "net/tun*",
    "net/veth*",
    "net/virtio_net*",
    "net/vrf*",
    "net/wireguard/*",
    "net/wireless/mac80211_hwsim*",
    "rtc/*",
    "virtio/*",
)
"""What is kept below the kernel's drivers: the rest is two thirds of the disk."""
BOOT_MODULES = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")
EXCLUDED = ("/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*", "/usr/share/i18n/*", "/usr/share/info/*")
DISABLED = (
    "NetworkManager",
    "NetworkManager-wait-online",
    "wpa_supplicant",
    "hostapd",
    "apt-daily.timer",
    "e2scrub_reap",
    "getty@tty1",
    "systemd-pstore",
)
"""Services that scenarios start themselves, or that nobody needs here."""
DISK_BYTES = 1600 << 20
KERNEL_DRIVERS = "/lib/modules/*/kernel/drivers"


@dataclass(frozen=True, slots=True)
class Image:
    """What qemu boots."""

    release: str
    disk: Path
    tree: Path
    """What the disk was made of."""
    kernel: Path
    initrd: Path


def cache_directory() -> Path:
    """Where images are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "tunflow" / "machine"


def own_release() -> str:
    """This machine's release of Debian, such as `bookworm`."""
    for line in Path("/etc/os-release").read_text().splitlines():
        key, _, value = line.partition("=")
        if key == "VERSION_CODENAME":
            return value.strip('"')
    raise RuntimeError("/etc/os-release has no VERSION_CODENAME: the machine lab runs on Debian")


def releases() -> list[str]:
    """The releases of Debian that there are images of."""
    return sorted({own_release(), *RELEASES})


def made(release: str) -> Image:
    """The image, made where it is not there yet (some minutes)."""
    tree_key = _hash(release, PACKAGES, DRIVERS, BOOT_MODULES, EXCLUDED)
    tree = cache_directory() / f"tree-{release}-{tree_key}"
    if not tree.exists():
        forget("tree", release)
        _make_tree(tree, release)
    overlay = {
        str(path.relative_to(OVERLAY)): path.read_text() for path in sorted(OVERLAY.rglob("*")) if path.is_file()
    }
    disk = cache_directory() / f"disk-{release}-{_hash(tree_key, overlay, DISABLED, DISK_BYTES)}.ext4"
    if not disk.exists():
        forget("disk", release)
        _lay(overlay, tree)
        make_disk(disk, tree, "root", DISK_BYTES)
    return Image(release, disk, tree, _newest(tree, "vmlinuz-*"), _newest(tree, "initrd.img-*"))


def make_disk(disk: Path, tree: Path, label: str, size: int) -> None:
    """Make an ext4 image of `size` bytes with everything below `tree`."""
    fresh = disk.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with fresh.open("wb") as file:
        file.truncate(size)
    _run(
        "mkfs.ext4",
        "-q",
        "-F",
        "-L",
        label,
        "-O",
        "^has_journal",
        "-E",
        "lazy_itable_init=1",
        "-d",
        str(tree),
        str(fresh),
    )
    fresh.rename(disk)


def forget(kind: str, release: str) -> None:
    """Delete what was kept of this kind, but for that of other releases."""
    others = tuple(f"{kind}-{each}-" for each in releases() if each != release)
    for path in cache_directory().glob(f"{kind}-*"):
        if not path.name.startswith(others):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def sources_of(release: str, own: str, text: str) -> str:
    """A file of apt's sources for another release than this machine's own, with its suites (`NAME-updates`)."""
    return re.sub(rf"\b{own}\b", release, text)


def _make_tree(tree: Path, release: str) -> None:
    tree.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tree.parent, prefix="new-") as work:
        sources = _write_sources(Path(work, "sources"), release)
        configuration = Path(work, "apt.conf")
        network = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=True).stdout
        configuration.write_text(network + 'APT::Install-Recommends "false";\n')
        modules = "\n".join(("MODULES=list", "COMPRESS=zstd", "BUSYBOX=n"))
        hook = (
            'mkdir -p "$1/etc/initramfs-tools/conf.d" && '
            f'printf "{modules}\\n" > "$1/etc/initramfs-tools/conf.d/lab" && '
            f'printf "{" ".join(BOOT_MODULES)}\\n" | tr " " "\\n" > "$1/etc/initramfs-tools/modules"'
        )
        dpkg = [f"path-exclude={pattern}" for pattern in (*EXCLUDED, f"{KERNEL_DRIVERS}/*")]
        dpkg += [f"path-include={KERNEL_DRIVERS}/{driver}" for driver in DRIVERS]
        command = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
        command += [f"--aptopt={configuration}", *(f"--dpkgopt={option}" for option in dpkg)]
        command += [f"--essential-hook={hook}", release, f"{work}/tree", *map(str, sources)]
        _run(*command)
        Path(work, "tree").chmod(0o755)
        Path(work, "tree").rename(tree)


def _write_sources(folder: Path, release: str) -> list[Path]:
    """Those of this machine's apt sources that name its own release, written to `folder` for `release`."""
    own = own_release()
    folder.mkdir()
    written = []
    for path in _apt_sources():
        text = path.read_text()
        if own in text:
            written.append(folder / path.name)
            written[-1].write_text(sources_of(release, own, text))
    return written


def _apt_sources() -> list[Path]:
    etc = Path("/etc/apt")
    parts = sorted([*etc.glob("sources.list.d/*.list"), *etc.glob("sources.list.d/*.sources")])
    return [path for path in (etc / "sources.list", *parts) if path.is_file()]


def _lay(overlay: dict[str, str], tree: Path) -> None:
    """Put the overlay into the tree, and enable its units as `[Install]` says."""
    for name, text in overlay.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
    units = [Path(name).name for name in overlay if name.startswith("etc/systemd/system/lab-")]
    for act in (["enable", *units], ["enable", "systemd-networkd", "systemd-resolved"]):
        _run("systemctl", f"--root={tree}", "-q", *act)
    for name in DISABLED:
        _run("systemctl", f"--root={tree}", "-q", "disable", name)
    _run("systemctl", f"--root={tree}", "-q", "set-default", "multi-user.target")
    _run("passwd", "--root", str(tree), "-d", "root")


def _newest(tree: Path, pattern: str) -> Path:
    return sorted(tree.glob(f"boot/{pattern}"))[-1]


def _hash(*facts: object) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _run(*argv: str) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{argv[0]}: {done.returncode}: {done.stderr[-2000:]}")
