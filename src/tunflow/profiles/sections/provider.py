"""The provider that a profile names, made."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from tunflow.errors import LocalError
from tunflow.profiles.profile import Profile
from tunflow.providers.loader import load_provider
from tunflow.providers.packet_tunnel import PacketTunnelProvider
from tunflow.providers.provider import Provider

_P = TypeVar("_P", bound=Provider)


def make_provider(profile: Profile) -> Provider:
    """The profile's provider, which it must have. Raises LocalError that names the profile's file and line."""
    assert profile.provider is not None
    found = object_of(profile, ("provider",), profile.provider, Provider)
    if profile.filter is not None and profile.filter.enabled and isinstance(found, PacketTunnelProvider):
        raise LocalError(f"{profile.at('filter')}: {profile.provider} is a packet tunnel, whose flows nobody sees")
    return found


def object_of(profile: Profile, where: tuple[str, ...], spec: str, kind: type[_P]) -> _P:
    """An object of the class that a profile names at `where`. Raises LocalError that names the file and line."""
    target, _, name = spec.rpartition(":")
    if target.endswith(".py") and profile.file:  # a relative path starts where the profile is
        spec = f"{Path(profile.file).parent / target}:{name}"
    place = profile.at(*where)
    found = made(load_provider(spec, where=place, kind=kind), place)
    assert isinstance(found, kind)
    return found


def made(chosen: type[Provider], where: str) -> Provider:
    """An object of a provider's class. Raises LocalError."""
    try:
        return chosen()
    except Exception as error:
        raise LocalError(f"{where}: {chosen.__qualname__} cannot be made without arguments: {error}") from error
