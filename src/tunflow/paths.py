"""Names of files in text that others wrote: a `Path`, or one documented error.

`Path` takes any text, and what the system does not take comes out as a ValueError where the file is opened;
`expanduser` raises a RuntimeError.
"""

from __future__ import annotations

import os
from pathlib import Path

from tunflow.errors import LocalError


def parse_path(text: str) -> Path:
    """A file's name, `~` at its beginning being a user's home. Raises LocalError for what no file can be called."""
    try:
        if b"\0" in os.fsencode(text):
            raise LocalError(f"{text!r} is no name of a file")
        return Path(text).expanduser()
    except UnicodeEncodeError:
        raise LocalError(f"{text!r} is no name of a file") from None
    except RuntimeError:
        raise LocalError(f"{text!r}: there is no such user, or no home") from None
