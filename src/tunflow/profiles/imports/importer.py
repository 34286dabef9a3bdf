"""Makes a profile of what other programs call a configuration: links, SIP008, subscriptions, Clash YAML, VPN files."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tunflow.errors import BadPacket, LocalError
from tunflow.profiles import file as profile_file
from tunflow.profiles.imports.clash import read_clash
from tunflow.profiles.imports.draft import Draft
from tunflow.profiles.imports.fetch import fetch
from tunflow.profiles.imports.kinds import kind_of
from tunflow.profiles.imports.openvpn import is_openvpn_file, read_file
from tunflow.profiles.imports.openvpn import provider_of_file as openvpn_provider
from tunflow.profiles.imports.shadowvpn import provider_of_file
from tunflow.profiles.imports.subscription import name_from, name_of, server_list_untrusted
from tunflow.profiles.imports.told import Told
from tunflow.profiles.imports.wireguard import provider_of_config
from tunflow.profiles.profile import Profile
from tunflow.profiles.sections.rules import GroupSection, ServerSection
from tunflow.profiles.way_out import way_out
from tunflow.protocols.shadowvpn import looks_like as is_shadowvpn_file
from tunflow.protocols.wireguard.config_file import is_config_file
from tunflow.urls import NotAURL, parse_url

GROUP = "servers"
"""The group that holds all servers of a list."""


class Source(NamedTuple):
    """Bytes to import, where they are from in words fit for an error, and a name for what comes of them."""

    content: bytes
    label: str
    name: str
    folder: Path | None = None
    """Where files are that it names; None when it is no file itself."""

    def read(self, name: str) -> bytes:
        """A file that it names. Raises LocalError."""
        if self.folder is None:
            raise LocalError(f"{name} is another file: import this from a file beside it")
        return read_file(self.folder / name)


class Imported(NamedTuple):
    """A profile, and what is to be told of its source."""

    profile: Profile
    told: list[Told]
    is_whole: bool = False
    """Whether it was one configuration, which means something else without what was lost, and no list."""
    is_usable: bool = True
    """Whether any of its servers is left."""

    @property
    def lost(self) -> list[Told]:
        """What the profile has not."""
        return [each for each in self.told if each.is_lost]


def read_source(given: str, fetch: Callable[[str], bytes] = fetch) -> Source:
    """What a user means by a link, a file, `-` for stdin, or a web address. Raises LocalError or RemoteError."""
    if not given:
        raise LocalError("nothing is named to import: a link, a file, - or https://… is accepted")
    if given == "-":
        return Source(sys.stdin.buffer.read(profile_file.LARGEST + 1), "stdin", "imported")
    scheme = given.partition("://")[0].lower() if "://" in given else ""
    if scheme in {"http", "https"}:
        try:
            host = parse_url(given).host
        except NotAURL:
            host = ""
        if not host:
            raise LocalError("a subscription's URL reads https://HOST/PATH")
        return Source(fetch(given), host, name_from(host))
    if scheme:
        return Source(given.encode(errors="replace"), "the link", name_of(given))
    try:
        with Path(given).open("rb") as file:
            content = file.read(profile_file.LARGEST + 1)
            return Source(content, given, name_from(Path(given).stem), Path(given).parent)
    except OSError as error:
        raise LocalError(
            f"cannot read {given}: {error.strerror} (a link, a file, - or https://… is accepted)"
        ) from None


def import_profile(source: Source, name: str | None = None) -> Imported:
    """The profile that a source describes. Raises LocalError when nothing in it can be used."""
    if len(source.content) > profile_file.LARGEST:
        raise LocalError(f"{source.label}: more than {profile_file.LARGEST} bytes is no list of servers")
    if is_shadowvpn_file(source.content):
        keys = provider_of_file(source.content.decode(errors="replace").splitlines(), source.label)
        return Imported(Profile(name=name or source.name, **keys), [], True)
    if is_config_file(source.content):
        keys = provider_of_config(source.content, source.label)
        return Imported(Profile(name=name or source.name, **keys), [], True)
    if is_openvpn_file(source.content):
        keys = openvpn_provider(source.content, source.label, source.read)
        return Imported(Profile(name=name or source.name, **keys), [], True)
    if is_clash(source.content):
        return _whole(read_clash(source.content.decode("utf-8-sig"), source.label, fetch), name or source.name)
    if (kind := kind_of(source.content)) is not None:
        raise LocalError(f"{source.label} is {kind}")
    try:
        links, skipped = server_list_untrusted(source.content)
    except BadPacket as error:
        raise LocalError(f"{source.label} {error}") from None
    if len(links) == 1:
        ((only, link),) = links.items()
        return Imported(Profile(name=name or only, **way_out((link,))), skipped)
    sections = {each: ServerSection(url=link) for each, link in links.items()}
    group = _group_name(sections)
    profile = Profile(
        name=name or source.name,
        servers=sections,
        groups={group: GroupSection(type="select", servers=tuple(sections))},
        rules=(f"MATCH,{group}",),
    )
    return Imported(profile, skipped)


def _whole(draft: Draft, name: str) -> Imported:
    """What became of a whole configuration."""
    profile = draft.profile(name)
    return Imported(profile, draft.told, True, draft.is_usable)


_CLASH = re.compile(rb"^(?:proxies|proxy-groups|rules|proxy-providers|rule-providers)[ \t]*:", re.MULTILINE)


def is_clash(content: bytes) -> bool:
    """Whether it looks like a Clash configuration."""
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return False
    return _CLASH.search(content) is not None


def _group_name(taken: dict[str, ServerSection]) -> str:
    name = GROUP
    while name in taken:
        name += "-all"
    return name
