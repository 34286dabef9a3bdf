"""What links and Clash entries of protocols over QUIC have in common: TLS's name, whom to trust, hours and rates."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from importlib.util import find_spec
from urllib.parse import parse_qsl

from tunflow.errors import LocalError
from tunflow.protocols.link import printable

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_FLAGS = {"0": False, "false": False, "no": False, "1": True, "true": True, "yes": True}


def need_aioquic(label: str) -> None:
    """Raises LocalError where aioquic is not installed."""
    if find_spec("aioquic") is None:
        raise LocalError(f"{label} takes aioquic: pip install 'tunflow[quic]'")


def query(scheme: str, text: str, known: Collection[str]) -> dict[str, str]:
    """The parameters of a link, without empty ones. Raises LocalError for an unknown one."""
    values = {key: value for key, value in parse_qsl(text, keep_blank_values=True) if value}
    for key in values:
        if key not in known:
            accepted = ", ".join(sorted(known))
            raise LocalError(f"the {scheme}:// link has an unknown parameter {printable(key)!r}; accepted: {accepted}")
    return values


def flag(scheme: str, values: Mapping[str, str], key: str, default: bool = False) -> bool:
    """Return True if a parameter says yes. Raises LocalError for what is neither yes nor no."""
    if key not in values:
        return default
    if values[key].lower() not in _FLAGS:
        raise LocalError(f"{key} in a {scheme}:// link is 1 or 0, not {printable(values[key])!r}")
    return _FLAGS[values[key].lower()]


def fingerprint(key: str, text: str | None) -> str | None:
    """The SHA-256 of a certificate in lower case and without colons. Raises LocalError that names the key."""
    if not text:
        return None
    plain = text.lower().replace(":", "").replace("-", "")
    if not _FINGERPRINT.fullmatch(plain):
        raise LocalError(f"{key} is the SHA-256 of a certificate, 64 hexadecimal digits")
    return plain


def server_name(key: str, text: str | None) -> str | None:
    """The name that TLS asks for. Raises LocalError that names the key."""
    if not text:
        return None
    if not re.fullmatch(r"[\x21-\x7e]{1,255}", text):
        raise LocalError(f"{key} is a host's name in printable ASCII without blanks")
    return text


def protocols(key: str, names: Collection[str]) -> tuple[str, ...]:
    """Names for ALPN. Raises LocalError that names the key."""
    for name in names:
        if not re.fullmatch(r"[\x21-\x7e]{1,255}", name):
            raise LocalError(f"{key} is a list of names in printable ASCII, such as h3")
    return tuple(names)


def texts(key: str, value: object) -> tuple[str, ...]:
    """A list of texts, or one, of a Clash entry. Raises LocalError."""
    if value is None or value == "":
        return ()
    if isinstance(value, Mapping):
        raise LocalError(f"{key} must be a list")
    return tuple(map(str, value)) if isinstance(value, list | tuple) else (str(value),)
