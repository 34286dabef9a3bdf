"""What a server of a group is asked for, to see how it does: an address, how long it may take, which answers count."""

from __future__ import annotations

from dataclasses import dataclass

from tunflow.numbers import NotANumber, whole_number

PATIENCE = 5.0
"""Seconds until a server counts as one that does not work."""

Statuses = tuple[tuple[int, int], ...]
"""Ranges of HTTP's status codes; none for any."""


@dataclass(frozen=True, slots=True)
class HealthQuestion:
    """One question."""

    url: str | None = None
    """None for the usual."""
    patience: float = PATIENCE
    """Seconds."""
    statuses: Statuses = ()

    def is_answered_by(self, status: int) -> bool:
        """Return True if an answer with this status counts."""
        return not self.statuses or any(first <= status <= last for first, last in self.statuses)


USUAL = HealthQuestion()


def parse_statuses(text: str) -> Statuses:
    """`204`, `200/204`, `200-299`; `*` for any. Raises ValueError."""
    if text.strip() in {"*", ""}:
        return ()
    found = []
    for part in text.split("/"):
        first, dash, last = part.strip().partition("-")
        try:
            span = whole_number(first, 599), whole_number(last if dash else first, 599)
        except NotANumber:
            raise ValueError(f"{part!r} is no status of HTTP; 204, 200/204, 200-299 and * are") from None
        if not 100 <= span[0] <= span[1]:
            raise ValueError(f"{part!r} is no status of HTTP; 204, 200/204, 200-299 and * are")
        found.append(span)
    return tuple(found)
