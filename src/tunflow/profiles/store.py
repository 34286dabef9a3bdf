"""Where profiles live, and which one a user means.

Root's are in `/etc/tunflow/profiles`, everybody else's in `$XDG_CONFIG_HOME/tunflow/profiles` (by default below
`~/.config`). A root whose `XDG_CONFIG_HOME` is set has both, that one first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from tunflow.errors import LocalError
from tunflow.profiles import file as profile_file
from tunflow.profiles.profile import Profile, is_profile_name

SYSTEM = Path("/etc/tunflow/profiles")
SUFFIX = ".toml"
CLASH_SUFFIXES = (".yaml", ".yml")
OPENVPN_SUFFIX = ".ovpn"
CONF_SUFFIX = ".conf"


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
        if name_or_path.endswith(CLASH_SUFFIXES):
            return _parse_clash(profile_file.read(Path(name_or_path)), name_or_path)
        if name_or_path.endswith(OPENVPN_SUFFIX):
            return _parse_openvpn(profile_file.read(Path(name_or_path)), name_or_path)
        if name_or_path.endswith(CONF_SUFFIX):
            return _parse_conf(profile_file.read(Path(name_or_path)), name_or_path)
        is_path = "/" in name_or_path or name_or_path.endswith(SUFFIX)
        return profile_file.load(Path(name_or_path) if is_path else self.find(name_or_path), self._warn)

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
    """The profile that a file's text holds, as its name says: TOML, or Clash YAML. Raises LocalError."""
    if file.endswith(OPENVPN_SUFFIX):
        return _parse_openvpn(text, file)
    if file.endswith(CONF_SUFFIX):
        return _parse_conf(text, file)
    return _parse_clash(text, file) if file.endswith(CLASH_SUFFIXES) else profile_file.parse(text, file)


def _parse_clash(text: str, file: str) -> Profile:
    """The profile that a Clash YAML makes. Raises LocalError, also for what is not understood."""
    from tunflow.profiles.imports.clash import read_clash  # noqa: PLC0415 (YAML and resolvers, for who uses it)

    draft = read_clash(text, file)
    profile = draft.profile(Path(file).stem)
    lost = [each for each in draft.told if each.is_lost]
    if lost:
        first = lost[0]
        more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        raise LocalError(f"{first.place}: {first.reason}{more}; tunflow profile import --partial leaves that out")
    return profile


def _parse_openvpn(text: str, file: str) -> Profile:
    """The profile that an OpenVPN configuration makes, with the files beside it. Raises LocalError."""
    from tunflow.profiles.imports.openvpn import provider_of_file, read_file  # noqa: PLC0415 (for who uses it)
    from tunflow.profiles.imports.subscription import name_from  # noqa: PLC0415

    folder = Path(file).parent
    name = name_from(Path(file).stem)
    return Profile(name=name, **provider_of_file(text.encode(), file, lambda each: read_file(folder / each)))


def _parse_conf(text: str, file: str) -> Profile:
    """The profile that a wg-quick file makes, or else OpenVPN's. Raises LocalError with its line."""
    from tunflow.profiles.imports.openvpn import is_openvpn_file  # noqa: PLC0415
    from tunflow.profiles.imports.subscription import name_from  # noqa: PLC0415
    from tunflow.profiles.imports.wireguard import provider_of_config  # noqa: PLC0415 (for who uses it)

    if is_openvpn_file(text.encode()):
        return _parse_openvpn(text, file)
    return Profile(name=name_from(Path(file).stem), **provider_of_config(text.encode(), file))


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
    """Whether a profile is there. Raises LocalError when its folder may not be looked into, as another user's HOME."""
    try:
        return path.exists()
    except OSError as error:
        raise _closed(path.parent, error) from None


def _closed(folder: Path, error: OSError) -> LocalError:
    return LocalError(f"cannot look into {folder}: {error.strerror} (HOME or XDG_CONFIG_HOME leads there)")
