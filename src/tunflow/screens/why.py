"""Why a flow goes where it goes: a page over the view."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import ModalScreen
from textual.widgets import Static

from tunflow.screens.picture import ShownFlow
from tunflow.screens.rates import size


class WhyScreen(ModalScreen[None]):
    """Of one flow; any of the keys below leaves it."""

    CSS = """
    WhyScreen { align: center middle; }
    #why { width: 76; height: auto; border: round; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "dismiss", "Back"),
        ("enter", "dismiss", "Back"),
        ("q", "dismiss", "Back"),
    ]

    def __init__(self, flow: ShownFlow) -> None:
        super().__init__()
        self._flow = flow

    def compose(self) -> ComposeResult:
        """As `Screen.compose`."""
        yield Static("\n".join(why(self._flow)), id="why", markup=False)


def why(flow: ShownFlow) -> list[str]:
    """What is known of a flow, a line each."""
    lines = [
        ("flow", f"{flow.network} from {flow.client} to {flow.target}"),
        ("address", flow.address or "the server finds it"),
        ("program", flow.executable or flow.program or "unknown"),
        ("rule", flow.rule),
        ("way", " -> ".join(flow.path)),
        ("bytes", f"{size(flow.down)}B down, {size(flow.up)}B up"),
        ("since", flow.since),
    ]
    return [f"{name:8} {words}" for name, words in lines]
