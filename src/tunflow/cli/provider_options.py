"""What the command line says about a provider: its class and its configuration."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunflow.errors import LocalError
from tunflow.providers.configuration import TunnelProviderProtocol
from tunflow.providers.loader import load_provider
from tunflow.providers.provider import Provider
from tunflow.single_values import TwoValues, put


def provider_class(spec: str) -> type[Provider]:
    """The class that `--provider` names; modules of the working directory are found. Raises LocalError."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    return load_provider(spec, where="--provider")


def configuration_of(pairs: Sequence[str]) -> TunnelProviderProtocol:
    """`--config KEY=VALUE` as a provider's configuration; values are text. Raises LocalError."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise LocalError(f"--config {pair!r}: expected KEY=VALUE")
        try:
            put(found, key, value)
        except TwoValues as error:
            raise LocalError(f"--config: {error}") from None
    return TunnelProviderProtocol(found)
