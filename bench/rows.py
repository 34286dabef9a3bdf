"""What is measured: one class per way from C to the site, with how to start it and how to run a program
through it.

A row that is running says which processes are its client side, so that their CPU time, memory and
descriptors can be read; the limit has none. A new peer is one more class here and one more entry in `ROWS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from bench.netlab.namespaces import Lab, use_cubic
from bench.netlab.peers import start_shadowsocks_redirect, stop_shadowsocks_redirect
from bench.netlab.tunnel import METHOD, HeldTunnel, run_command, shadowsocks_url


class Row(Protocol):
    """A way from C to the site."""

    name: str

    def start(self, lab: Lab) -> None:
        """Make it ready. Raises RuntimeError."""

    def stop(self) -> None:
        """Take it down."""

    def command(self, argv: Sequence[str]) -> list[str]:
        """`argv` as it is run through this row."""

    def pids(self) -> list[int]:
        """The processes of its client side."""


class Limit:
    """The veth alone: no tunnel, no proxy."""

    name = "limit"

    def start(self, lab: Lab) -> None:
        """Nothing to start."""
        self._lab = lab

    def stop(self) -> None:
        """Nothing to stop."""

    def command(self, argv: Sequence[str]) -> list[str]:
        """Plainly on C."""
        return self._lab.client.command(argv)

    def pids(self) -> list[int]:
        """None."""
        return []


class Redirect:
    """ss-redir behind an nftables redirect, to ss-server: the kernel's own way, in C."""

    name = "ss-redir"

    def start(self, lab: Lab) -> None:
        """Start ss-redir and its rules."""
        self._lab = lab
        self._process = start_shadowsocks_redirect(lab, METHOD)

    def stop(self) -> None:
        """Take the rules back and end it."""
        stop_shadowsocks_redirect(self._lab, self._process)

    def command(self, argv: Sequence[str]) -> list[str]:
        """Plainly on C: the rules catch it."""
        return self._lab.client.command(argv)

    def pids(self) -> list[int]:
        """ss-redir."""
        return [self._process.pid]


class Tunnel:
    """`tunflow run` with one server."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url

    def start(self, lab: Lab) -> None:
        """Start `tunflow run` on a program that waits, with cubic where it waits."""
        self._held = HeldTunnel(lab, self.run_command)
        use_cubic(self._held.command)

    def stop(self) -> None:
        """End it."""
        self._held.stop()

    def run_command(self, argv: Sequence[str]) -> list[str]:
        """A `tunflow run` of its own for `argv`."""
        return run_command(argv, server=self.url, dns="off")

    def command(self, argv: Sequence[str]) -> list[str]:
        """Inside the namespaces that `tunflow run` made."""
        return self._held.command(argv)

    def pids(self) -> list[int]:
        """`tunflow run` and what it forked."""
        return self._held.pids()


ROWS: dict[str, Callable[[], Row]] = {
    "limit": Limit,
    "ss-redir": Redirect,
    "tunflow-ss": lambda: Tunnel("tunflow ss://", shadowsocks_url()),
    "tunflow-direct": lambda: Tunnel("tunflow direct://", "direct://"),
}
