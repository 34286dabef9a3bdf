"""Arranges the files that a captured program sees, in its own mount namespace.

Names are resolved by packets or not at all: resolv.conf names the tunnel's resolver, nsswitch.conf asks no daemon,
and the sockets of the host's resolving daemons are hidden, because a Unix socket with a path passes through a network
namespace. What is not hidden, because programs need it for other things: the D-Bus sockets (systemd-resolved can be
asked there too), and whatever socket the user's own services have. A daemon that first starts, or makes its directory
anew, while the program runs is not hidden either. docs/run.md tells the user so.

Mounts are slaves of the host's: a disk that the host mounts or gives back meanwhile is mounted or given back inside.
Nothing made here shows outside, and all of it goes with the last process inside.

Read first: mount_namespaces(7), mount(2).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tunflow.errors import LocalError
from tunflow.host.program import resolver
from tunflow.host.syscalls import (
    CLONE_NEWNS,
    MNT_DETACH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    MS_SLAVE,
    mount,
    setns,
    unmount,
)

RESOLV_CONF = "/etc/resolv.conf"
NSSWITCH_CONF = "/etc/nsswitch.conf"
SSH_SNIPPETS = "/etc/ssh/ssh_config.d"

_DAEMONS = ("/run/systemd/resolve", "/run/nscd", "/var/run/nscd", "/run/avahi-daemon")
"""Where daemons that look up host names keep their sockets: systemd-resolved (nss-resolve), nscd (glibc asks it
before nsswitch.conf is read), avahi (nss-mdns)."""

_TMPFS_FLAGS = MS_NOSUID | MS_NODEV | MS_NOEXEC
_TMPFS_OPTIONS = "mode=755,size=1m"


def detach() -> None:
    """Keep mounts made from here on to this namespace. Raises OSError or LocalError.

    In a chroot whose folder is no mount point the mount that it lies in has no name (EINVAL, mount(2)). Joining the
    namespace that we are in already leads to its own root (setns(2), mount namespaces), and from there we go back.
    """
    try:
        mount("", "/", "", MS_REC | MS_SLAVE)
        return
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    root, cwd, own = (os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in ("/", ".", "/proc/self/ns/mnt"))
    try:
        setns(own, CLONE_NEWNS)
        mount("", "/", "", MS_REC | MS_SLAVE)
        os.fchdir(root)
        os.chroot(".")
        os.fchdir(cwd)
    except OSError as error:
        raise LocalError(
            f"this chroot's folder is no mount point, and going around that is not allowed ({error.strerror}): outside "
            "of it, `mount --bind DIR DIR` before `chroot DIR` makes it one"
        ) from None
    finally:
        for fd in (root, cwd, own):
            os.close(fd)


def point_resolver(nameserver: str) -> None:
    """Let host names be looked up at `nameserver` only. Raises LocalError or OSError."""
    target = os.path.realpath(RESOLV_CONF)
    text = resolver.resolv_conf(_read(target), nameserver)
    hidden = _hide_daemons()
    if any(target.startswith(folder + "/") for folder in hidden):
        folder = Path(target).parent
        folder.mkdir(parents=True, exist_ok=True)
        _fill(str(folder), {Path(target).name: text})
    elif Path(target).is_file():
        _lay_over(target, text)
    else:
        _lay_over_folder(Path(RESOLV_CONF), target, text)
    nsswitch = os.path.realpath(NSSWITCH_CONF)
    if Path(nsswitch).is_file():
        _lay_over(nsswitch, resolver.nsswitch_conf(_read(nsswitch)))
    if _read(RESOLV_CONF) != text:
        raise LocalError(f"{RESOLV_CONF} cannot be replaced for the program: make it a plain file")


def own_ssh_snippets() -> None:
    """Lay copies owned by the user over the system's ssh_config snippets. Raises OSError.

    ssh(1) refuses included files that belong neither to root nor to the user, and in a user namespace root's files
    belong to "nobody". Debian 13 and Ubuntu 25.04 ship one, so that ssh would not start.
    """
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        snippets = {entry.name: _read(str(entry)) for entry in Path(SSH_SNIPPETS).iterdir() if entry.is_file()}
        if snippets:
            _mount_tmpfs(SSH_SNIPPETS)
            _fill(SSH_SNIPPETS, snippets)


def _hide_daemons() -> set[str]:
    hidden = {os.path.realpath(folder) for folder in _DAEMONS if Path(folder).is_dir()}
    for folder in hidden:
        _mount_tmpfs(folder)
    return hidden


def _lay_over(target: str, text: str) -> None:
    """Bind a file with `text` over the file `target`, which must not be a symbolic link."""
    folder = str(Path(target).parent)
    with handle(target) as beneath:
        # The file has to come from a mount of this namespace. A tmpfs over its own folder serves for the moment; the
        # handle leads beneath it.
        _mount_tmpfs(folder)
        try:
            _fill(folder, {"file": text})
            mount(f"{folder}/file", beneath, "", MS_BIND)
        finally:
            unmount(folder, MNT_DETACH)


def _lay_over_folder(path: Path, target: str, text: str) -> None:
    """Make `path` a file with `text` where there is none to lay it over, by a read-only overlay on its folder."""
    folder = str(path.parent)
    with handle(folder) as beneath:
        _mount_tmpfs(folder)
        layer = Path(folder, "layer")
        layer.mkdir()
        _fill(str(layer), {path.name: text})
        try:
            mount("overlay", folder, "overlay", MS_RDONLY, f"lowerdir={layer}:{beneath}")
        except OSError as error:
            raise LocalError(
                f"{path} leads to {target}, which is no file and cannot be laid over ({error.strerror}): create it"
            ) from None


def _mount_tmpfs(folder: str) -> None:
    mount("tmpfs", folder, "tmpfs", _TMPFS_FLAGS, _TMPFS_OPTIONS)


def _fill(folder: str, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = Path(folder, name)
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
        path.chmod(0o644)  # whatever the umask


@contextmanager
def handle(path: str) -> Iterator[str]:
    """A path that leads to what `path` leads to now, also after something is mounted over it."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _read(path: str) -> str:
    """The text of a file; "" where there is none that may be read. Raises LocalError for a directory."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        if error.errno == errno.EISDIR:
            raise LocalError(f"{path} is a directory: make it a plain file") from None
        return ""
