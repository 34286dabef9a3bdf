"""The demo's name server."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.demo.names import SITE4, SITE6, answer

QUESTION = b"\x04demo\x07tunflow\x07example\x00"
HEAD = b"\xab\xcd\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"  # RFC 1035 §4.1.1: identifier, RD, one question
A, AAAA, MX, IN = b"\x00\x01", b"\x00\x1c", b"\x00\x0f", b"\x00\x01"


@pytest.mark.parametrize(
    ("kind", "address"),
    [(A, socket.inet_pton(socket.AF_INET, SITE4)), (AAAA, socket.inet_pton(socket.AF_INET6, SITE6))],
)
@pytest.mark.parametrize("question", [QUESTION, QUESTION.upper()])
def test_the_name_has_both_addresses(kind: bytes, address: bytes, question: bytes) -> None:
    reply = answer(HEAD + question + kind + IN)
    assert reply[:2] == HEAD[:2]
    assert reply[2:12] == b"\x85\x00\x00\x01\x00\x01\x00\x00\x00\x00"  # QR, AA, RD; one question, one answer
    assert reply[12:].startswith(question + kind + IN + b"\xc0\x0c" + kind + IN)
    assert reply.endswith(len(address).to_bytes(2, "big") + address)


def test_an_edns_record_behind_the_question_is_let_be() -> None:
    edns = b"\0\0\x29\x10\0\0\0\0\0\0\0"  # RFC 6891 §6.1.2
    query = HEAD[:11] + b"\x01" + QUESTION + A + IN + edns
    assert answer(query) == answer(HEAD + QUESTION + A + IN)


def test_other_types_have_no_answer_and_other_names_do_not_exist() -> None:
    assert answer(HEAD + QUESTION + MX + IN)[3:8] == b"\x00\x00\x01\x00\x00"
    assert answer(HEAD + b"\x05other\x00" + A + IN)[3] & 15 == 3


@pytest.mark.parametrize("query", [b"", b"\x01", HEAD, HEAD + b"\x04demo", HEAD + QUESTION + A])
def test_what_is_no_query_is_told_so(query: bytes) -> None:
    assert answer(query)[3] & 15 == 1


@given(st.binary(max_size=80))
def test_any_bytes_have_an_answer(query: bytes) -> None:
    assert len(answer(query)) >= 12


@given(st.binary(max_size=60))
def test_any_question_has_an_answer(rest: bytes) -> None:
    assert answer(HEAD + rest)[:2] == HEAD[:2]
