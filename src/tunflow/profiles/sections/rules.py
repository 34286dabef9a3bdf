"""`[servers]`, `[groups]`, `[server_lists]`, `[rule_sets]` and `rules`: which flow goes to which server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from tunflow.errors import LocalError
from tunflow.profiles.field_types import Moment, SignedBy, WebAddress
from tunflow.profiles.section import Many, Section, wrong_at
from tunflow.profiles.server_fields import FieldError, server_of_fields
from tunflow.profiles.server_link import ServerField, ServerLink
from tunflow.rules.health_question import PATIENCE, parse_statuses


def _statuses(text: str) -> str:
    parse_statuses(text)
    return text


def _expression(text: str) -> str:
    for each in text.split("`"):
        try:
            re.compile(each)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"must be a regular expression: {error}") from None
    return text


Expression = Annotated[str, AfterValidator(_expression)]
"""A regular expression of Python, or several with ` between."""


class ServerSection(Section):
    """`[servers.NAME]`: one server, or a chain of servers.

    A server is a link (`url`), or a table of its own: `type`, the name of its protocol, and that protocol's fields.
    """

    url: ServerField | None = None
    chain: Many[ServerField] = ()
    """First hop first."""

    @property
    def links(self) -> tuple[ServerLink, ...]:
        """The server, or the chain's, first hop first."""
        return self.chain if self.url is None else (self.url,)

    @model_validator(mode="before")
    @classmethod
    def _of_fields(cls, data: Any) -> Any:
        """The link of a server that is given by its fields."""
        if not isinstance(data, Mapping) or not isinstance(data.get("type"), str):
            return data
        if taken := [key for key in ("url", "chain") if key in data]:
            raise wrong_at(("type",), f"does not go with {taken[0]}")
        try:
            server = server_of_fields(data["type"], {**data})
            return {"url": ServerLink(server.to_link(), server)}
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
    servers: Many[str] = ()
    """Names of servers and groups."""
    lists: Many[str] = ()
    """Names of `server_lists`, whose servers are in the group, too."""
    filter: Expression | None = None
    """Only servers of the lists in whose names this regular expression is found."""
    exclude_filter: Expression | None = None
    """Without servers of the lists in whose names this is found."""
    exclude_type: str | None = None
    """Without servers of these protocols, with | between them."""
    url: WebAddress | None = None
    """What its servers are asked for, to see which work. None for the usual."""
    expected_status: Annotated[str, AfterValidator(_statuses)] = "*"
    """Which answers count: statuses of HTTP like `204`, `200/204`, `200-299`; `*` for any."""
    timeout: Annotated[float, Field(ge=0.1, le=60, strict=False)] = PATIENCE
    """Seconds until a server counts as one that does not work."""
    lazy: bool = True
    """Servers are asked only while a flow needs to know."""
    interval: Annotated[float, Field(ge=5, le=86400, strict=False)] = 300.0
    """Seconds between two such questions."""
    tolerance: Annotated[float, Field(ge=0, le=60)] = 0.05
    """url-test: seconds by which another server must be faster."""
    strategy: Literal["consistent-hashing", "round-robin", "sticky-sessions"] = "consistent-hashing"
    """load-balance: how a server is chosen."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.servers and not self.lists:
            raise wrong_at(("servers",), "is missing, and so is lists")
        return self


class ServerListSection(Section):
    """`[server_lists.NAME]`: servers that a provider keeps at an address, fetched again while a tunnel is up."""

    url: WebAddress = Field(repr=False)
    """A secret: whoever knows it has the servers."""
    interval: Annotated[float, Field(ge=60, le=31_536_000, strict=False)] | None = None
    """Seconds after which a tunnel that is up fetches it again; None: only `tunflow rules update` does."""
    key: SignedBy | None = None
    """Only a list that this minisign key signed is taken; its signature is at `url` with .minisig behind it."""
    filter: Expression | None = None
    """Only servers in whose names this regular expression is found."""
    exclude_filter: Expression | None = None
    exclude_type: str | None = None
    """Without servers of these protocols, with | between them."""
    rename: dict[Expression, str] = Field(default_factory=dict)
    """What is put in place of what an expression finds in a name."""
    prefix: str = ""
    """Before each name."""
    suffix: str = ""
    through: str | None = None
    """A server of `servers` through which those of the list are reached."""
    servers: Many[str] = ()
    """Names in `servers` that an import took of it: they stand until it was fetched again."""
    fetched: Moment | None = None
    """When they were taken, or nothing could be."""


class RuleSetSection(Section):
    """`[rule_sets.NAME]`: a list that `RULE-SET,NAME,…` refers to, in a file or fetched by `tunflow rules update`."""

    behavior: Literal["domain", "ipcidr", "classical", "domain-set", "sing-box"]
    """What its lines are: names, prefixes, rules without a target, names as in Surge's DOMAIN-SET, or sing-box's."""
    file: str | None = None
    """Its path; a relative one begins at the profile's directory."""
    url: WebAddress | None = None
    key: SignedBy | None = None
    """Only a list that this minisign key signed is taken; its signature is at `url` with .minisig behind it."""
    lines: Many[str] = ()
    """The list itself."""
    interval: Annotated[float, Field(ge=60, le=31_536_000, strict=False)] | None = None
    """Seconds after which a tunnel that is up fetches the list again; None: only `tunflow rules update` does."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.file is not None) + (self.url is not None) + bool(self.lines) != 1:
            raise ValueError("must have either file, url or lines")
        return self
