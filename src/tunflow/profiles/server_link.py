"""A server in a profile: the link that was written, and the server that it names."""

from __future__ import annotations

from typing import Annotated, NamedTuple, Self

from pydantic import PlainSerializer, PlainValidator
from pydantic_core import PydanticKnownError

from tunflow.errors import LocalError
from tunflow.protocols.contract import Settings
from tunflow.protocols.registry import parse_server


class ServerLink(NamedTuple):
    """Read once, where it enters; `text` is what a file keeps, and may hold a password."""

    text: str
    server: Settings

    @classmethod
    def of(cls, text: str) -> Self:
        """The server that a link names. Raises LocalError, without the password."""
        return cls(text, parse_server(text))

    def __repr__(self) -> str:
        return f"<{self.server.label}>"


def _read(value: object) -> ServerLink:
    if isinstance(value, ServerLink):
        return value
    if not isinstance(value, str):
        raise PydanticKnownError("string_type")
    try:
        return ServerLink.of(value)
    except LocalError as error:
        raise ValueError(str(error)) from None


ServerField = Annotated[ServerLink, PlainValidator(_read), PlainSerializer(lambda link: link.text)]
"""A link that `--server` takes too, as a field of a profile."""
