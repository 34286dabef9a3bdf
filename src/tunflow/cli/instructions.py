"""What `up` and `reload` were told, in a form that passes through a pipe or the control socket, and the profile of it.

The command that the user types does not read the profile itself: the process that serves the tunnel does, so that it
alone pays for the import of what checks it. Secrets are in here: it is never an argument and never logged.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tunflow.errors import LocalError

if TYPE_CHECKING:
    from tunflow.profiles.profile import Profile

SERVER_VARIABLE = "TUNFLOW_SERVER"
_LISTS = ("servers", "gateways")
_SWITCHES = ("kill_switch", "exclude_lan", "per_app", "on_demand", "replace", "verbose")


@dataclass(frozen=True, slots=True)
class Instructions:
    """A profile, and what the command line says otherwise; None where it says nothing."""

    profile: str | None = None
    """A saved profile's name, or an absolute path."""
    text: str | None = None
    """What the file at `profile` holds, where only the asker may read it."""
    servers: tuple[str, ...] = ()
    dns: str | None = None
    kill_switch: bool | None = None
    exclude_lan: bool | None = None
    per_app: bool | None = None
    gateways: tuple[str, ...] = ()
    on_demand: bool | None = None
    replace: bool = False
    verbose: bool = False
    options: dict[str, Any] | None = None
    """What a provider's start is given; only a program can give it some."""

    @classmethod
    def given(cls, options: argparse.Namespace) -> Instructions:
        """Those of a command line. Raises LocalError when they name no way out."""
        profile = options.profile
        servers = tuple(options.server or (() if profile else os.environ.get(SERVER_VARIABLE, "").split()))
        if profile is None and not servers:
            raise LocalError(
                f"no server given: name a profile, use --server URL or the environment variable {SERVER_VARIABLE}"
            )
        if profile is not None and ("/" in profile or profile.endswith((".toml", ".yaml", ".yml", ".ovpn", ".conf"))):
            profile = os.path.abspath(profile)  # noqa: PTH100 - a symbolic link is not followed: errors name it
        return cls(
            profile,
            None,
            servers,
            options.dns,
            options.kill_switch,
            options.exclude_lan,
            options.per_app,
            tuple(options.gateway or ()),
            options.on_demand,
            options.replace,
            options.verbose,
        )

    def to_json(self) -> bytes:
        """For a pipe."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Instructions:
        """From what `to_json` wrote, or a client sent. Raises LocalError."""
        known = {name: data[name] for name in cls.__slots__ if data.get(name) is not None}
        for name, value in known.items():
            if name in _LISTS:
                right = isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)
            elif name == "options":
                right = isinstance(value, dict)
            else:
                right = isinstance(value, bool if name in _SWITCHES else str)
            if not right:
                raise LocalError(f"{name}: not of the kind that was expected")
        for name in _LISTS:
            known[name] = tuple(known.get(name, ()))
        return cls(**known)

    def make_profile(self) -> Profile:
        """The profile with what the command line says otherwise. Raises LocalError with file, line and key."""
        from tunflow.profiles import store as profile_store  # noqa: PLC0415
        from tunflow.profiles.profile import Profile  # noqa: PLC0415

        if self.text is not None:
            profile = profile_store.parse_text(self.text, self.profile or "profile")
        elif self.profile is not None:
            profile = profile_store.load_profile(self.profile)
            if not profile.enabled:
                raise LocalError(f"{profile.at('enabled')}: enabled is false: this profile is not to be started")
        else:
            profile = Profile()
        tunnel: dict[str, Any] = {}
        if self.kill_switch is not None:
            tunnel["kill_switch"] = self.kill_switch
        if self.exclude_lan is not None:
            tunnel["exclude_lan"] = self.exclude_lan
        if self.per_app is not None:
            tunnel["per_app"] = self.per_app
        if self.gateways:
            tunnel["gateway"] = self.gateways
        changes: dict[str, Any] = {"tunnel": profile.tunnel.model_copy(update=tunnel)} if tunnel else {}
        if self.servers:
            from tunflow.profiles.way_out import way_out  # noqa: PLC0415

            changes |= way_out(self.servers)
        if self.on_demand is not None:
            changes["on_demand"] = profile.on_demand.model_copy(update={"enabled": self.on_demand})
        if self.dns is not None:
            changes["dns"] = profile.dns.model_copy(update={"mode": self.dns})
        return profile.model_copy(update=changes)
