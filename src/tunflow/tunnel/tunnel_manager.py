"""Saved tunnels for programs: NEVPNManager and NETunnelProviderManager over profiles.

A manager is one profile: load it or make it, change it, `save` it. Nothing of it takes effect before that, and a
tunnel that is up keeps the profile that it was started with until it is started anew or reloaded. A profile that
somebody else changed meanwhile is not overwritten: that is a VPNError with the code CONFIGURATION_STALE; `load` helps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, Self

from tunflow.errors import LocalError
from tunflow.profiles import file as profile_file
from tunflow.profiles.profile import Profile
from tunflow.profiles.sections.on_demand import OnDemandRuleSection
from tunflow.profiles.store import ProfileStore
from tunflow.providers.app_rule import AppRule
from tunflow.providers.configuration import TunnelProviderProtocol
from tunflow.providers.on_demand import OnDemandRule
from tunflow.tunnel.app_rules import app_rule
from tunflow.tunnel.vpn_connection import VPNConnection
from tunflow.tunnel.vpn_error import VPNError, VPNErrorCode


class RoutingMethod(IntEnum):
    """NETunnelProviderRoutingMethod."""

    DESTINATION_IP = 1
    """By the tunnel's routes."""
    SOURCE_APPLICATION = 2
    """By `app_rules`."""


class TunnelManager:
    """NEVPNManager: a profile. A new one is called `name` and has the servers that `server` links to."""

    def __init__(self, name: str, server: Sequence[str] = (), *, store: ProfileStore | None = None) -> None:
        self._store = store or ProfileStore()
        self._profile = _checked({"name": name, **({"server": list(server)} if server else {})})
        self.file: Path | None = None
        """Where it is saved; None before that."""
        self._saved = ""
        self.connection = VPNConnection(self)

    @classmethod
    async def load_all(
        cls, *, store: ProfileStore | None = None, skipped: Callable[[str], None] = lambda _: None
    ) -> list[Self]:
        """All saved profiles. `skipped` is told of each that cannot be read, in one line."""
        return await asyncio.to_thread(cls._load_all, store or ProfileStore(), skipped)

    async def load(self) -> None:
        """Read the profile again, and forget changes that were not saved. Raises VPNError."""
        await asyncio.to_thread(self._load, self._store.path(self.name))

    async def save(self) -> None:
        """Write the profile, for its owner only. Raises VPNError."""
        await asyncio.to_thread(self._save)

    async def remove(self) -> None:
        """Delete the saved profile; a tunnel that is up stays up. Raises VPNError."""
        if self.file is None:
            raise VPNError(VPNErrorCode.CONFIGURATION_INVALID, f"there is no saved profile {self.name!r}")
        await asyncio.to_thread(self._store.remove, self.name)
        self.file = None

    @property
    def profile(self) -> Profile:
        """All that the profile says; assign a changed copy for what has no property of its own."""
        return self._profile

    @profile.setter
    def profile(self, value: Profile) -> None:
        self._set(_checked(profile_file.as_data(value)))

    @property
    def name(self) -> str:
        """The profile's name (`localizedDescription`)."""
        return self._profile.name

    @property
    def is_enabled(self) -> bool:
        """True if it may be started. Enabling one disables no other: only one tunnel can be up anyway."""
        return self._profile.enabled

    @is_enabled.setter
    def is_enabled(self, value: bool) -> None:
        self._change(enabled=value)

    @property
    def is_on_demand_enabled(self) -> bool:
        """True if the tunnel, once started, comes and goes by `on_demand_rules`."""
        return self._profile.on_demand.enabled

    @is_on_demand_enabled.setter
    def is_on_demand_enabled(self, value: bool) -> None:
        self._change(on_demand={**self._data().get("on_demand", {}), "enabled": value})

    @property
    def on_demand_rules(self) -> tuple[OnDemandRule, ...]:
        """The first that matches counts. One that can never match is refused."""
        return self._profile.on_demand.made()

    @on_demand_rules.setter
    def on_demand_rules(self, rules: Sequence[OnDemandRule]) -> None:
        sections = [OnDemandRuleSection.of(rule).model_dump(exclude_unset=True) for rule in rules]
        self._change(on_demand={**self._data().get("on_demand", {}), "rules": sections})

    @property
    def app_rules(self) -> tuple[AppRule, ...]:
        """The programs that the tunnel is for (`copyAppRules`)."""
        return tuple(app_rule(section) for section in self._profile.apps if section.action == "tunnel")

    @app_rules.setter
    def app_rules(self, rules: Sequence[AppRule]) -> None:
        sections = [
            {"path": rule.match_path, "uid": rule.match_uid, "cgroup": rule.match_cgroup, "domains": rule.match_domains}
            for rule in rules
        ]
        self._change(apps=[{key: value for key, value in each.items() if value is not None} for each in sections])

    @property
    def routing_method(self) -> RoutingMethod:
        """How it is decided what goes into the tunnel."""
        return RoutingMethod.SOURCE_APPLICATION if self._profile.apps else RoutingMethod.DESTINATION_IP

    @classmethod
    def _load_all(cls, store: ProfileStore, skipped: Callable[[str], None]) -> list[Self]:
        found = []
        for name in store.names():
            manager = cls(name, store=store)
            try:
                manager._load(store.find(name))
            except LocalError as error:
                skipped(str(error))
                continue
            if manager._is_mine():
                found.append(manager)
        return found

    def _is_mine(self) -> bool:
        return True

    def _load(self, path: Path) -> None:
        try:
            text = profile_file.read(path)
            self._profile = profile_file.parse(text, str(path), path.name.removesuffix(".toml"))
        except LocalError as error:
            code = VPNErrorCode.CONFIGURATION_INVALID if path.exists() else VPNErrorCode.CONFIGURATION_READ_WRITE_FAILED
            raise VPNError(code, str(error)) from error
        self._saved, self.file = text, path

    def _save(self) -> None:
        path = self._store.path(self.name)
        try:
            if path.exists() and profile_file.read(path) != self._saved:
                raise VPNError(
                    VPNErrorCode.CONFIGURATION_STALE,
                    f"{path} is not as it was when this was loaded: load it, change it and save it again",
                )
            self._store.save(self._profile)
            self._load(path)
        except VPNError:
            raise
        except LocalError as error:
            raise VPNError(VPNErrorCode.CONFIGURATION_READ_WRITE_FAILED, str(error)) from error

    def _data(self) -> dict[str, Any]:
        return profile_file.as_data(self._profile)

    def _change(self, **changes: Any) -> None:
        self._set(_checked({**self._data(), **changes}))

    def _set(self, profile: Profile) -> None:
        if profile.name != self.name and self.file is not None:
            raise VPNError(VPNErrorCode.CONFIGURATION_INVALID, f"{self.file}: a saved profile keeps its name")
        self._profile = profile


class TunnelProviderManager(TunnelManager):
    """NETunnelProviderManager: a profile whose tunnel is a provider. `load_all` finds those only."""

    def __init__(
        self,
        name: str,
        provider: str | None = None,
        provider_configuration: Mapping[str, Any] | None = None,
        *,
        store: ProfileStore | None = None,
    ) -> None:
        """`provider` is `module:Class`, or an entry point of the group `tunflow.providers`."""
        super().__init__(name, store=store)
        changes = {"provider": provider, "provider_configuration": dict(provider_configuration or {})}
        self._change(**{key: value for key, value in changes.items() if value})

    @property
    def provider(self) -> str | None:
        """`module:Class`, or an entry point's name."""
        return self._profile.provider

    @provider.setter
    def provider(self, value: str) -> None:
        self._change(provider=value)

    @property
    def provider_configuration(self) -> Mapping[str, Any]:
        """What the provider is given; whatever TOML can hold."""
        return self._profile.provider_configuration

    @provider_configuration.setter
    def provider_configuration(self, value: Mapping[str, Any]) -> None:
        self._change(provider_configuration=dict(value))

    @property
    def protocol_configuration(self) -> TunnelProviderProtocol:
        """The configuration as the provider sees it."""
        return self._profile.protocol_configuration()

    def _is_mine(self) -> bool:
        return self._profile.provider is not None


def _checked(data: Mapping[str, Any]) -> Profile:
    try:
        return Profile.parse(data, str(data.get("name", "profile")))
    except LocalError as error:
        raise VPNError(VPNErrorCode.CONFIGURATION_INVALID, str(error)) from error
