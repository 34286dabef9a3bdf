"""Which of the ways of this host to name its resolvers is used: systemd-resolved, resolvconf, or the file itself.

systemd-resolved where it runs; the file as well where it does not lead to it. What is used is noted in the record
before it is used, under its method's name with what undoing it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunflow.errors import LocalError
from tunflow.host.network.settings import HostDNS
from tunflow.host.resolvers import resolver_file, resolver_resolvconf, resolver_resolved
from tunflow.host.resolvers.outer_resolvers import nameservers

RESOLVED = "resolved"
RESOLVCONF = "resolvconf"
FILE = "file"
RESOLVED_FOLDERS = ("/run/systemd/resolve/", "/usr/lib/systemd/")
"""Where resolv.conf leads to when programs are to ask systemd-resolved (systemd-resolved.service(8))."""
RESOLVED_LIST = Path("/run/systemd/resolve/resolv.conf")
"""The servers of all links that systemd-resolved knows."""


def apply(dns: HostDNS, device: str, record: dict[str, Any], save: Callable[[], None], state: Path) -> None:
    """Have the host ask `dns`. `record` is updated, and `save` called, before each change. Raises LocalError.

    `state` is the file that `save` keeps the record in.
    """
    path = resolver_file.RESOLV_CONF
    if resolver_resolved.is_running():
        record[RESOLVED] = {"device": device}
        save()
        resolver_resolved.apply(dns, device)
        if FILE not in record and str(path.resolve()).startswith(RESOLVED_FOLDERS):
            return
    elif FILE not in record and resolver_resolvconf.is_in_charge(path):
        record[RESOLVCONF] = {"device": device}
        save()
        if resolver_resolvconf.apply(dns, device, path):
            return
        resolver_resolvconf.undo(device)
        del record[RESOLVCONF]
    saved = resolver_file.inspect(path)
    if saved is None and FILE not in record and resolver_file.restore_unrecorded(state, path):
        saved = resolver_file.inspect(path)
    if saved is not None and not _is_half_written(saved, record):
        record[FILE] = saved
        save()
    if FILE not in record:
        raise LocalError(f"{path} is from a tunnel that left no record: write the host's own resolvers into it")
    resolver_file.write(dns, record[FILE], state)


def _is_half_written(saved: dict[str, Any], record: dict[str, Any]) -> bool:
    """Return True if somebody has emptied our file and not written it yet: then what was there before is used."""
    return FILE in record and saved["text"] is not None and not saved["text"].strip()


def splits_names(path: Path) -> bool:
    """Return True if programs ask systemd-resolved, as `path` says: it alone has resolvers for some domains only."""
    return str(path.resolve()).startswith(RESOLVED_FOLDERS)


def is_in_force(dns: HostDNS, path: Path = resolver_file.RESOLV_CONF) -> bool:
    """Return True if the host's programs ask the resolvers of `dns` as they should, as far as files tell.

    systemd-resolved's list leaves out links that are not asked by default: of those for some domains no file tells.
    """
    own = set(map(str, dns.servers))
    if splits_names(path):
        return bool(dns.match) or bool(own & set(_nameservers(RESOLVED_LIST)))
    asked = set(_nameservers(path))
    return bool(asked) and asked <= own


def _nameservers(path: Path) -> list[str]:
    try:
        return nameservers(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return []


def undo(record: dict[str, Any]) -> None:
    """Undo what `record` names, and take it out. Raises LocalError."""
    if FILE in record:
        resolver_file.restore(record[FILE])
        del record[FILE]
    if RESOLVCONF in record:
        resolver_resolvconf.undo(record[RESOLVCONF]["device"])
        del record[RESOLVCONF]
    if RESOLVED in record:
        resolver_resolved.undo(record[RESOLVED]["device"])
        del record[RESOLVED]


def is_sound(record: dict[str, Any]) -> bool:
    """Return True if what a state file says could have come from `apply`."""
    devices = [record.get(name, {"device": ""}) for name in (RESOLVED, RESOLVCONF)]
    return (
        record.keys() <= {RESOLVED, RESOLVCONF, FILE}
        and all(isinstance(each, dict) and isinstance(each.get("device"), str) for each in devices)
        and (FILE not in record or resolver_file.is_sound(record[FILE]))
    )
