"""The tables of a profile as strict values, and what is wrong with one as one line.

Rules: a key that nobody knows is an error, a value is taken as it is written (no `"1500"` for 1500), and no error shows
a value, for it may be a password.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from tunflow.errors import LocalError
from tunflow.profiles.toml_lines import Key
from tunflow.protocols.link import printable

T = TypeVar("T")
S = TypeVar("S", bound="Section")

Many = Annotated[tuple[T, ...], Field(strict=False)]
"""A TOML list of `T`, kept as a tuple."""

_UNKNOWN_KEY = "unknown_key"
_AT_KEY = "at_key"
_EXPECTED = {
    "string_type": "must be a string in quotes",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list in brackets",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "missing": "is missing",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "greater_than": "must be more than {gt}",
    "less_than": "must be less than {lt}",
    "too_short": "must have at least {min_length} item(s)",
    "union_tag_invalid": "must have {discriminator} = {expected_tags}",
    "union_tag_not_found": "must have the key {discriminator}",
}
"""What pydantic's kinds of error mean to somebody who writes TOML."""


class Section(BaseModel):
    """A table of a profile."""

    # Built when the first profile is read, all sections at once: `up` waits for each that is built at import.
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            accepted = [field.alias or name for name, field in cls.model_fields.items()]
            for key in data:
                if key not in accepted:
                    close = get_close_matches(str(key), accepted, 1)
                    hint = f"did you mean {close[0]}?" if close else f"accepted are {', '.join(accepted)}"
                    raise PydanticCustomError(_UNKNOWN_KEY, "is not a key; {hint}", {"key": (key,), "hint": hint})
        return data

    @classmethod
    def parse(cls, data: Mapping[str, Any], where: str, lines: Mapping[Key, int] | None = None) -> Self:
        """The section that `data` holds. Raises LocalError that begins with `where`, the line and the key."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise LocalError(explain(error.errors(), data, where, lines or {})) from None


def wrong_at(key: Key, why: str) -> PydanticCustomError:
    """For a validator of a whole table to raise: what is wrong with the `key` in it."""
    return PydanticCustomError(_AT_KEY, "{reason}", {"key": key, "reason": why})


def explain(errors: Sequence[ErrorDetails], data: Mapping[str, Any], where: str, lines: Mapping[Key, int]) -> str:
    """One line about the first of `errors`: place, key, and what is accepted."""
    error = errors[0]
    context = error.get("ctx", {})
    key = _key_of(error["loc"], data, error["type"] == "missing")
    if error["type"] in {_UNKNOWN_KEY, _AT_KEY}:
        key = (*key, *context["key"])
    said = reason(error)
    line = next((lines[key[:size]] for size in range(len(key), 0, -1) if key[:size] in lines), None)
    place = where if line is None else f"{where}:{line}"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{place}: {dotted(key)} {said}{more}" if key else f"{place}: {said}{more}"


def reason(error: ErrorDetails) -> str:
    """What is wrong, and what is accepted, in the words of somebody who writes TOML."""
    wanted = _EXPECTED.get(error["type"])
    return wanted.format(**error.get("ctx", {})) if wanted else error["msg"].removeprefix("Value error, ")


def dotted(key: Key) -> str:
    """A key as people write it: `servers.home.url`, `rules[3]`; fit for a terminal, also where it was quoted."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{printable(part)}" if text else printable(part)
    return text


def _key_of(location: tuple[str | int, ...], data: Any, missing: bool) -> Key:
    """The key that pydantic's location stands for: without the names that it gives to members of a union."""
    key: Key = ()
    for number, part in enumerate(location):
        is_last = number == len(location) - 1
        if isinstance(data, Mapping) and isinstance(part, str):
            if part not in data and not (missing and is_last):
                continue
            data = data.get(part)
        elif isinstance(data, Sequence) and not isinstance(data, str) and isinstance(part, int):
            data = data[part] if part < len(data) else None
        else:
            continue
        key = (*key, part)
    return key
