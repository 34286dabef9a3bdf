"""The flow that a content filter judges: NEFilterFlow and NEFilterSocketFlow; and what is reported of it."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from enum import IntEnum
from typing import Any
from uuid import UUID, uuid4  # noqa: TID251 - a type: nothing is read here

from tunflow.flow import ICMP, TCP, UDP, FlowInfo, HardwareFinder, ProcessInfo
from tunflow.providers.network_rule import TrafficDirection

_PROTOCOLS = {TCP: socket.IPPROTO_TCP, UDP: socket.IPPROTO_UDP, ICMP: socket.IPPROTO_ICMP}


class FilterFlow:
    """NEFilterSocketFlow. `url` is known for HTTP once its request has been seen; None before and for all else."""

    __slots__ = (
        "_find_hardware",
        "_identifier",
        "_info",
        "accepted_languages",
        "local_endpoint",
        "remote_endpoint",
        "server_spoke_first",
        "socket_protocol",
        "state",
        "url",
    )  # fmt: skip

    def __init__(self, info: FlowInfo, find_hardware: HardwareFinder | None = None) -> None:
        self._info = info
        self._find_hardware = find_hardware
        self.remote_endpoint = info.target
        """Where the flow goes, as its packets say."""
        self.local_endpoint = info.client
        """The client's end."""
        self.socket_protocol: int = _PROTOCOLS[info.protocol]
        """`socket.IPPROTO_TCP` or `socket.IPPROTO_UDP`."""
        self._identifier: UUID | None = None
        self.url: str | None = None
        self.accepted_languages = ""
        """The Accept-Language of an HTTP request that is refused (RFC 9110 §12.5.4); "" before and for all else."""
        self.server_spoke_first: bool | None = None
        """True if bytes had come from the far side of a TCP flow when the client's first were judged; None before."""
        self.state: Any = None
        """The data provider's own: whatever it wants to remember of the flow."""

    @property
    def identifier(self) -> UUID:
        """The flow's own, the same as long as it lives."""
        if self._identifier is None:
            self._identifier = uuid4()
        return self._identifier

    @property
    def remote_hostname(self) -> str | None:
        """The name that the client asked for; None when unknown."""
        return self._info.hostname

    @property
    def remote_hostnames(self) -> tuple[str, ...]:
        """All names that the client may mean by the address, the likeliest first: sites share addresses."""
        name = self._info.hostname
        return self._info.hostnames or (() if name is None else (name,))

    @property
    def direction(self) -> TrafficDirection:
        """A tunnel's flows are all the client's own."""
        return TrafficDirection.OUTBOUND

    @property
    def socket_family(self) -> int:
        """`socket.AF_INET` or `socket.AF_INET6`."""
        return socket.AF_INET if len(self._info.target.host) == 4 else socket.AF_INET6

    @property
    def socket_type(self) -> int:
        """`socket.SOCK_STREAM` or `socket.SOCK_DGRAM`."""
        return socket.SOCK_STREAM if self._info.protocol == TCP else socket.SOCK_DGRAM

    @property
    def process(self) -> ProcessInfo | None:
        """The program; None when unknown."""
        return self._info.process

    @property
    def source_hardware_address(self) -> bytes | None:
        """On a gateway the hardware (MAC) address of the device; b"" for this host's own flows, None when unknown."""
        client = self._info.client.host
        if self._find_hardware is None or not isinstance(client, bytes):
            return b""
        return self._find_hardware(client)

    @property
    def source_app_identifier(self) -> str:
        """The path of the program's executable; "" when unknown."""
        process = self._info.process
        return (process.executable if process is not None else None) or ""

    def __repr__(self) -> str:
        name = self.remote_hostname or self.remote_endpoint.host_text
        return f"<FilterFlow {self._info.protocol} {name}:{self.remote_endpoint.port}>"


class ReportAction(IntEnum):
    """NEFilterAction."""

    INVALID = 0
    ALLOW = 1
    DROP = 2
    REMEDIATE = 3
    FILTER_DATA = 4


class ReportEvent(IntEnum):
    """NEFilterReportEvent."""

    NEW_FLOW = 1
    DATA_DECISION = 2
    FLOW_CLOSED = 3
    STATISTICS = 4


@dataclass(frozen=True, slots=True)
class FilterReport:
    """NEFilterReport. The byte counts are known when a flow is closed and in statistics; 0 before.

    Of a UDP flow the bytes inbound are all that came to the client's socket, whoever sent them.
    """

    flow: FilterFlow
    action: ReportAction
    event: ReportEvent
    bytes_inbound_count: int = 0
    bytes_outbound_count: int = 0
