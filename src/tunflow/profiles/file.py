"""Reads a profile from a TOML file and writes it back.

A profile may hold passwords: it is written with mode 0600 and replaced in one step, never left half written. What is
written into an existing file keeps its comments and order.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tunflow.errors import LocalError
from tunflow.profiles.atomic_file import write_atomically
from tunflow.profiles.profile import Profile, is_profile_name
from tunflow.profiles.toml_lines import lines_of

LARGEST = 4 * 1024 * 1024
"""Bytes of the largest profile: rules by the thousand belong into a rule set."""


def load(path: Path, warn: Callable[[str], None] = lambda _: None) -> Profile:
    """The profile in a file. Raises LocalError with file, line and key.

    `warn` is told when others than the owner may read a password in it.
    """
    text = read(path)
    profile = parse(text, str(path), path.name.removesuffix(".toml"))
    if path.stat().st_mode & 0o077 and holds_secrets(profile):
        warn(f"{path} holds a password and others may read it: chmod 600 {path}")
    return profile


def parse(text: str, file: str, name: str = "") -> Profile:
    """The profile that a TOML text holds; `file` stands in errors, `name` is used if it has none. Raises LocalError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LocalError(f"{file}: not valid TOML: {error}") from None
    except RecursionError:
        raise LocalError(f"{file}: not valid TOML: nested too deep") from None
    lines = lines_of(text)
    if "name" not in data and is_profile_name(name):
        data["name"] = name
    return Profile.parse(data, file, lines).located(file, lines)


def save(profile: Profile, path: Path) -> None:
    """Write a profile with mode 0600, keeping comments of the file that is there. Raises LocalError."""
    import tomlkit  # noqa: PLC0415
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415

    try:
        document = tomlkit.parse(read(path)) if path.exists() else tomlkit.document()
    except (TOMLKitError, LocalError):
        document = tomlkit.document()
    _update(document, as_data(profile))
    write_atomically(path, (tomlkit.dumps(document).rstrip("\n") + "\n").encode(), private=True)


def as_data(profile: Profile) -> dict[str, Any]:
    """What a profile says, as TOML holds it, without what it leaves to defaults."""
    data = profile.model_dump(mode="python", exclude_unset=True)
    data["provider_configuration"] = profile.provider_configuration
    return {key: _plain(value) for key, value in data.items() if value not in ({}, (), None)}


def holds_secrets(profile: Profile) -> bool:
    """Return True if there may be a password in it."""
    links = [
        *profile.server,
        *(link for section in profile.servers.values() for link in section.links),
    ]
    return bool(profile.provider_configuration or profile.subscription) or any(
        "@" in link.text or link.text.startswith("ss://") for link in links
    )


def read(path: Path) -> str:
    """A profile's text. Raises LocalError."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise LocalError(f"{path}: more than {LARGEST} bytes is no profile")
        return content.decode()
    except OSError as error:
        raise LocalError(f"cannot read the profile {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise LocalError(f"{path}: not UTF-8 text (byte {error.start})") from None


def _plain(value: Any) -> Any:
    """A value as TOML has it: lists for tuples, and no key without a value."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _update(table: Any, data: Mapping[str, Any]) -> None:
    """Make a tomlkit table say what `data` says, touching only what differs."""
    for key in [key for key in table if key not in data]:
        del table[key]
    plain_first = sorted(data.items(), key=lambda item: isinstance(item[1], dict) or _is_tables(item[1]))
    for key, value in plain_first:
        if isinstance(value, dict) and isinstance(table.get(key), dict):
            _update(table[key], value)
        elif key not in table or table[key] != value:
            table[key] = _long(value) if _is_long(value) else value


LONG = 32
"""Texts of a list from which each has a line of its own."""


def _is_long(value: object) -> bool:
    return isinstance(value, list) and len(value) >= LONG and all(isinstance(each, str) for each in value)


def _long(texts: list[str]) -> Any:
    """A list as tomlkit reads it: put together one by one it takes the square of its length."""
    import tomlkit  # noqa: PLC0415

    lines = "".join(f"  {tomlkit.item(each).as_string()},\n" for each in texts)
    return tomlkit.value(f"[\n{lines}]")


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)
