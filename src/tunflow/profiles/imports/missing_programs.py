"""Servers of a profile that stand on programs which are not on this machine: said at once, and not when one is used."""

from __future__ import annotations

from collections.abc import Iterator

from tunflow.errors import LocalError
from tunflow.outbound.plugin_path import find_program
from tunflow.profiles.imports.import_notice import ImportNotice
from tunflow.profiles.profile import Profile
from tunflow.profiles.server_link import ServerLink
from tunflow.protocols.contract import StandsOnProgram


def missing_programs(profile: Profile) -> list[ImportNotice]:
    """What is to be installed, a line for each server."""
    notices = []
    for name, link in _links(profile):
        if not isinstance(link.server, StandsOnProgram) or link.server.program is None:
            continue
        try:
            find_program(link.server.program)
        except LocalError as error:
            notices.append(ImportNotice(name, str(error), is_lost=False))
    return notices


def _links(profile: Profile) -> Iterator[tuple[str, ServerLink]]:
    yield from (("server", link) for link in profile.server or ())
    for name, section in profile.servers.items():
        yield from ((name, link) for link in section.links)
