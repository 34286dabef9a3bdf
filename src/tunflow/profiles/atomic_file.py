"""Files that any number of a user's programs may write at once: who reads has the old one or the new one."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from tunflow.errors import LocalError


def write_atomically(path: Path, content: bytes, *, private: bool) -> None:
    """Write a file in one step, and its folder if there is none; only the owner can read a `private` one.

    Raises LocalError.
    """
    try:
        path.parent.mkdir(mode=0o700 if private else 0o777, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # has mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                if not private:
                    os.fchmod(file.fileno(), 0o644)
            Path(temporary).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise LocalError(f"cannot write {path}: {error.strerror}") from None
