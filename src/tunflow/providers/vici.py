"""A conversation with charon by vici: requests one after the other, and the events that come between their answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping

from tunflow.errors import BadPacket, RemoteError
from tunflow.protocols.ikev2.vici_message import (
    LARGEST_PACKET,
    PacketType,
    Section,
    Value,
    ViciPacket,
    decoded_untrusted,
    encoded,
)

_CHUNK = 65536
_LENGTH_SIZE = 4


class Vici:
    """Over a connected socket, which it closes. `on_event` is called with an event's name and content."""

    def __init__(self, control: socket.socket, on_event: Callable[[str, Section], None]) -> None:
        control.setblocking(False)
        self._control = control
        self._on_event = on_event
        self._held = b""
        self._answers: asyncio.Queue[ViciPacket | None] = asyncio.Queue()

    async def run(self) -> None:
        """Read until charon ends, or sends what cannot be read."""
        try:
            while True:
                packet = await self._packet()
                if packet.kind == PacketType.EVENT:
                    self._on_event(packet.name, packet.message)
                else:
                    self._answers.put_nowait(packet)
        except (OSError, EOFError, BadPacket):
            self._answers.put_nowait(None)

    async def request(self, command: str, message: Mapping[str, Value] | None = None) -> Section:
        """Have it do something; its answer. Raises RemoteError with its words."""
        answer = await self._asked(PacketType.CMD_REQUEST, command, message)
        if answer.message.get("success", "yes") != "yes":
            raise RemoteError(str(answer.message.get("errmsg", f"{command} failed")))
        return answer.message

    async def register(self, event: str) -> None:
        """Be told of an event from now on. Raises RemoteError."""
        await self._asked(PacketType.EVENT_REGISTER, event, None)

    async def _asked(self, kind: PacketType, name: str, message: Mapping[str, Value] | None) -> ViciPacket:
        try:
            await asyncio.get_running_loop().sock_sendall(self._control, encoded(kind, name, message))
        except OSError as error:
            raise RemoteError(f"charon does not answer: {error.strerror}") from None
        answer = await self._answers.get()
        if answer is None:
            raise RemoteError("charon ended")
        if answer.kind in (PacketType.CMD_UNKNOWN, PacketType.EVENT_UNKNOWN):
            raise RemoteError(f"this charon knows no {name}")
        return answer

    def close(self) -> None:
        """Hang up."""
        self._control.close()

    async def _packet(self) -> ViciPacket:
        size = int.from_bytes(await self._bytes(_LENGTH_SIZE), "big")
        if size > LARGEST_PACKET:
            raise BadPacket(f"vici packet of {size} bytes")
        return decoded_untrusted(await self._bytes(size))

    async def _bytes(self, size: int) -> bytes:
        loop = asyncio.get_running_loop()
        while len(self._held) < size:
            data = await loop.sock_recv(self._control, _CHUNK)
            if not data:
                raise EOFError
            self._held += data
        taken, self._held = self._held[:size], self._held[size:]
        return taken
