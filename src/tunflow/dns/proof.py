"""The seam between the resolver and whoever judges answers by their signatures (DNSSEC, RFC 4035 §5).

A judgement has no I/O: it names the next question, and is given the answer, until it is sure.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Unproved(Exception):
    """An answer whose signatures are wrong or missing; the text says why."""


class Judged(NamedTuple):
    """An answer as a client may have it; or else the question that must be answered before that can be told."""

    message: bytes | None
    asked: bytes | None = None


class Judgement(Protocol):
    """One answer on its way through validation."""

    def go_on(self, answer: bytes | None) -> Judged:
        """Take the answer to what was asked (None at first, and where nobody gave one). Raises Unproved."""


class Validation(Protocol):
    """Judges answers by their signatures."""

    def judge(self, message: bytes, wants_signatures: bool) -> Judgement:
        """Begin with an answer."""
