"""`[[apps]]` and `other_apps`: which programs the tunnel is for."""

from __future__ import annotations

from pwd import getpwnam
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from tunflow.profiles.field_types import Domain
from tunflow.profiles.section import Many, Section

AppAction = Literal["tunnel", "direct", "block"]
"""What becomes of a program's flows: into the tunnel, around it, or refused."""


def _uid(value: object) -> object:
    """A user's name becomes its number."""
    if not isinstance(value, str):
        return value
    try:
        return getpwnam(value).pw_uid
    except KeyError:
        raise ValueError("must be a user of this host, by name or number") from None


class AppSection(Section):
    """One AppRule: a flow matches when every condition that is given holds."""

    path: str | None = None
    """The executable's absolute path; `*` and `?` are wildcards."""
    uid: Annotated[int, Field(ge=0), BeforeValidator(_uid)] | None = None
    """The user that it runs as."""
    cgroup: str | None = None
    """A control group, with all below it."""
    domains: Many[Domain] = ()
    """Where to: these domains and what is below them."""
    action: AppAction = "tunnel"

    @field_validator("path", "cgroup")
    @classmethod
    def _is_absolute(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("/"):
            raise ValueError("must be a path that begins with /")
        return value

    @model_validator(mode="after")
    def _matches_something(self) -> Self:
        if self.path is None and self.uid is None and self.cgroup is None and not self.domains:
            raise ValueError("must have a condition: path, uid, cgroup or domains")
        return self
