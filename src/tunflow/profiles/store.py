"""Where profiles live, and which one a user means.

Root's are in `/etc/tunflow/profiles`, everybody else's in `$XDG_CONFIG_HOME/tunflow/profiles` (by default below
`~/.config`). A root whose `XDG_CONFIG_HOME` is set has both, that one first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from tunflow.errors import LocalError
from tunflow.paths import parse_path
from tunflow.profiles import file as profile_file
from tunflow.profiles.file_names import FOREIGN_SUFFIXES, SUFFIX, is_file_name
from tunflow.profiles.profile import Profile, is_profile_name

SYSTEM = Path("/etc/tunflow/profiles")
_EXPECTED = {".ovpn": "openvpn", ".conf": "wireguard"}
"""What a file is read as that looks like nothing."""


def directories(environment: Mapping[str, str] | None = None, uid: int | None = None) -> list[Path]:
    """Where profiles are looked for, in order; new ones go to the first."""
    environment = os.environ if environment is None else environment
    is_root = (os.geteuid() if uid is None else uid) == 0
    config = environment.get("XDG_CONFIG_HOME", "")
    found = [Path(config, "tunflow", "profiles")] if config.startswith("/") else []
    if is_root:
        found.append(SYSTEM)
    elif not found:
        found.append(Path(environment.get("HOME", "/"), ".config", "tunflow", "profiles"))
    return found


class ProfileStore:
    """The profiles of one user."""

    def __init__(self, places: list[Path] | None = None, warn: Callable[[str], None] = lambda _: None) -> None:
        self.places = directories() if places is None else places
        self._warn = warn

    def names(self) -> list[str]:
        """What profiles there are, whether they can be read or not. Raises LocalError for another user's folder."""
        found = (file.removesuffix(SUFFIX) for place in self.places for file in _files(place) if file.endswith(SUFFIX))
        return sorted({name for name in found if is_profile_name(name)})

    def find(self, name: str) -> Path:
        """The file of a saved profile. Raises LocalError that tells what there is."""
        if not is_profile_name(name):
            raise LocalError(f"{name!r} is no profile name; a file is named with a / or .toml in it, as ./home.toml")
        for place in self.places:
            path = place / f"{name}{SUFFIX}"
            if _exists(path):
                return path
        names = ", ".join(self.names())
        raise LocalError(
            f"there is no profile {name!r} in {' or '.join(map(str, self.places))}; "
            + (f"there are: {names}" if names else "there is none yet: tunflow profile add NAME ss://…")
        )

    def path(self, name: str) -> Path:
        """Where a profile of that name is, or would be written."""
        for place in self.places:
            path = place / f"{name}{SUFFIX}"
            if _exists(path):
                return path
        return self.places[0] / f"{name}{SUFFIX}"

    def load(self, name_or_path: str) -> Profile:
        """The profile that a user means by a name, or by a path (with `/` or `.toml` in it). Raises LocalError."""
        if "://" in name_or_path:
            raise LocalError(
                "a profile is a saved one's name or a file: one server's link is given as --server URL, and "
                "tunflow profile import URL saves a subscription"
            )
        if not self.is_path(name_or_path):
            return profile_file.load(self.find(name_or_path), self._warn)
        path = parse_path(name_or_path)
        if not name_or_path.endswith(SUFFIX) and _is_foreign(text := profile_file.read(path), name_or_path):
            return _parse_foreign(text, name_or_path, self._warn)
        return profile_file.load(path, self._warn)

    def is_path(self, text: str) -> bool:
        """Return True if a user means a file by that, and no saved profile. Raises LocalError."""
        return is_file_name(text) or (text.endswith(FOREIGN_SUFFIXES) and not _exists(self.path(text)))

    def save(self, profile: Profile, *, replace: bool = True) -> Path:
        """Write a profile under its name; where. Raises LocalError."""
        path = self.path(profile.name)
        if path.exists() and not replace:
            raise LocalError(f"there is a profile {profile.name!r} already ({path}); use --replace or another name")
        profile_file.save(profile, path)
        return path

    def remove(self, name: str) -> Path:
        """Delete a profile; where it was. Raises LocalError."""
        path = self.find(name)
        try:
            path.unlink()
        except OSError as error:
            raise LocalError(f"cannot remove {path}: {error.strerror}") from None
        return path


def parse_text(text: str, file: str) -> Profile:
    """The profile that a file's text holds: TOML, or what another program reads. Raises LocalError."""
    if not file.endswith(SUFFIX) and _is_foreign(text, file):
        return _parse_foreign(text, file, lambda _: None)
    return profile_file.parse(text, file)


def _is_foreign(text: str, file: str) -> bool:
    """Return True if a file is another program's: by its content, or else by its suffix."""
    from tunflow.profiles.imports import importer  # noqa: PLC0415 (YAML and much else, for who uses it)

    try:
        content = text.encode()
    except UnicodeEncodeError:
        raise LocalError(f"{file}: is no text in UTF-8") from None
    if importer.looks_like_own(content):
        return False
    return file.endswith(FOREIGN_SUFFIXES) or importer.is_known(content)


def _parse_foreign(text: str, file: str, warn: Callable[[str], None]) -> Profile:
    """The profile that another program's file makes, with the files beside it. Raises LocalError for what was lost.

    `warn` is told which servers of a plain list are not taken.
    """
    from tunflow.profiles.imports import importer, own_file  # noqa: PLC0415 (YAML and much else, for who uses it)
    from tunflow.profiles.imports.subscription import name_from  # noqa: PLC0415

    name, folder = name_from(Path(file).stem), parse_path(file).parent
    source = importer.ImportSource(text.encode(), file, name, folder)
    if (expected := _EXPECTED.get(Path(file).suffix)) is not None and not importer.is_known(source.content):
        keys = own_file.keys_of_file(source.content, file, source.read, expected)
        assert keys is not None
        return Profile(name=name, **keys)
    imported = importer.import_profile(source, fetch=None)
    lost = imported.lost
    if lost and (imported.is_whole or not imported.is_usable):
        first = lost[0]
        more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        raise LocalError(f"{first.place}: {first.reason}{more}; tunflow profile import --partial leaves that out")
    for each in lost:
        warn(f"{file}: skipped {each.place}: {each.reason}")
    return imported.profile


def load_profile(name_or_path: str, warn: Callable[[str], None] = lambda _: None) -> Profile:
    """The profile that `tunflow up home` or `up ./home.toml` means. Raises LocalError."""
    return ProfileStore(warn=warn).load(name_or_path)


def _files(folder: Path) -> list[str]:
    """What is in a folder; nothing where there is none. Raises LocalError when it may not be looked into."""
    try:
        return [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _closed(folder, error) from None


def _exists(path: Path) -> bool:
    """Return True if a profile is there. Raises LocalError when its folder may not be read (another user's)."""
    try:
        return path.exists()
    except OSError as error:
        raise _closed(path.parent, error) from None


def _closed(folder: Path, error: OSError) -> LocalError:
    return LocalError(f"cannot look into {folder}: {error.strerror} (HOME or XDG_CONFIG_HOME leads there)")
