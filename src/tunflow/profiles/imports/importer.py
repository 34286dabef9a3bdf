"""Makes a profile of what other programs call a configuration: links, SIP008, subscriptions, Clash YAML, VPN files."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from pydantic import ValidationError

from tunflow.errors import BadPacket, LocalError
from tunflow.paths import parse_path
from tunflow.profiles import file as profile_file
from tunflow.profiles.imports.clash import read_clash
from tunflow.profiles.imports.clash_source import Fetch
from tunflow.profiles.imports.clash_text import clash_text
from tunflow.profiles.imports.draft import Draft
from tunflow.profiles.imports.fetch import ServerReply, fetch, fetch_changed, web_address
from tunflow.profiles.imports.foreign_json import loads_untrusted
from tunflow.profiles.imports.import_notice import ImportNotice
from tunflow.profiles.imports.kinds import kind_of
from tunflow.profiles.imports.mobileconfig import MobileConfig
from tunflow.profiles.imports.outline import chain_of, looks_like_outline
from tunflow.profiles.imports.own_file import keys_of_file, read_file
from tunflow.profiles.imports.plist_file import is_signed, looks_like_mobileconfig
from tunflow.profiles.imports.plist_signature import signature_line
from tunflow.profiles.imports.signed import check_signature
from tunflow.profiles.imports.sing_box import is_whole, read_sing_box
from tunflow.profiles.imports.subscription import decoded, name_from, name_of, server_list_untrusted
from tunflow.profiles.imports.surge import read_surge
from tunflow.profiles.imports.surge_lines import looks_like_surge
from tunflow.profiles.imports.xray import is_whole_xray, read_xray
from tunflow.profiles.profile import Profile
from tunflow.profiles.sections.rules import GroupSection, ServerSection
from tunflow.profiles.server_keys import server_keys
from tunflow.profiles.server_link import ServerLink
from tunflow.protocols.registry import by_file
from tunflow.urls import parse_web_address

GROUP = "servers"
"""The group that holds all servers of a list."""


FetchAs = Callable[[str, str | None], ServerReply]
"""An address, and the user agent that asks for it. Raises RemoteError."""


class ImportSource(NamedTuple):
    """Bytes to import, where they are from in words fit for an error, and a name for what comes of them."""

    content: bytes
    label: str
    name: str
    folder: Path | None = None
    """Where files are that it names; None when it is no file itself."""
    address: str | None = None
    """Where on the web it is."""
    answer: ServerReply | None = None
    """What its server said."""
    is_signed: bool = False
    """True if the user's key signed it."""

    def read(self, name: str) -> bytes:
        """A file that it names. Raises LocalError."""
        if self.folder is None:
            raise LocalError(f"{name} is another file: import this from a file beside it")
        return read_file(self.folder / parse_path(name))


class Imported(NamedTuple):
    """A profile, and what is to be told of its source."""

    profile: Profile
    told: list[ImportNotice]
    is_whole: bool = False
    """True if it was one configuration, which means something else without what was lost, and no list."""
    is_usable: bool = True
    """True if any of its servers is left."""
    is_own: bool = False
    """True if it was a profile of tunflow's own, which says everything."""

    @property
    def lost(self) -> list[ImportNotice]:
        """What the profile has not."""
        return [each for each in self.told if each.is_lost]


def read_source(
    given: str, user_agent: str | None = None, fetch: FetchAs | None = None, key: str | None = None
) -> ImportSource:
    """What a user means by a link, a file, `-` for stdin, or a web address. Raises LocalError or RemoteError.

    With a minisign `key` a web address is taken only if that has signed what it holds.
    """
    if not given:
        raise LocalError("nothing is named to import: a link, a file, - or https://… is accepted")
    if given == "-":
        return ImportSource(sys.stdin.buffer.read(profile_file.LARGEST + 1), "stdin", "imported")
    scheme = given.partition("://")[0].lower() if "://" in given else ""
    if scheme in {"http", "https", "ssconf"}:
        address, _, tag = given.partition("#")
        if scheme == "ssconf":  # Outline's: the configuration is behind https
            address = f"https{address[len(scheme) :]}"
        address = web_address(address)
        host = parse_web_address(address).host
        get = fetch or (lambda url, agent: fetch_changed(url, None, user_agent=agent))
        answer = get(address, user_agent)
        assert answer.content is not None, "not changed since nothing"
        if key is not None:
            check_signature(answer.content, address, key, lambda url: get(url, user_agent))
        return ImportSource(
            answer.content, host, name_from(unquote(tag) or host), None, address, answer, key is not None
        )
    if scheme:
        return ImportSource(given.encode(errors="replace"), "the link", name_of(given))
    try:
        with parse_path(given).open("rb") as file:
            content = file.read(profile_file.LARGEST + 1)
            return ImportSource(content, given, name_from(Path(given).stem), Path(given).parent)
    except OSError as error:
        raise LocalError(
            f"cannot read {given}: {error.strerror} (a link, a file, - or https://… is accepted)"
        ) from None


def is_known(content: bytes) -> bool:
    """Return True if it looks like what another program reads, of whichever kind."""
    if (
        looks_like_mobileconfig(content)
        or is_clash(content)
        or looks_like_surge(content)
        or looks_like_outline(content)
        or kind_of(content) is not None
    ):
        return True
    return by_file(content) is not None or _LISTED.match(content) is not None or decoded(content) is not None


_LISTED = re.compile(rb"(?:\xef\xbb\xbf)?(?:\s|#[^\n]*\n|//[^\n]*\n)*(?:\{|\[\s*\{|\w[\w+.-]*://)")
"""How a file begins that holds links or JSON."""


def import_profile(source: ImportSource, name: str | None = None, fetch: Fetch | None = fetch) -> Imported:
    """The profile that a source describes; `fetch` gets lists that it names, None where nothing is to be fetched.

    Raises LocalError when nothing in it can be used.
    """
    if len(source.content) > profile_file.LARGEST:
        raise LocalError(f"{source.label}: more than {profile_file.LARGEST} bytes is no list of servers")
    if looks_like_mobileconfig(source.content):
        return _mobileconfig(source, name or source.name)
    if looks_like_own(source.content):
        return _own(source, name)
    keys = keys_of_file(source.content, source.label, source.read)
    if keys is not None:
        return Imported(Profile(name=name or source.name, **keys), [], True)
    if (clash := clash_text(source.content)) is not None:
        return _whole(read_clash(clash, source.label, fetch), name or source.name)
    if looks_like_outline(source.content):
        links = chain_of(source.content.decode("utf-8-sig", "replace"), source.label)
        return Imported(Profile(name=name or source.name, **server_keys(list(map(ServerLink.of, links)))), [])
    if looks_like_surge(source.content):
        draft = read_surge(source.content.decode("utf-8-sig", "replace"), source.label, fetch)
        return _whole(draft, name or source.name)
    if (kind := kind_of(source.content)) is not None:
        raise LocalError(f"{source.label} is {kind}")
    inside = decoded(source.content)
    if inside and (is_clash(inside) or looks_like_surge(inside) or kind_of(inside)):
        return import_profile(source._replace(content=inside), name, fetch)
    try:
        whole = _whole_json_untrusted(source.content, source.label)
        if whole is not None:
            return _whole(whole, name or source.name)
        found, skipped = server_list_untrusted(source.content)
    except BadPacket as error:
        raise LocalError(f"{source.label} {error}") from None
    if len(found) == 1:
        ((only, link),) = found.items()
        return Imported(Profile(name=name or only, **server_keys((ServerLink.of(link),))), skipped)
    sections = {each: ServerSection(url=ServerLink.of(link)) for each, link in found.items()}
    group = _group_name(sections)
    profile = Profile(
        name=name or source.name,
        servers=sections,
        groups={group: GroupSection(type="select", servers=tuple(sections))},
        rules=(f"MATCH,{group}",),
    )
    return Imported(profile, skipped)


_OWN = re.compile(rb"^(?:server|rules|provider)[ \t]*=|^\[(?:servers\.|groups\.|tunnel\]|filter\]|api\])", re.MULTILINE)


def looks_like_own(content: bytes) -> bool:
    """Return True if it looks like a profile of tunflow's own."""
    return _OWN.search(content) is not None and b"proxies:" not in content and _is_toml(content)


def _is_toml(content: bytes) -> bool:
    try:
        tomllib.loads(content.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
        return False
    return True


def _own(source: ImportSource, name: str | None) -> Imported:
    """A whole profile, with all that it may do to this machine. Raises LocalError."""
    if source.address is not None and not source.is_signed:
        raise LocalError(
            f"{source.label} holds a profile of tunflow's own, which may run code and open ports: "
            "one from the web is taken with --key RW… only, the minisign key that signed it"
        )
    profile = profile_file.parse(source.content.decode(), source.label)
    return Imported(profile.model_copy(update={"name": name or source.name}), [], True, is_own=True)


def _mobileconfig(source: ImportSource, name: str) -> Imported:
    """What became of one of Apple's configuration profiles. Raises LocalError."""
    config = MobileConfig(source.label)
    try:
        if is_signed(source.content):
            config.tell(signature_line(source.content))
        config.read(source.content)
        profile = Profile(name=name, **config.keys)
    except BadPacket as error:
        raise LocalError(f"{source.label} {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise LocalError(f"{source.label}: {where} {first['msg'].removeprefix('Value error, ')}") from None
    return Imported(profile, config.told, True, config.is_usable)


def _whole(draft: Draft, name: str) -> Imported:
    """What became of a whole configuration."""
    profile = draft.profile(name)
    return Imported(profile, draft.told, True, draft.is_usable)


def _whole_json_untrusted(content: bytes, label: str) -> Draft | None:
    """A configuration of sing-box or Xray that is more than servers; None for anything else. Raises BadPacket."""
    text = content.decode("utf-8-sig", "replace").strip()
    data = loads_untrusted(text) if text.startswith("{") else None
    if not isinstance(data, dict):
        return None
    if is_whole(data):
        return read_sing_box(data, label)
    return read_xray(data, label) if is_whole_xray(data) else None


def is_clash(content: bytes) -> bool:
    """Return True if it looks like a Clash configuration."""
    return clash_text(content) is not None


def _group_name(taken: dict[str, ServerSection]) -> str:
    name = GROUP
    while name in taken:
        name += "-all"
    return name
