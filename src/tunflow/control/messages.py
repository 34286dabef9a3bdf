"""What passes over the control socket: one JSON object a line, with the version of this format in each.

    -> {"tunflow": 1, "op": "status"}
    <- {"tunflow": 1, "ok": true, "result": {...}}
    <- {"tunflow": 1, "ok": false, "error": "one line for the user", "exit_status": 2}
    <- {"tunflow": 1, "event": "log", "line": "..."}        (after "op": "watch" was answered, until either side closes)

Rules: a line is at most `MAX_LINE` bytes, UTF-8, an object; unknown keys are ignored, so that an older side understands
a newer one of the same version; an unknown operation or another version is answered with an error. Both sides parse
with the `_untrusted` functions, which raise BadPacket and nothing else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tunflow.errors import BadPacket
from tunflow.single_values import json_value

VERSION = 1
"""Goes up when a message changes its meaning; a new key or operation does not."""

MAX_LINE = 1 << 20
"""Bytes of a message with its newline: a profile with ten thousand rules fits."""

MAX_DEPTH = 32
"""Brackets that may be open at once: Python's parser recurses, and no message needs more than a few."""

_MAX_OPERATION = 32


@dataclass(frozen=True, slots=True)
class ControlRequest:
    """What a client asks: an operation and its arguments."""

    operation: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ControlAnswer:
    """What came of a request: a result, or a line that says why not."""

    result: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    exit_status: int = 1
    """For the client's command line where there is an error: 2 is the user's mistake, 1 a failure."""


@dataclass(frozen=True, slots=True)
class ControlEvent:
    """Something that happened while a client watches."""

    name: str
    facts: dict[str, Any] = field(default_factory=dict)


def encode_request(request: ControlRequest) -> bytes:
    """The line of a request."""
    return _line({"tunflow": VERSION, **request.arguments, "op": request.operation})


def encode_answer(answer: ControlAnswer) -> bytes:
    """The line of an answer."""
    if answer.error is None:
        return _line({"tunflow": VERSION, "ok": True, "result": answer.result})
    return _line({"tunflow": VERSION, "ok": False, "error": answer.error, "exit_status": answer.exit_status})


def encode_event(event: ControlEvent) -> bytes:
    """The line of an event."""
    return _line({"tunflow": VERSION, **event.facts, "event": event.name})


def parse_request_untrusted(line: bytes) -> ControlRequest:
    """A request from its line. Raises BadPacket, whose text is fit to send back."""
    message = _object(line)
    operation = message.pop("op", None)
    if not isinstance(operation, str) or not 0 < len(operation) <= _MAX_OPERATION:
        raise BadPacket("a request names its operation as a short string in 'op'")
    return ControlRequest(operation, message)


def parse_answer_untrusted(line: bytes) -> ControlAnswer | ControlEvent:
    """An answer or an event from its line. Raises BadPacket."""
    message = _object(line)
    if "event" in message:
        name = message.pop("event")
        if not isinstance(name, str):
            raise BadPacket("an event has no name")
        return ControlEvent(name, message)
    if message.get("ok") is True:
        result = message.get("result", {})
        if not isinstance(result, dict):
            raise BadPacket("the result is not an object")
        return ControlAnswer(result)
    error, status = message.get("error"), message.get("exit_status", 1)
    if not isinstance(error, str) or not isinstance(status, int) or isinstance(status, bool) or not 0 < status < 256:
        raise BadPacket("an answer is neither a result nor an error")
    return ControlAnswer(error=error, exit_status=status)


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def _object(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE:
        raise BadPacket(f"a message is longer than {MAX_LINE} bytes")
    _check_depth(line)
    try:
        message = json_value(line)
    except ValueError:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise BadPacket("a message is not JSON in UTF-8") from None
    if not isinstance(message, dict):
        raise BadPacket("a message is not a JSON object")
    version = message.pop("tunflow", None)
    if version != VERSION or isinstance(version, bool):
        raise BadPacket(f"this side speaks version {VERSION} of the control protocol, not {str(version)[:20]}")
    return message


def _check_depth(line: bytes) -> None:
    """Raises BadPacket where more brackets may be open than a message needs (those inside strings count too)."""
    if line.count(b"[") + line.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    in_string = escaped = False
    for byte in line:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise BadPacket(f"a message is nested deeper than {MAX_DEPTH} levels")
        elif byte in b"]}":
            depth -= 1
