"""Replacing a file as a whole: there is the old one or the new one, whenever the power fails. All raise OSError."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, data: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Put a file with `data` in the place of `path`, by a rename; `owner` is uid and gid, None for ours."""
    temporary = _temporary(path)
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            if owner is not None:
                os.fchown(fd, *owner)
            os.fchmod(fd, mode)
            file.flush()
            os.fsync(fd)
        temporary.rename(path)
        sync_folder(path.parent)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise


def replace_link(path: Path, target: str) -> None:
    """Put a symbolic link to `target` in the place of `path`."""
    temporary = _temporary(path)
    temporary.symlink_to(target)
    temporary.rename(path)
    sync_folder(path.parent)


def rewrite_file(path: Path, data: bytes) -> None:
    """Change the content of the file itself, where it cannot be replaced."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(fd, data, 0)
        os.ftruncate(fd, len(data))
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(folder: Path) -> None:
    """Have a rename in `folder` reach the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _temporary(path: Path) -> Path:
    """A name beside `path` that only we use; what a crash left there goes."""
    name = path.with_name(f".{path.name}.tunflow")
    name.unlink(missing_ok=True)
    return name
