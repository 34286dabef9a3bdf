"""What a bug ends: the innermost of these that it happened in, and nothing else (docs/adr/0072)."""

from __future__ import annotations

from abc import abstractmethod


class Contained:
    """Something that a bug in it ends alone. It costs its instances nothing: no slot, no metaclass."""

    __slots__ = ()

    @property
    @abstractmethod
    def about(self) -> str:
        """What it is, in a few words for the log, without secrets."""

    @abstractmethod
    def cut(self) -> None:
        """End, and give everything back, as if the far side had failed; may be called at any moment."""


class Lost(Contained):
    """What is gone with the call that failed, so that nothing is left to end."""

    __slots__ = ("_about",)

    def __init__(self, about: str) -> None:
        self._about = about

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return self._about

    def cut(self) -> None:
        """As `Contained.cut`."""
