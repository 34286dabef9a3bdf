"""What is known about a flow before anything is done with it: the facts that policies decide by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tunflow.endpoint import Endpoint

TCP = "tcp"
UDP = "udp"
ICMP = "icmp"
"""Of pings, which are no flows: only a content filter is asked about them in this form."""


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """The program that a flow belongs to, as far as it could be found out; None where it could not."""

    pid: int | None = None
    executable: str | None = None
    """The path of the program's file."""
    name: str | None = None
    uid: int | None = None
    cgroup: str | None = None


ProcessFinder = Callable[[str, Endpoint, Endpoint], ProcessInfo | None]
"""Finds a flow's process by its protocol (`TCP` or `UDP`), client and target; None when nobody knows."""

HardwareFinder = Callable[[bytes], bytes | None]
"""Finds the hardware (MAC) address of the client with a packed address: b"" when it is this host itself, None when
nobody knows."""


class FlowInfo:
    """One flow's facts. `hostname` is what the client asked for, where an answer, a fake address or the flow's own
    first bytes tell it; the process is looked up when somebody first asks."""

    __slots__ = ("_find", "_process", "client", "hostname", "hostnames", "is_fake", "protocol", "target")

    def __init__(
        self,
        protocol: str,
        client: Endpoint,
        target: Endpoint,
        hostname: str | None = None,
        find: ProcessFinder | None = None,
    ) -> None:
        self.protocol = protocol
        self.client = client
        self.target = target
        """As it stands in the packets: its host is a packed address."""
        self.hostname = hostname
        self.hostnames: tuple[str, ...] = ()
        """All names that the client was told lately for the address, the latest first: `hostname` is the likeliest."""
        self.is_fake = False
        """True if the target's address only stands for `hostname`, and is nobody's out there."""
        self._find = find
        self._process: ProcessInfo | None = None

    @property
    def process(self) -> ProcessInfo | None:
        """The program behind the flow; None when unknown."""
        if self._find is not None:
            find, self._find = self._find, None
            self._process = find(self.protocol, self.client, self.target)
        return self._process
