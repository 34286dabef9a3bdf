"""`[servers]`, `[groups]`, `[rule_sets]` and `rules`: which flow goes to which server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from tunflow.errors import LocalError
from tunflow.profiles.field_types import ServerLink, WebAddress
from tunflow.profiles.section import Many, Section, wrong_at
from tunflow.profiles.server_fields import FieldError, server_of_fields


class ServerSection(Section):
    """`[servers.NAME]`: one server, or a chain of servers.

    A server is a link (`url`), or a table of its own: `type`, the name of its protocol, and that protocol's fields.
    """

    url: ServerLink | None = Field(default=None, repr=False)
    chain: Many[ServerLink] = Field(default=(), repr=False)
    """First hop first."""

    @model_validator(mode="before")
    @classmethod
    def _of_fields(cls, data: Any) -> Any:
        """The link of a server that is given by its fields."""
        if not isinstance(data, Mapping) or not isinstance(data.get("type"), str):
            return data
        if taken := [key for key in ("url", "chain") if key in data]:
            raise wrong_at(("type",), f"does not go with {taken[0]}")
        try:
            return {"url": server_of_fields(data["type"], {**data}).to_link()}
        except FieldError as error:
            raise wrong_at((error.key,), str(error)) from None
        except LocalError as error:
            raise wrong_at(("type",), str(error)) from None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.url is None) is not bool(self.chain):
            raise ValueError("must have either url or chain, or type with the fields of a protocol")
        return self


class GroupSection(Section):
    """`[groups.NAME]`: servers of which one is used at a time."""

    type: Literal["select", "url-test", "fallback", "load-balance"]
    servers: Many[str] = Field(min_length=1)
    """Names of servers and groups."""
    url: WebAddress | None = None
    """What its servers are asked for, to see which work; any answer counts. None for the usual."""
    interval: Annotated[float, Field(ge=5, le=86400, strict=False)] = 300.0
    """Seconds between two such questions."""
    tolerance: Annotated[float, Field(ge=0, le=60)] = 0.05
    """url-test: seconds by which another server must be faster."""
    strategy: Literal["consistent-hashing", "round-robin", "sticky-sessions"] = "consistent-hashing"
    """load-balance: how a server is chosen."""


class RuleSetSection(Section):
    """`[rule_sets.NAME]`: a list that `RULE-SET,NAME,…` refers to, in a file or fetched by `tunflow rules update`."""

    behavior: Literal["domain", "ipcidr", "classical", "domain-set"]
    """What its lines are: names, prefixes, rules without a target, or names as in Surge's DOMAIN-SET."""
    file: str | None = None
    """Its path; a relative one begins at the profile's directory."""
    url: WebAddress | None = None
    lines: Many[str] = ()
    """The list itself."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.file is not None) + (self.url is not None) + bool(self.lines) != 1:
            raise ValueError("must have either file, url or lines")
        return self
