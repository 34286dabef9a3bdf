"""Who is told of the flows of a local port, so that they can be shown."""

from __future__ import annotations

from collections.abc import Callable

from tunflow.conduit import Carrier
from tunflow.endpoint import Endpoint

NoteFlow = Callable[[str, Endpoint, Carrier, Endpoint], None]
"""Is given the protocol (`flow.TCP` or `UDP`), client, what carries the flow, and its target."""
