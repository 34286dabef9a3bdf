"""Older `vmess://` links: base64 of JSON, as v2rayN writes them, and others with keys of their own."""

from __future__ import annotations

from base64 import b64decode
from urllib.parse import urlencode

from tunflow.errors import LocalError
from tunflow.protocols.link import INSECURE, Parts, printable, yes_or_no
from tunflow.single_values import TwoValues, text_json_value

_KEYS = frozenset(
    {"v", "ps", "add", "port", "id", "aid", "scy", "net", "type", "host", "path", "tls", "sni", "alpn", "fp"}
    | {"packetEncoding", "pcs", "verify_cert", *INSECURE}
)
_HARMLESS = frozenset({"class", "group", "remark", "remarks", "test_name", "level", "ed", "eh", "tfo", "mux"})
"""What lists keep for themselves, and how a client dials."""
_NOTHING = frozenset({"", "0", "none", "false", "null"})
_TLS = {"1": "tls", "true": "tls", "0": "none", "false": "none"}


def parts_of_json(rest: str, shape: str) -> Parts:
    """An older link, behind its `://`, as the parts of a newer one, which reads `shape`. Raises LocalError."""
    texts = _texts(rest, shape)
    if unknown := sorted(key for key in texts if key not in _KEYS | _HARMLESS and texts[key].lower() not in _NOTHING):
        known = ", ".join(sorted(_KEYS))
        raise LocalError(f"the vmess:// link has an unknown key {printable(unknown[0])!r}; accepted: {known}")
    check_alter_id(texts.get("aid"))
    tls = texts.get("tls", "none").lower()
    query = {
        "encryption": texts.get("scy"),
        "security": _TLS.get(tls, tls),
        "sni": texts.get("sni") or (texts.get("host") if _TLS.get(tls, tls) == "tls" else None),
        **_network(texts),
        **{key: texts.get(key) for key in ("alpn", "fp", "packetEncoding", "pcs", *INSECURE)},
    }
    if not yes_or_no("vmess", "verify_cert", texts.get("verify_cert"), default=True):
        query["insecure"] = "1"
    host = texts.get("add", "")
    where = f"[{host}]" if ":" in host else host.replace("%", "%25")
    options = urlencode({key: value for key, value in query.items() if value})
    return Parts(texts.get("id"), f"{where}:{texts.get('port', '')}", options, texts.get("ps"))


def check_alter_id(text: str | None) -> None:
    """Raises LocalError for a server of the old edition, whose headers can be tampered with."""
    if text not in {None, "0"}:
        raise LocalError(f"VMess alterId (aid) {printable(text or '')} is not supported; 0 (AEAD headers) is")


def _texts(rest: str, shape: str) -> dict[str, str]:
    """The keys that say something. Raises LocalError."""
    digits = rest.partition("#")[0].rstrip("=").replace("-", "+").replace("_", "/")
    try:
        values = text_json_value(b64decode(digits + "=" * (-len(digits) % 4), validate=True))
    except TwoValues as error:
        raise LocalError(f"in the vmess:// link {error}") from None
    except ValueError:
        values = None
    if not isinstance(values, dict) or any(isinstance(value, dict | list) for value in values.values()):
        raise LocalError(f"the vmess:// link is no JSON in base64; it reads {shape}")
    return {key: str(value) for key, value in values.items() if value not in (None, "")}


def _network(texts: dict[str, str]) -> dict[str, str | None]:
    """What carries it: `type` is the mode of networks that have one, else the disguise."""
    network, kind = texts.get("net"), texts.get("type")
    made = {"type": network, "host": texts.get("host")}
    if network in {"grpc", "gun"}:
        return made | {"serviceName": texts.get("path"), "mode": None if kind == "none" else kind}
    if network in {"xhttp", "splithttp"}:
        return made | {"path": texts.get("path"), "mode": None if kind == "none" else kind}
    return made | {"path": texts.get("path"), "headerType": kind}
