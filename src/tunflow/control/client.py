"""A command's side of the control socket: one request, its answer, and with "watch" the events behind it. Blocks."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from tunflow.control.messages import (
    MAX_LINE,
    ControlAnswer,
    ControlEvent,
    ControlRequest,
    encode_request,
    parse_answer_untrusted,
)
from tunflow.errors import BadPacket, LocalError, RemoteError

PATIENCE = 30.0
"""Seconds for an answer: taking the settings back asks other services too."""


class NotRunning(RemoteError):
    """Nobody listens on the socket: no tunnel is up."""


class Unanswered(RemoteError):
    """Somebody listens and does not answer: the process hangs, or was stopped."""


class WentAway(RemoteError):
    """Somebody listened and closed the connection without an answer: the process ended just now, perhaps."""


class Refused(RemoteError):
    """The daemon could not do what was asked; its line, with the exit status that it names."""

    def __init__(self, line: str, exit_status: int) -> None:
        super().__init__(line)
        self.exit_status = exit_status


def ask(path: Path, operation: str, *, patience: float = PATIENCE, **arguments: Any) -> dict[str, Any]:
    """The result of one request. Raises NotRunning, LocalError (no permission), Refused or RemoteError (no answer)."""
    with _connect(path, patience) as sock:
        answer = _ask(sock, ControlRequest(operation, arguments))
    return answer.result


def watch(path: Path) -> Iterator[ControlEvent]:
    """Events from now on, until the daemon ends. Raises as `ask` does."""
    sock = _connect(path, PATIENCE)
    lines = sock.makefile("rb")
    sock.sendall(encode_request(ControlRequest("watch")))
    _result(lines.readline(MAX_LINE + 1))
    sock.settimeout(None)
    return _events(sock, lines)


def _events(sock: socket.socket, lines: BufferedReader) -> Iterator[ControlEvent]:
    with sock, lines:
        while line := lines.readline(MAX_LINE + 1):
            try:
                event = parse_answer_untrusted(line)
            except BadPacket as error:
                raise RemoteError(f"the tunnel's process sent what cannot be read: {error}") from error
            if isinstance(event, ControlEvent):
                yield event


def _connect(path: Path, patience: float) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(patience)
    try:
        sock.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        raise NotRunning("no tunnel is up") from None
    except PermissionError:
        sock.close()
        raise LocalError(f"{path}: permission denied: only root and the user who started the tunnel may ask") from None
    except OSError as error:
        sock.close()
        raise RemoteError(f"{path}: {error.strerror or error}") from error
    return sock


def _ask(sock: socket.socket, request: ControlRequest) -> ControlAnswer:
    try:
        with sock.makefile("rb") as lines:
            sock.sendall(encode_request(request))
            return _result(lines.readline(MAX_LINE + 1))
    except TimeoutError:
        raise Unanswered("the tunnel's process does not answer: tunflow down ends it") from None
    except OSError as error:
        raise WentAway(f"the tunnel's process went away: {error.strerror or error}") from error


def _result(line: bytes) -> ControlAnswer:
    if not line:
        raise WentAway("the tunnel's process closed the connection without an answer: is it another user's?")
    try:
        answer = parse_answer_untrusted(line)
    except BadPacket as error:
        raise RemoteError(f"the tunnel's process sent what cannot be read: {error}") from error
    if not isinstance(answer, ControlAnswer):
        raise RemoteError("the tunnel's process sent an event in place of an answer")
    if answer.error is not None:
        raise Refused(answer.error, answer.exit_status)
    return answer
