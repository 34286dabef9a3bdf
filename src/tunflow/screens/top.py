"""`tunflow top`: flows, servers and the log of a tunnel in a terminal; what was done by key is said in one line.

Rules:
1. A source is asked in a thread, and again only when it has answered and what came is drawn: over a slow line the view
   gets slower, and nothing piles up. What did not change is not drawn.
2. No colour carries meaning: what is chosen has reversed video, what does not work says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Input, RichLog, Static, TabbedContent, TabPane

from tunflow.errors import LocalError, RemoteError
from tunflow.screens.picture import Picture, TunnelSource
from tunflow.screens.rates import FlowLine, Rates, graph, ordered, size
from tunflow.screens.why import WhyScreen

ROWS = 300
"""Flows that are listed at most; a search finds the others."""

FEW = 40
"""Rows that are changed one by one; more of them are made anew."""

LINES = 1000
"""Of the log that are kept."""

NO_FLOWS = "Single flows are written down for an API only: tunflow up PROFILE --api 127.0.0.1:9090"


class TopView(App[None]):
    """Shows `source`, at most every `interval` seconds."""

    CSS = """
    #totals { height: 1; }
    Screen { overflow: hidden; }
    #graph { height: 2; }
    TabbedContent { height: 1fr; }
    ContentSwitcher { height: 1fr; }
    TabPane { height: 1fr; }
    #said { height: 1; text-style: bold; }
    #words { display: none; height: 3; }
    #words.shown { display: block; }
    DataTable { height: 1fr; }
    DataTable > .datatable--cursor { text-style: reverse; }
    TabPane { padding: 0; }
    """
    TITLE = "tunflow"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "show('flows')", "Flows"),
        Binding("2", "show('servers')", "Servers"),
        Binding("3", "show('log')", "Log"),
        Binding("r", "sort('rate')", "Rate", show=False),
        Binding("b", "sort('bytes')", "Bytes", show=False),
        Binding("p", "sort('program')", "Program", show=False),
        Binding("s", "sort('server')", "Server", show=False),
        Binding("n", "sort('target')", "Target", show=False),
        Binding("slash", "find", "Find", key_display="/"),
        Binding("k", "end_flow", "End flow"),
        Binding("t", "measure", "Test"),
        Binding("question_mark", "help", "Keys", key_display="?"),
        Binding("escape", "forget", "Back", show=False),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "interrupt", "Interrupt", show=False, priority=True),
    ]

    def __init__(self, source: TunnelSource, interval: float = 1.0) -> None:
        super().__init__()
        self._source = source
        self._interval = interval
        self._rates = Rates()
        self._lines: list[FlowLine] = []
        self._order, self._backwards = "rate", False
        self._words = ""
        self._drawn: dict[str, list[tuple[str, ...]]] = {}
        self._texts: dict[str, str] = {}
        """What the lines say."""
        self._keys: list[str] = []
        """What the rows of the flows are, from the top."""
        self._members: list[tuple[str, str]] = []
        """Group and member of each row of the servers."""
        self._is_ending = threading.Event()

    # What it is made of.

    def compose(self) -> ComposeResult:
        """As `App.compose`."""
        yield Static("asking the tunnel …", id="totals", markup=False)
        yield Static("", id="graph", markup=False)
        yield Input(placeholder="program, name, rule or server", id="words")
        with TabbedContent(initial="flows"):
            with TabPane("Flows", id="flows"):
                yield DataTable(id="flow-table", cursor_type="row", zebra_stripes=False)
            with TabPane("Servers", id="servers"):
                yield DataTable(id="server-table", cursor_type="row")
            with TabPane("Log", id="log"):
                yield RichLog(id="log-lines", max_lines=LINES, markup=False, wrap=True)
        yield Static("", id="said", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """As Textual calls it: begin to look."""
        self._table("flow-table").add_columns("Program", "Target", "Server", "Down", "Up", "Rate")
        self._table("server-table").add_columns("Group", "Type", "Member", "Delay")
        self._table("flow-table").focus()
        threading.Thread(target=self._follow, daemon=True).start()
        threading.Thread(target=self._look, daemon=True).start()

    def on_unmount(self) -> None:
        """As Textual calls it."""
        self._is_ending.set()

    # Looking, in threads.

    def _look(self) -> None:
        while not self._is_ending.is_set():
            try:
                picture = self._source.look()
            except (LocalError, RemoteError) as error:
                self._in_view(self.say, str(error))
            else:
                self._in_view(self._draw, picture)
            self._is_ending.wait(self._interval)

    def _follow(self) -> None:
        while not self._is_ending.is_set():
            with suppress(LocalError, RemoteError):
                for line in self._source.lines():
                    self._in_view(self._tell, line)
            self._is_ending.wait(self._interval)

    def _in_view(self, call: Callable[..., None], *arguments: object) -> None:
        """Have something done in the view, and wait for it; nothing where it is gone."""

        def guarded() -> None:
            if self.is_running and self.screen_stack:
                with suppress(NoMatches):
                    call(*arguments)

        with suppress(RuntimeError, CancelledError):
            self.call_from_thread(guarded)

    @property
    def _base(self) -> Screen[object]:
        """The screen below those that stand over it."""
        return self.screen_stack[0]

    # Drawing.

    def say(self, line: str) -> None:
        """Tell the user."""
        self._show("said", line)

    def _tell(self, line: str) -> None:
        self._base.query_one("#log-lines", RichLog).write(line)

    def _draw(self, picture: Picture) -> None:
        self._lines = self._rates.take(picture, time.monotonic())
        down, up = self._rates.down[-1], self._rates.up[-1]
        words = f"{picture.title}  down {size(down)}B/s  up {size(up)}B/s"
        words += f"  in all {size(picture.down)}B, {size(picture.up)}B"
        if picture.flows is not None:
            words += f"  {len(picture.flows)} flows"
        self._show("totals", words)
        width = max(10, self.size.width - 20)
        lines = (
            f"{name:4} {graph(rates, width)}" for name, rates in (("down", self._rates.down), ("up", self._rates.up))
        )
        self._show("graph", "\n".join(lines))
        self._draw_flows()
        self._draw_groups(picture)
        if picture.flows is None:
            self.say(NO_FLOWS)

    def _show(self, name: str, text: str) -> None:
        """Have a line say this; nothing is drawn where it does."""
        if self._texts.get(name) != text:
            self._texts[name] = text
            self._base.query_one(f"#{name}", Static).update(text)

    def _draw_flows(self) -> None:
        shown = ordered(self._lines, self._order, self._words, backwards=self._backwards)[:ROWS]
        self._keys = [line.flow.number for line in shown]
        self._fill("flow-table", [_flow_row(line, max(16, self.size.width - 54)) for line in shown])

    def _draw_groups(self, picture: Picture) -> None:
        self._members = [(group.name, member.name) for group in picture.groups for member in group.members]
        rows = [
            (
                group.name if at == 0 else "",
                group.kind if at == 0 else "",
                f"{'*' if member.name == group.now else ' '} {member.name}",
                "does not work" if not member.works else "-" if member.delay is None else f"{member.delay} ms",
            )
            for group in picture.groups
            for at, member in enumerate(group.members)
        ]
        self._fill("server-table", rows)

    def _fill(self, name: str, rows: Sequence[tuple[str, ...]]) -> None:
        """Show these rows; the cursor stays where it is."""
        before = self._drawn.get(name, [])
        self._drawn[name] = list(rows)
        changed = [at for at, row in enumerate(rows) if at >= len(before) or row != before[at]]
        if not changed and len(rows) == len(before):
            return
        table = self._table(name)
        if len(changed) > FEW or len(rows) != len(before):
            cursor = table.cursor_row
            table.clear()
            table.add_rows([Text(cell) for cell in row] for row in rows)
            table.move_cursor(row=min(cursor, len(rows) - 1))
            return
        for at in changed:
            for column, (old, new) in enumerate(zip(before[at], rows[at], strict=True)):
                if old != new:
                    table.update_cell_at(Coordinate(at, column), Text(new), update_width=True)

    def _table(self, name: str) -> DataTable[Text]:
        return self._base.query_one(f"#{name}", DataTable)

    # Keys.

    def action_interrupt(self) -> None:
        """Leave as a program that was interrupted."""
        self.exit(return_code=130)

    def action_show(self, pane: str) -> None:
        """Show a pane."""
        self._base.query_one(TabbedContent).active = pane
        table = {"flows": "#flow-table", "servers": "#server-table", "log": "#log-lines"}[pane]
        self._base.query_one(table).focus()

    def action_sort(self, order: str) -> None:
        """Sort the flows; the same again turns the order round."""
        self._backwards = order == self._order and not self._backwards
        self._order = order
        self.say(f"sorted by {order}{', the other way round' if self._backwards else ''}")
        self._draw_flows()

    def action_find(self) -> None:
        """Ask for words."""
        field = self._base.query_one("#words", Input)
        field.add_class("shown")
        field.focus()

    def action_forget(self) -> None:
        """Show all flows again."""
        field = self._base.query_one("#words", Input)
        field.value = ""
        field.remove_class("shown")
        self.action_show("flows")

    def on_input_changed(self, event: Input.Changed) -> None:
        """As Textual calls it."""
        self._words = event.value
        self._draw_flows()

    def on_input_submitted(self, _: Input.Submitted) -> None:
        """As Textual calls it."""
        self.action_show("flows")

    def action_help(self) -> None:
        """Say which keys there are."""
        self.say("sort: r rate, b bytes, p program, s server, n target; Enter: why, or choose; Esc: all flows")

    def action_end_flow(self) -> None:
        """End the flow under the cursor."""
        row = self._table("flow-table").cursor_row
        if self._base.query_one(TabbedContent).active == "flows" and 0 <= row < len(self._keys):
            self._end(self._keys[row])

    def action_measure(self) -> None:
        """Test the group under the cursor."""
        row = self._table("server-table").cursor_row
        if self._members:
            self.action_show("servers")
            self._measure(self._members[min(max(row, 0), len(self._members) - 1)][0])

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """As Textual calls it: Enter on a row."""
        row = event.cursor_row
        if event.data_table.id == "server-table":
            if row < len(self._members):
                self._choose(*self._members[row])
        elif row < len(self._keys):
            flow = next(line.flow for line in self._lines if line.flow.number == self._keys[row])
            self.push_screen(WhyScreen(flow))

    # Deeds, in threads.

    @work(thread=True, group="deeds")
    def _end(self, number: str) -> None:
        self._do(lambda: self._source.end(number), "ended")

    @work(thread=True, group="deeds")
    def _choose(self, group: str, member: str) -> None:
        self._do(lambda: self._source.choose(group, member), f"{group}: {member} from now on")

    @work(thread=True, group="deeds")
    def _measure(self, group: str) -> None:
        self._in_view(self.say, f"asking the servers of {group} …")
        found: dict[str, int | None] = {}
        self._do(lambda: found.update(self._source.measure(group)), f"{group}: asked")
        answered = sum(delay is not None for delay in found.values())
        if found:
            self._in_view(self.say, f"{group}: {answered} servers answered")

    def _do(self, deed: Callable[[], None], done: str) -> None:
        try:
            deed()
        except (LocalError, RemoteError) as error:
            self._in_view(self.say, str(error))
        else:
            self._in_view(self.say, done)


def _flow_row(line: FlowLine, width: int) -> tuple[str, ...]:
    flow = line.flow
    return (
        _cut(flow.program or "-", 12), _cut(flow.target, width), _cut(flow.server, 12),
        size(flow.down), size(flow.up), size(line.rate),
    )  # fmt: skip


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
