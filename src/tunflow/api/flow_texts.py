"""The flows of the moment as JSON: what stays the same of a flow is written once, so a second costs counts only."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from tunflow.api import shapes

if TYPE_CHECKING:
    from tunflow.dataplane.flow_book import FlowEntry


class _Written(NamedTuple):
    hostname: str | None
    """As it was when this was written: a flow's first bytes may tell it later."""
    rest: str
    """The flow's object behind its counts."""


class FlowTexts:
    """Writes flows; to be asked by one thread."""

    def __init__(self) -> None:
        self._written: dict[int, _Written] = {}

    def connections(self, entries: Iterable[FlowEntry], up: int, down: int, memory: int, inbound: str) -> str:
        """All flows as `/connections` has them, with the bytes of all that ever were. `inbound` is how they came in."""
        before, self._written = self._written, {}
        texts = [f'{{"downloadTotal": {down}, "uploadTotal": {up}, "memory": {memory}, "connections": [']
        separator = ""
        for entry in entries:
            written = before.get(entry.number)
            if written is None or written.hostname != entry.flow.hostname:
                facts = json.dumps(shapes.connection(entry, inbound), ensure_ascii=False)
                written = _Written(entry.flow.hostname, facts[1:])
            self._written[entry.number] = written
            counts = f'"upload": {entry.carrier.bytes_up}, "download": {entry.carrier.bytes_down}, '
            texts += (separator, "{", counts, written.rest)
            separator = ", "
        texts.append("]}")
        return "".join(texts)
