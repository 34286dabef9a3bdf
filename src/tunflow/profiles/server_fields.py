"""A server as a table of a profile: the `type` of its protocol, and that protocol's own fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from difflib import get_close_matches
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from tunflow.errors import LocalError
from tunflow.profiles.section import reason
from tunflow.protocols.contract import Settings
from tunflow.protocols.registry import by_name, parse_server, settings_of


class FieldError(LocalError):
    """A field is wrong; `key` is its name."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(reason)
        self.key = key


def server_of_fields(kind: str, values: Mapping[str, Any]) -> Settings:
    """The server of the protocol `kind` that `values` (with or without their `type`) describe.

    A protocol of several schemes takes its first one where `scheme` is not given. Raises FieldError for a field that is
    unknown, missing or of the wrong type, LocalError for an unknown protocol and for values that make no server.
    """
    protocol = by_name(kind)
    made = settings_of(protocol)
    known = {field.name: field for field in fields(made)}  # type: ignore[arg-type]  # settings are dataclasses
    given = {key: value for key, value in values.items() if key != "type"}
    if "scheme" in known:
        given.setdefault("scheme", protocol.schemes[0])
    for key in given:
        if key not in known:
            close = get_close_matches(key, known, 1)
            hint = f"did you mean {close[0]}?" if close else f"accepted are {', '.join(known)}"
            raise FieldError(key, f"is not a field of {kind}; {hint}")
    for name, field in known.items():
        if name not in given and field.default is MISSING and field.default_factory is MISSING:
            raise FieldError(name, "is missing")
    types = get_type_hints(made)
    for key, value in given.items():
        try:
            TypeAdapter(types[key]).validate_python(value, strict=True)
        except ValidationError as error:
            raise FieldError(key, reason(error.errors()[0])) from None
    server: Settings = made(**given)
    return parse_server(server.to_link())  # which knows what is no server although each field is of its type
