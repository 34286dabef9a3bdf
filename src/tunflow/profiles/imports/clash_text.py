"""Which files are Clash's: YAML with its sections, also with quoted keys, and the same as JSON."""

from __future__ import annotations

import json
import re

from tunflow.errors import BadPacket
from tunflow.profiles.imports.foreign_json import loads_untrusted

_SECTIONS = re.compile(
    r"""^(["']?)(?:proxies|proxy-groups|rules|proxy-providers|rule-providers)\1[ \t]*:""", re.MULTILINE
)
_OF_JSON = {"proxies", "proxy-groups", "proxy-providers"}


def clash_text(content: bytes) -> str | None:
    """The YAML of what looks like a Clash configuration; None for anything else."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    if not text.lstrip().startswith("{"):
        return text if _SECTIONS.search(text) else None
    try:
        data = loads_untrusted(text)
    except BadPacket:
        return None
    if not isinstance(data, dict) or _OF_JSON.isdisjoint(data):
        return None
    return json.dumps(data, indent=1, ensure_ascii=False)
