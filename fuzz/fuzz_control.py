"""Control messages: a request and an answer either parse or are a BadPacket."""

from __future__ import annotations

from contextlib import suppress

from tunflow.control.messages import (
    Answer,
    Event,
    Request,
    encode_answer,
    encode_event,
    encode_request,
    parse_answer_untrusted,
    parse_request_untrusted,
)
from tunflow.errors import BadPacket

SEEDS: list[bytes] = [
    encode_request(Request("status")),
    encode_request(Request("reload", {"profile": {"server": ["direct://"], "rules": [["MATCH"]]}})),
    encode_answer(Answer({"status": "connected", "pid": 1})),
    encode_answer(Answer(error="no", exit_status=2)),
    encode_event(Event("log", {"line": "x"})),
    b'{"tunflow":1,"op":' + b"[" * 2000,
    b'{"tunflow":1e999,"op":"status"}\n',
]


def one_input(data: bytes) -> None:
    """Parse as either side would; what parses can be written and read again."""
    with suppress(BadPacket):
        request = parse_request_untrusted(data)
        assert parse_request_untrusted(encode_request(request)).operation == request.operation
    with suppress(BadPacket):
        parse_answer_untrusted(data)
