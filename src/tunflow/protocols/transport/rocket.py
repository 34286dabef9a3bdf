"""Links as Shadowrocket writes them: base64 of `METHOD:ID@HOST:PORT`, and parameters with names of its own.

They are read as the links that everybody else writes; nothing of them passes in silence.
"""

from __future__ import annotations

from base64 import b64decode
from urllib.parse import quote, urlencode

from tunflow.errors import LocalError
from tunflow.protocols.link import Parts, parameters, printable, yes_or_no
from tunflow.single_values import TwoValues, text_json_value

_NETWORKS = {"none": "tcp", "tcp": "tcp", "websocket": "ws", "ws": "ws", "grpc": "grpc", "h2": "http", "xhttp": "xhttp"}
_FLOWS = {"1": "xtls-rprx-direct", "2": "xtls-rprx-vision"}
_SAME = frozenset({"allowInsecure", "alpn", "fp", "path", "pbk", "sid", "udp", "flow", "mode"})
_OWN = frozenset({"remarks", "obfs", "obfsParam", "tls", "peer", "sni", "xtls", "alterId", "aid"})
_HARMLESS = frozenset({"mux", "fragment"})


def parts_of_rocket(scheme: str, rest: str) -> Parts | None:
    """The link, behind its `://`, in the usual form; None if it is none of these. Raises LocalError.

    The method stands in it as `encryption` where it says something.
    """
    body, _, tag = rest.partition("#")
    body, _, query = body.partition("?")
    user = _decoded(body.removesuffix("/"))
    if user is None:
        return None
    method, colon, user = user.partition(":") if ":" in user.partition("@")[0] else ("auto", ":", user)
    identity, at, where = user.rpartition("@")
    if not colon or not at:
        return None
    values = parameters(scheme, query, _SAME | _OWN, _HARMLESS)
    made = {key: values[key] for key in _SAME if key in values}
    network = values.get("obfs", "none")
    if network not in _NETWORKS:
        accepted = ", ".join(_NETWORKS)
        raise LocalError(f"obfs={printable(network)} in a {scheme}:// link is not supported; {accepted} are")
    if values.get("alterId", values.get("aid", "0")) != "0":
        raise LocalError("VMess alterId is not supported but as 0 (AEAD headers)")
    made["type"] = _NETWORKS[network]
    made["host"] = _host(values.get("obfsParam", ""))
    if made["type"] == "grpc":
        made["serviceName"] = made.pop("path", "")
    has_tls = yes_or_no(scheme, "tls", values.get("tls"), default=False)
    made["security"] = "none" if not has_tls else "reality" if values.get("pbk") else "tls"
    made["sni"] = values.get("peer") or values.get("sni") or ""
    if method not in {"auto", "none"} or scheme == "vmess":
        made["encryption"] = method
    if (flow := values.get("xtls", "0")) != "0":
        made["flow"] = _FLOWS.get(flow, flow)
    query = urlencode({key: value for key, value in made.items() if value})
    return Parts(quote(identity, safe=""), where, query, values.get("remarks") or tag or None)


def _host(text: str) -> str:
    """The Host field: the text, or what JSON with fields has of it."""
    try:
        fields = text_json_value(text)
    except TwoValues as error:
        raise LocalError(f"obfsParam: {error}") from None
    except ValueError:
        return text
    if not isinstance(fields, dict) or set(fields) - {"Host", "host"}:
        raise LocalError("obfsParam is a host name, or JSON with Host and no more")
    if len(set(map(str, fields.values()))) > 1:
        raise LocalError("obfsParam has Host and host, with two values")
    return str(next(iter(fields.values()), ""))


def _decoded(text: str) -> str | None:
    """UTF-8 text from base64 in either alphabet; None if it is not that."""
    digits = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return b64decode(digits + "=" * (-len(digits) % 4), validate=True).decode()
    except ValueError:
        return None
