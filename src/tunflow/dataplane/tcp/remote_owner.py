"""Who joins a flow's far side with something, as the far side (`RemoteSocket`) sees it."""

from __future__ import annotations

from typing import Protocol

from tunflow.endpoint import Buffer


class RemoteOwner(Protocol):
    """It is not told of anything within its own calls, but for `RemoteSocket.connected`."""

    @property
    def about(self) -> str:
        """The flow in a few words, without secrets."""

    def remote_stands(self, first: list[Buffer]) -> None:
        """The far side is there, and takes what the client sends; `first` is what it has said already."""

    def remote_failed(self, error: int) -> None:
        """There is no far side, for the reason that `error` (an errno) is; the socket is closed."""

    def service(self) -> None:
        """The far side can be read or written again."""

    def cut(self) -> None:
        """It was lost while nobody used it: end the flow, and close the far side."""


class Nobody:
    """The owner of what is closed."""

    @property
    def about(self) -> str:
        """As `RemoteOwner.about`."""
        return "tcp, closed"

    def remote_stands(self, first: list[Buffer]) -> None:
        """Nobody hears it."""

    def remote_failed(self, error: int) -> None:
        """Nobody hears it."""

    def service(self) -> None:
        """Nobody hears it."""

    def cut(self) -> None:
        """Nothing is left to end."""


NOBODY: RemoteOwner = Nobody()
