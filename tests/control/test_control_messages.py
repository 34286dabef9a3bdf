"""Control messages: what is written is read again, and anything else is a BadPacket."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.control.messages import (
    MAX_DEPTH,
    MAX_LINE,
    ControlAnswer,
    ControlEvent,
    ControlRequest,
    encode_answer,
    encode_event,
    encode_request,
    parse_answer_untrusted,
    parse_request_untrusted,
)
from tunflow.errors import BadPacket

SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=50)
ARGUMENTS = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda key: key not in {"op", "tunflow", "ok", "event"}),
    SCALARS | st.lists(SCALARS, max_size=4),
    max_size=5,
)


@given(st.text(min_size=1, max_size=32), ARGUMENTS)
def test_request_round_trip(operation: str, arguments: dict[str, object]) -> None:
    line = encode_request(ControlRequest(operation, arguments))
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert parse_request_untrusted(line) == ControlRequest(operation, arguments)


@given(ARGUMENTS)
def test_answer_and_event_round_trip(facts: dict[str, object]) -> None:
    assert parse_answer_untrusted(encode_answer(ControlAnswer(facts))) == ControlAnswer(facts)
    assert parse_answer_untrusted(encode_event(ControlEvent("log", facts))) == ControlEvent("log", facts)


def test_error_round_trip() -> None:
    assert parse_answer_untrusted(encode_answer(ControlAnswer(error="no", exit_status=2))) == ControlAnswer({}, "no", 2)


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_bad(data: bytes) -> None:
    for parse in (parse_request_untrusted, parse_answer_untrusted):
        try:
            parse(data)
        except BadPacket:
            continue


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"[]",
        b"1",
        b'{"op":"status"}',
        b'{"tunflow":2,"op":"status"}',
        b'{"tunflow":true,"op":"status"}',
        b'{"tunflow":"1","op":"status"}',
        b'{"tunflow":1}',
        b'{"tunflow":1,"op":""}',
        b'{"tunflow":1,"op":7}',
        b'{"tunflow":1,"op":"' + b"x" * 40 + b'"}',
        b'{"tunflow":1,"op":"\xff"}',
        b'{"tunflow":1,"op":"status"',
        b'{"tunflow":1,"op":"status","a":' + b"[" * 100_000,
        b'{"tunflow":1,"op":"status","a":"' + b"x" * MAX_LINE + b'"}',
    ],
)
def test_bad_requests(line: bytes) -> None:
    with pytest.raises(BadPacket):
        parse_request_untrusted(line)


def test_brackets_in_strings_are_no_nesting() -> None:
    line = encode_request(ControlRequest("reload", {"text": '[{"\\' * 100}))
    assert parse_request_untrusted(line).arguments == {"text": '[{"\\' * 100}


def test_nesting_up_to_the_limit() -> None:
    deep = json.loads("[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1))
    assert parse_request_untrusted(encode_request(ControlRequest("x", {"a": deep}))).arguments == {"a": deep}
    with pytest.raises(BadPacket, match="nested"):
        parse_request_untrusted(encode_request(ControlRequest("x", {"a": [deep]})))


def test_a_newer_sides_keys_are_ignored() -> None:
    assert parse_request_untrusted(b'{"tunflow":1,"op":"status","since":"2.0"}').operation == "status"
    assert parse_answer_untrusted(b'{"tunflow":1,"ok":true,"result":{"a":1},"trace":[1]}') == ControlAnswer({"a": 1})
