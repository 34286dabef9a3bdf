"""The entries of a list of servers: which of them are chosen, and what they are called here."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from tunflow.errors import LocalError
from tunflow.profiles.imports.clash_text import clash_text
from tunflow.profiles.imports.import_notice import ImportNotice
from tunflow.profiles.imports.subscription import server_list_untrusted
from tunflow.profiles.imports.surge_entries import line_entries, looks_like_lines
from tunflow.profiles.imports.yaml_lines import YAMLDocument


class ProvidedServer(NamedTuple):
    """A server of a list: as Clash has it, or as a link."""

    values: dict[str, Any]
    place: str
    line: int | None = None
    link: str | None = None


class ProvidedList(NamedTuple):
    """The servers of a list, and its entries that are none."""

    servers: list[ProvidedServer]
    skipped: list[ImportNotice]


def entries_of(content: bytes, place: str) -> ProvidedList:
    """The entries of a list of servers: Clash's YAML, Surge's lines, or links. Raises LocalError or BadPacket."""
    clash = clash_text(content)
    if clash is not None and re.search(r"""^[ ]?["']?proxies["']?[ \t]*:""", clash, re.MULTILINE):
        document = YAMLDocument(clash, place)
        proxies = document.data.get("proxies") if isinstance(document.data, dict) else None
        made = ProvidedList([], [])
        for number, entry in enumerate(proxies if isinstance(proxies, list) else ()):
            at = document.at("proxies", number)
            if isinstance(entry, dict) and isinstance(entry.get("name"), str):
                made.servers.append(ProvidedServer(entry, at))
            else:
                made.skipped.append(ImportNotice(at, "an entry of proxies is a mapping with a name"))
        return made
    text = content.decode("utf-8-sig", "replace")
    if looks_like_lines(text):
        made = ProvidedList([], [])
        lines = line_entries(text, place, lambda _, at, why: made.skipped.append(ImportNotice(at, why)))
        made.servers.extend(ProvidedServer(values, at) for values, at in lines)
        return made
    found = server_list_untrusted(content)
    return ProvidedList(
        [
            ProvidedServer({"name": name, "type": link.partition("://")[0]}, place, None, link)
            for name, link in found.links.items()
        ],
        [ImportNotice(f"{place} {each.place}", each.reason) for each in found.skipped],
    )


def is_chosen(name: str, kind: str, chooser: dict[str, Any]) -> bool:
    """Return True if `filter`, `exclude-filter` and `exclude-type` let a server in. Raises LocalError."""
    wanted, unwanted = chooser.get("filter"), chooser.get("exclude-filter")
    kinds = {each.strip().lower() for each in str(chooser.get("exclude-type") or "").split("|")}
    if isinstance(wanted, str) and wanted and not _found(wanted, name):
        return False
    if isinstance(unwanted, str) and unwanted and _found(unwanted, name):
        return False
    return _CLASH_KINDS.get(kind.lower(), kind.lower()) not in kinds and kind.lower() not in kinds


_CLASH_KINDS = {"ss": "shadowsocks", "ssr": "shadowsocksr"}
"""What `exclude-type` calls them."""


def _found(expressions: str, name: str) -> bool:
    """Return True if one of several expressions with ` between is found in a name. Raises LocalError."""
    try:
        return any(re.search(each, name) for each in expressions.split("`"))
    except (re.error, OverflowError, RecursionError) as error:
        raise LocalError(f"{expressions!r} is not a regular expression: {error}") from None


def renamed(name: str, override: dict[str, Any]) -> str:
    """What a server is called, as `override` of a provider has it. Raises LocalError."""
    changes = override.get("proxy-name")
    for change in changes if isinstance(changes, list) else ():
        if isinstance(change, dict) and isinstance(change.get("pattern"), str):
            try:
                name = re.sub(change["pattern"], str(change.get("target") or ""), name)
            except (re.error, OverflowError, RecursionError, IndexError) as error:
                raise LocalError(f"{change['pattern']!r} is not a regular expression: {error}") from None
    return f"{override.get('additional-prefix') or ''}{name}{override.get('additional-suffix') or ''}"
