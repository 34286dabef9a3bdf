"""What links and Clash entries of protocols over QUIC have in common: TLS's name, whom to trust, hours and rates."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from importlib.util import find_spec

from tunflow.errors import LocalError
from tunflow.protocols import link
from tunflow.protocols.link import printable

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_OF_TLS = frozenset({"sni", "peer", "alpn", "fp", "security", "pinSHA256", "udp", *link.INSECURE})


def need_aioquic(label: str) -> None:
    """Raises LocalError where aioquic is not installed."""
    if find_spec("aioquic") is None:
        raise LocalError(f"{label} takes aioquic: pip install 'tunflow[quic]'")


def parameters(scheme: str, query: str, own: Collection[str]) -> dict[str, str]:
    """The parameters of a link, the protocol's `own` and those of TLS in QUIC. Raises LocalError."""
    values = link.parameters(scheme, query, {*own, *_OF_TLS})
    if (security := values.get("security", "tls")) != "tls":
        raise LocalError(f"security={printable(security)} of {scheme} is not supported: QUIC is tls")
    if (said := values.get("sni")) and values.setdefault("peer", said) != said:
        raise LocalError(f"sni and peer in a {scheme}:// link are two names; one of them is enough")
    values["sni"] = values.get("sni") or values.get("peer", "")
    return values


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
