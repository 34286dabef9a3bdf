"""The list that hosts are added to while the filter runs: who runs a network lets a site in, and edits no file for it.

It is the first of a profile's lists that allows, is a file, and counts for everybody at any time. Nothing is written
before the list with the new line was read and lets the host in, and then the line alone is appended: what stands there
stays as it is.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from tunflow.errors import LocalError
from tunflow.filter.block_list import BlockList
from tunflow.filter.list_line import DomainRule, parse_line
from tunflow.host.rights.open_file import OpenFile
from tunflow.paths import parse_path
from tunflow.profiles.sections.filter import FilterSection, ListSection
from tunflow.tunnel.filter_lists import file_text

LARGEST = 1 << 20
"""Bytes of a list that is added to: it is read again each time."""


def allow_section(section: FilterSection) -> ListSection | None:
    """The list of a filter that hosts are added to; None where there is none."""
    for each in section.lists:
        is_for_all = not (each.schedule or each.apps or each.uids or each.clients)
        if each.action == "allow" and each.file is not None and is_for_all:
            return each
    return None


class AllowList:
    """That list as it is now, and as it would be with another host."""

    def __init__(self, section: FilterSection, base: Path, opens: OpenFile) -> None:
        """Read it; `base` is where relative paths begin. Raises LocalError, also where there is none."""
        found = allow_section(section)
        if found is None or found.file is None:
            raise LocalError(
                'the profile has no list to add to: [[filter.lists]] with action = "allow" and a file, for everybody'
            )
        self.name = found.name
        self._path = base / parse_path(found.file)
        self._opens = opens
        self._lines = file_text(found.name, self._path, opens).lines
        if sum(map(len, self._lines)) > LARGEST:
            raise LocalError(f"{self._path} is larger than {LARGEST:,} bytes: add to it by hand, and tunflow reload")

    def names(self, host: str) -> bool:
        """Return True if it has the host, in normal form, already."""
        return BlockList(self.name, self._lines).find(host) is not None

    def with_host(self, host: str) -> BlockList:
        """What it would be with the host, and all below it. Raises LocalError for what is no host to a list."""
        if not all(isinstance(each, DomainRule) and each.name == host for each in parse_line(host)):
            raise LocalError(f"{host[:80]!r} is no host that a list can name")
        return BlockList(self.name, (*self._lines, host))

    def append(self, host: str, now: datetime) -> None:
        """Write the host down. Raises LocalError."""
        line = f"\n# {now.isoformat(timespec='seconds')}: let in by the API\n{host}\n"
        try:
            opened = self._opens(self._path, True)
            try:
                os.write(opened, line.encode())
            finally:
                os.close(opened)
        except OSError as error:
            raise LocalError(f"cannot write {self._path}: {error.strerror}") from None
