"""What `up` and `reload` were told, in a form that passes through a pipe or the control socket, and the profile of it.

The command that the user types does not read the profile itself: the process that serves the tunnel does, so that it
alone pays for the import of what checks it. Secrets are in here: it is never an argument and never logged.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Any

from tunflow.cli.api import API_SECRET_VARIABLE
from tunflow.errors import LocalError
from tunflow.profiles.file_names import is_file_name

if TYPE_CHECKING:
    from tunflow.profiles.profile import Profile

SERVER_VARIABLE = "TUNFLOW_SERVER"
_LISTS = ("servers", "gateways")
_SWITCHES = ("kill_switch", "exclude_lan", "per_app", "on_demand", "replace", "verbose", "stats")


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
    memory_limit: int | None = None
    """Bytes that all flows together may buffer; None for no limit."""
    pcap: str | None = None
    """An absolute path."""
    stats: bool = False
    api: str | None = None
    api_secret: str | None = None
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
        if profile is not None and is_file_name(profile):
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
            None if options.memory_limit == inf else options.memory_limit,
            None if options.pcap is None else os.path.abspath(options.pcap),  # noqa: PTH100 - as for the profile
            options.stats,
            options.api,
            os.environ.get(API_SECRET_VARIABLE),
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
            elif name == "memory_limit":
                right = isinstance(value, int)
            else:
                right = isinstance(value, bool if name in _SWITCHES else str)
            if not right:
                raise LocalError(f"{name}: not of the kind that was expected")
        for name in _LISTS:
            known[name] = tuple(known.get(name, ()))
        if not known.get("profile", "").isprintable():  # what is wrong in it is told by its name, in one line
            raise LocalError("profile: expected a name that can be printed")
        return cls(**known)

    def as_started(self, started: Instructions) -> Instructions:
        """Those of a reload with what the start's command line said and they do not; `profile` is a path in both.

        Switches of the host (the kill switch above all) hold for another profile, too. Servers and how names are looked
        up are said instead of a profile's: they hold while it is the same.
        """
        is_same = self.profile == started.profile
        return replace(
            started,
            profile=self.profile,
            text=self.text,
            servers=self.servers or (started.servers if is_same else ()),
            dns=started.dns if self.dns is None and is_same else self.dns,
            kill_switch=started.kill_switch if self.kill_switch is None else self.kill_switch,
            exclude_lan=started.exclude_lan if self.exclude_lan is None else self.exclude_lan,
            per_app=started.per_app if self.per_app is None else self.per_app,
            gateways=self.gateways or started.gateways,
        )

    def with_path(self) -> Instructions:
        """The same with the path of a profile that is named. Raises LocalError."""
        from tunflow.profiles.store import ProfileStore  # noqa: PLC0415

        if self.profile is None or self.profile.startswith("/"):
            return self
        return replace(self, profile=str(ProfileStore().find(self.profile)))

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
            from tunflow.profiles.server_keys import server_keys  # noqa: PLC0415
            from tunflow.profiles.server_link import ServerLink  # noqa: PLC0415

            changes |= server_keys([ServerLink.of(link) for link in self.servers])
        if self.on_demand is not None:
            changes["on_demand"] = profile.on_demand.model_copy(update={"enabled": self.on_demand})
        if self.dns is not None:
            from tunflow.tunnel.compile import with_dns_mode  # noqa: PLC0415

            profile = with_dns_mode(profile, self.dns)
        return profile.model_copy(update=changes)
