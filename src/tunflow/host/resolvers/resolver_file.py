"""/etc/resolv.conf of this host: what was there, ours in its place, and back.

Rules:
- the file is replaced by a rename, so that nobody reads half of it, and what was there (a file or a symbolic link)
  stays beside it as `resolv.conf.before-tunflow`: it can be put back as it was, after a reboot too, which empties /run
  and its record;
- where a rename cannot be (a container's bind mount, a read-only /etc) the file is rewritten in place, and what was
  in it is in the record alone;
- what somebody else writes there while a tunnel is up (a DHCP client) becomes what is restored, and ours goes on top
  again at the next `apply` (`host.resolvers.watch`). A file that is not ours any more is never overwritten by
  `restore`.

Read first: resolv.conf(5).
"""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunflow.errors import LocalError
from tunflow.host.files import replace_file, replace_link, rewrite_file, sync_folder
from tunflow.host.network.settings import HostDNS
from tunflow.host.program.resolver import kept_lines
from tunflow.host.runtime import VARIABLE

RESOLV_CONF = Path("/etc/resolv.conf")
_SUFFIX = ".before-tunflow"
_MARK = f"# Written by tunflow. `tunflow down` puts back what was here, which is in resolv.conf{_SUFFIX}."
_RECORDED = "# Recorded in "
"""Begins our second line, which names the tunnel's record: whoever has another one leaves ours alone."""
_MAXIMUM_SERVERS = 3
"""MAXNS of glibc's <resolv.h>: more are not read."""
_CANNOT_RENAME = frozenset((errno.EBUSY, errno.EROFS, errno.EACCES, errno.EPERM, errno.EXDEV))


def inspect(path: Path = RESOLV_CONF) -> dict[str, Any] | None:
    """What is at `path` and has to be there again some day; None where it is ours already. Raises LocalError."""
    target = path.resolve()
    if path.is_symlink() and (_is_mounted(target) or not os.access(path.parent, os.W_OK)):
        path = target
    if _is_ours(path):
        return None
    text = _read(path)
    saved: dict[str, Any] = {"path": str(path), "text": text, "mode": 0o644, "uid": 0, "gid": 0, "mtime": 0}
    if path.is_symlink():
        saved["link"] = str(path.readlink())
    elif text is not None:
        status = path.stat()
        saved |= {"mode": status.st_mode & 0o7777, "uid": status.st_uid, "gid": status.st_gid}
        saved["mtime"] = status.st_mtime_ns
    return saved


def write(dns: HostDNS, saved: dict[str, Any], record: Path) -> None:
    """Put ours where `saved` was; `record` is the file that `saved` is kept in. Raises LocalError."""
    path = Path(saved["path"])
    text = render(dns, saved["text"] or "", record)
    if _is_ours(path) and _read(path) == text:
        return
    with _explained(path):
        if not _is_ours(path) and not _is_emptied(path):
            _keep(path)
        _put(path, text, 0o644, (saved["uid"], saved["gid"]))


def restore(saved: dict[str, Any]) -> None:
    """Put back what `saved` describes, if ours is still in its place. Raises LocalError."""
    path = Path(saved["path"])
    if not _is_ours(path):
        _kept(path).unlink(missing_ok=True)
        return
    with _explained(path):
        if _restore_kept(path):
            return
        if "link" in saved:
            replace_link(path, saved["link"])
        elif saved["text"] is None:
            path.unlink()
        else:
            _put(path, saved["text"], saved["mode"], (saved["uid"], saved["gid"]))
            os.utime(path, ns=(saved["mtime"], saved["mtime"]))


def restore_unrecorded(own: Path, path: Path = RESOLV_CONF) -> bool:
    """Put back what a reboot left beside ours. Return True if there was anything.

    Raises LocalError, also where ours is a tunnel's whose record is still there and another than our `own`.
    """
    if not _is_ours(path):
        return False
    second = (_read(path) or "").splitlines()[1:2]
    record = Path(second[0].removeprefix(_RECORDED)) if second and second[0].startswith(_RECORDED) else None
    if record not in (None, own.absolute()) and record.exists():
        raise LocalError(
            f"{path} belongs to a tunnel of another runtime directory: it goes down by "
            f"{VARIABLE}={shlex.quote(str(record.parent))} tunflow down"
        )
    with _explained(path):
        return _restore_kept(path)


def render(dns: HostDNS, host: str, record: Path) -> str:
    """Our resolv.conf, with the search list of `dns` or else of the `host`'s, and the host's options."""
    kept = kept_lines(host)
    if dns.search:
        kept = ["search " + " ".join(dns.search), *(line for line in kept if line.startswith("options"))]
    servers = [f"nameserver {server}" for server in dns.servers[:_MAXIMUM_SERVERS]]
    return "\n".join([_MARK, f"{_RECORDED}{record.absolute()}", *servers, *kept, ""])


def is_sound(saved: object) -> bool:
    """Return True if what a state file says could have come from `inspect`."""
    if not isinstance(saved, dict) or not isinstance(saved.get("path"), str) or not saved["path"].startswith("/"):
        return False
    numbers = all(type(saved.get(name)) is int for name in ("mode", "uid", "gid", "mtime"))
    return numbers and isinstance(saved.get("text"), str | None) and isinstance(saved.get("link", ""), str)


def _put(path: Path, text: str, mode: int, owner: tuple[int, int]) -> None:
    data = text.encode(errors="surrogateescape")
    if _is_mounted(path):
        rewrite_file(path, data)
        return
    try:
        replace_file(path, data, mode, owner)
    except OSError as error:
        if error.errno not in _CANNOT_RENAME or path.is_symlink():
            raise
        rewrite_file(path, data)


def _is_mounted(path: Path) -> bool:
    """Return True if a file is mounted over `path`, as containers and `ip netns exec` do: its folder is not ours."""
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    return any(line.split(" ", 5)[4] == str(path) for line in mounts.splitlines())


def _keep(path: Path) -> None:
    """Have a second name for what is at `path`, which stays when the first is taken by ours."""
    kept = _kept(path)
    if _is_mounted(path):
        return
    try:
        kept.unlink(missing_ok=True)
        if path.is_symlink():
            kept.symlink_to(path.readlink())
        elif path.exists() and not path.is_mount():
            kept.hardlink_to(path)
    except OSError as error:
        if error.errno not in _CANNOT_RENAME:
            raise


def _restore_kept(path: Path) -> bool:
    kept = _kept(path)
    if not (kept.is_symlink() or kept.exists()):
        return False
    kept.rename(path)
    sync_folder(path.parent)
    return True


def _kept(path: Path) -> Path:
    return path.with_name(path.name + _SUFFIX)


def _is_emptied(path: Path) -> bool:
    """Return True if there is nothing in a file that stands where ours was, whose predecessor is kept."""
    kept = _kept(path)
    return not path.is_symlink() and _read(path) == "" and (kept.is_symlink() or kept.exists())


def _is_ours(path: Path) -> bool:
    return not path.is_symlink() and (_read(path) or "").startswith(_MARK)


def _read(path: Path) -> str | None:
    """The text at `path`, None where there is none. Raises LocalError."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise LocalError(f"{path} cannot be read: {error.strerror}: expected a plain file or a link to one") from None


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LocalError(f"{path} cannot be written: {error.strerror}") from None
