"""Control messages: a request and an answer either parse or are a BadPacket; a reload is a profile, or LocalError."""

from __future__ import annotations

from contextlib import suppress

from tunflow.cli.instructions import Instructions
from tunflow.control.messages import (
    ControlAnswer,
    ControlEvent,
    ControlRequest,
    encode_answer,
    encode_event,
    encode_request,
    parse_answer_untrusted,
    parse_request_untrusted,
)
from tunflow.errors import BadPacket, LocalError

SEEDS: list[bytes] = [
    encode_request(ControlRequest("status")),
    encode_request(ControlRequest("reload", {"profile": {"server": ["direct://"], "rules": [["MATCH"]]}})),
    encode_request(
        ControlRequest("reload", {"profile": "/p.toml", "text": "server = 'direct://'", "dns": "tcp://1.1.1.1"})
    ),
    encode_request(
        ControlRequest("reload", {"servers": ["ss://aes-256-gcm:x@h:1"], "kill_switch": True, "dns": "fake"})
    ),
    encode_request(ControlRequest("reload", {"profile": "c.yaml", "text": "rules: [MATCH,DIRECT]", "gateways": ["a"]})),
    encode_answer(ControlAnswer({"status": "connected", "pid": 1})),
    encode_answer(ControlAnswer(error="no", exit_status=2)),
    encode_event(ControlEvent("log", {"line": "x"})),
    b'{"tunflow":1,"op":' + b"[" * 2000,
    b'{"tunflow":1e999,"op":"status"}\n',
]


def one_input(data: bytes) -> None:
    """Parse as either side would; what parses can be written and read again."""
    with suppress(BadPacket):
        request = parse_request_untrusted(data)
        assert parse_request_untrusted(encode_request(request)).operation == request.operation
        _reload(request)
    with suppress(BadPacket):
        parse_answer_untrusted(data)


def _reload(request: ControlRequest) -> None:
    """As the tunnel's process takes it, but for files that it would read."""
    line = ""
    try:
        said = Instructions.from_data(request.arguments)
        for each in (said, said.as_started(Instructions(kill_switch=True, dns="off"))):
            if each.profile is None or each.text is not None:
                each.make_profile()
    except LocalError as error:
        line = str(error)
    assert "\n" not in line, line
