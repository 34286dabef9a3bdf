"""`[subscription]`: where a profile's servers come from, so that `tunflow profile update` fetches them again."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from tunflow.profiles.field_types import SignedBy, WebAddress
from tunflow.profiles.section import Section


def _agent(text: str) -> str:
    if not text or not text.isascii() or not text.isprintable():
        raise ValueError("must be printable ASCII, as in clash.meta")
    return text


UserAgent = Annotated[str, AfterValidator(_agent)]


class SubscriptionSection(Section):
    """The address is a secret: whoever knows it has the servers."""

    url: WebAddress = Field(repr=False)
    user_agent: UserAgent | None = None
    """Which program the provider is told it is: some give each program its own format. None for tunflow."""
    key: SignedBy | None = None
    """Only what this minisign key signed is taken; its signature is at `url` with .minisig behind it."""
    partial: bool = False
    """What is not understood of a whole configuration is left out, as with `import --partial`."""
