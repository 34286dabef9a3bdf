"""Whose flow it is: NEFlowMetaData."""

from __future__ import annotations

from uuid import UUID  # noqa: TID251 - a type: nothing is read here

from tunflow.flow import FlowInfo, ProcessInfo


class FlowMetaData:
    """NEFlowMetaData. Looking a process up costs a little, so it is done when somebody asks."""

    __slots__ = ("_info", "filter_flow_identifier")

    def __init__(self, info: FlowInfo, filter_flow_identifier: UUID | None = None) -> None:
        self._info = info
        self.filter_flow_identifier = filter_flow_identifier
        """What ties the flow to a content filter's; None without one."""

    @property
    def process(self) -> ProcessInfo | None:
        """The program: pid, executable, uid, control group; None when unknown."""
        return self._info.process

    @property
    def source_app_signing_identifier(self) -> str:
        """The path of the program's executable, which on Linux is what names a program; "" when unknown."""
        process = self._info.process
        return (process.executable if process is not None else None) or ""

    @property
    def source_app_unique_identifier(self) -> bytes:
        """The same, as bytes."""
        return self.source_app_signing_identifier.encode()
