"""The provider that a profile names, made."""

from __future__ import annotations

from pathlib import Path

from tunflow.errors import LocalError
from tunflow.manager.profile import Profile
from tunflow.providers.loader import load_provider
from tunflow.providers.provider import Provider


def make_provider(profile: Profile) -> Provider:
    """The profile's provider, which it must have. Raises LocalError that names the profile's file and line."""
    spec = profile.provider
    assert spec is not None
    target, _, name = spec.rpartition(":")
    if target.endswith(".py") and profile.file:  # a relative path starts where the profile is
        spec = f"{Path(profile.file).parent / target}:{name}"
    where = profile.at("provider")
    return made(load_provider(spec, where=where), where)


def made(chosen: type[Provider], where: str) -> Provider:
    """An object of a provider's class. Raises LocalError."""
    try:
        return chosen()
    except Exception as error:
        raise LocalError(f"{where}: {chosen.__qualname__} cannot be made without arguments: {error}") from error
