"""URLs in the form in which rules are compared with them: as servers read them, not as clients may write them.

`/%62ig`, `//big`, `/./big` and `/x/..%2fbig` are `/big` to the usual servers: a rule about it must hold for all.

Read first: RFC 3986 §3.2.3, §5.2.4 and §6.2.2.
"""

from __future__ import annotations

import re
from string import ascii_letters, digits
from urllib.parse import quote_from_bytes, unquote_to_bytes

_TWISTED = re.compile(r"[%\\#]|//|/\.")
_ALL = ascii_letters + digits + "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
"""ASCII that can stand in a request's target: it has no blanks and no control characters."""


def url_of(host: str, port: int, target: str) -> str:
    """The URL of a host in normal form and a path with its query; a port of 80 is left out."""
    where = f"[{host}]" if ":" in host else host
    return f"http://{where}{target}" if port == 80 else f"http://{where}:{port}{target}"


def target_text(target: bytes) -> str:
    """A target as text: what is not ASCII is written with percent signs."""
    return target.decode("ascii") if target.isascii() else quote_from_bytes(target, _ALL)


def served_target(target: str) -> str | None:
    """A path with its query, as a server may read it; None where that is how it is written.

    Percent signs are resolved, except for what is no printable ASCII; a fragment goes; a backslash is a slash; in the
    path several slashes are one, and `.` and `..` are followed.
    """
    if _TWISTED.search(target) is None:
        return None
    path, mark, query = target.partition("#")[0].partition("?")
    kept: list[str] = []
    parts = _resolved(path).replace("\\", "/").split("/")
    for part in parts:
        if part == "..":
            kept = kept[:-1]
        elif part not in {"", "."}:
            kept.append(part)
    is_folder = parts[-1] in {"", ".", ".."} and kept
    served = f"/{'/'.join(kept)}{'/' if is_folder else ''}{mark}{_resolved(query)}"
    return None if served == target else served


def _resolved(text: str) -> str:
    return quote_from_bytes(unquote_to_bytes(text), _ALL)
