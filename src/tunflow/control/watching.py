"""A program's side of "watch" on the control socket: events as they happen, on an asyncio loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from tunflow.control.client import NotRunning
from tunflow.control.messages import MAX_LINE, ControlEvent, ControlRequest, encode_request, parse_answer_untrusted
from tunflow.errors import BadPacket, LocalError, RemoteError


async def events(path: Path) -> AsyncIterator[ControlEvent | None]:
    """None once the daemon listens to us, then its events, until it ends. Raises NotRunning or LocalError."""
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=MAX_LINE + 1)
    except (FileNotFoundError, ConnectionRefusedError):
        raise NotRunning("no tunnel is up") from None
    except PermissionError:
        raise LocalError(f"{path}: permission denied: only root and the user who started the tunnel may ask") from None
    try:
        writer.write(encode_request(ControlRequest("watch")))
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            parse_answer_untrusted(await reader.readuntil(b"\n"))
            yield None
            while True:
                event = parse_answer_untrusted(await reader.readuntil(b"\n"))
                if isinstance(event, ControlEvent):
                    yield event
    except BadPacket as error:
        raise RemoteError(f"the tunnel's process sent what cannot be read: {error}") from error
    finally:
        writer.close()
