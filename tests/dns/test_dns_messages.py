"""Queries, answers made here, and framing."""

from __future__ import annotations

import dns.edns
import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.dns.messages import (
    HEADER,
    MAX_QUERY,
    PADDED_TO,
    REFUSED,
    SERVER_FAILURE,
    Deframer,
    failure,
    frame,
    is_answer,
    padded,
    parse_query_untrusted,
    refusal_of_unread,
    truncated,
    with_identifier,
    without_edns,
)
from tunflow.dns.questions import query_of, question
from tunflow.errors import BadPacket

# Captured from `dig @… WWW.Example.org AAAA` of BIND 9.18.49 with +dnssec, with +noedns, with +nocookie +bufsize=100.
DIG_DNSSEC = bytes.fromhex(
    "d4ff0120000100000000000103575757074578616d706c65036f726700001c000100002904d000008000000c000a0008d13d550dd80f4770"
)
DIG_NO_EDNS = bytes.fromhex("05500120000100000000000003575757074578616d706c65036f726700001c0001")
DIG_SMALL = bytes.fromhex("0ce90120000100000000000103575757074578616d706c65036f726700001c00010000290064000000000000")
QUESTION = DIG_NO_EDNS[12:]


def answer_to(message: bytes, flags: int = 0x8180, question: bytes = QUESTION, rest: bytes = b"") -> bytes:
    return message[:2] + HEADER.pack(0, flags, 1, 0, 0, 0)[2:] + question + rest


def test_a_query_without_edns_takes_512_bytes():
    query = parse_query_untrusted(DIG_NO_EDNS)
    assert (query.identifier, query.flags, query.question) == (0x0550, 0x0120, QUESTION)
    assert (query.udp_size, query.edns) == (512, b"")


def test_a_query_with_edns_says_what_it_takes():
    query = parse_query_untrusted(DIG_DNSSEC)
    assert query.question == QUESTION
    assert query.udp_size == 1232
    assert query.edns == bytes.fromhex("00002904d0000080000000")  # DO kept (RFC 3225 §3), the cookie not


@pytest.mark.parametrize(
    ("flags", "questions", "rest", "code"),
    [
        (0x0100, 0, b"", 1),
        (0x0100, 2, QUESTION * 2, 1),
        (0x0110, 1, QUESTION[:-3], 1),
        (0x0100, 1, (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1", 1),
        (0x7900, 0, b"", 4),
        (0x2000, 2, b"", 4),
    ],
)
def test_what_cannot_be_read_is_told_so_without_a_question(flags, questions, rest, code):
    message = HEADER.pack(0x1234, flags, questions, 0, 0, 0) + rest
    with pytest.raises(BadPacket):
        parse_query_untrusted(message)
    answered = refusal_of_unread(message)
    identifier, made, *counts = HEADER.unpack(answered)
    assert (identifier, made & 15, counts) == (0x1234, code, [0, 0, 0, 0])
    assert made & 0xF910 == 0x8000 | flags & 0x7910


@pytest.mark.parametrize("message", [b"", bytes(11), HEADER.pack(1, 0x8100, 2, 0, 0, 0)])
def test_what_is_no_query_has_no_answer(message):
    assert refusal_of_unread(message) is None


def test_a_query_without_edns_is_the_same_question():
    assert without_edns(DIG_DNSSEC) == DIG_DNSSEC[:10] + b"\0\0" + QUESTION


def test_less_than_512_bytes_means_512():
    assert parse_query_untrusted(DIG_SMALL).udp_size == 512  # RFC 6891 §6.2.3


def test_edns_is_found_behind_other_records():
    other = b"\xc0\x0c" + bytes.fromhex("0010 0001 00000000 0003") + b"abc"
    message = bytearray(DIG_DNSSEC[:33] + other + DIG_DNSSEC[33:])
    message[11] = 2
    assert parse_query_untrusted(message).udp_size == 1232


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda m: m[:2] + b"\x81" + m[3:], "response"),
        (lambda m: m[:5] + b"\0" + m[6:], "0 questions"),
        (lambda m: m[:5] + b"\2" + m[6:], "2 questions"),
        (lambda m: m[:12] + b"\x40" + m[13:], "label of type 1"),
        (lambda m: m[:12] + b"\x01a" * 150 + b"\0\0\1\0\1", "no end"),
        (lambda m: m + bytes(MAX_QUERY), "bytes"),
    ],
)
def test_what_is_no_query_is_a_bad_packet(change, why):
    with pytest.raises(BadPacket, match=why):
        parse_query_untrusted(change(DIG_NO_EDNS))


def test_every_truncation_is_a_bad_packet():
    for message in (DIG_NO_EDNS, DIG_DNSSEC):
        for size in range(len(message)):
            with pytest.raises(BadPacket):
                parse_query_untrusted(message[:size])


@given(st.binary(max_size=200))
def test_any_bytes_are_a_query_or_a_bad_packet(data):
    for message in (data, DIG_NO_EDNS[:12] + data, DIG_DNSSEC[:33] + data):
        try:
            query = parse_query_untrusted(message)
        except BadPacket:
            continue
        assert is_answer(failure(query, REFUSED), query)


@pytest.mark.parametrize("message", [DIG_DNSSEC, DIG_NO_EDNS])
def test_failures_repeat_the_question_and_the_wishes(message):
    query = parse_query_untrusted(message)
    for made, flags in ((failure(query, SERVER_FAILURE), 0x8182), (failure(query, REFUSED), 0x8185)):
        assert HEADER.unpack_from(made) == (query.identifier, flags, 1, 0, 0, bool(query.edns))
        assert made[12:] == QUESTION + query.edns
        assert is_answer(made, query)


def test_a_truncated_answer_has_tc_and_no_records():
    query = parse_query_untrusted(DIG_DNSSEC)
    made = truncated(query)
    assert HEADER.unpack_from(made) == (0xD4FF, 0x8380, 1, 0, 0, 1)
    assert made[12:] == QUESTION + query.edns


def test_an_answer_must_have_the_question():
    query = parse_query_untrusted(DIG_NO_EDNS)
    assert is_answer(answer_to(DIG_NO_EDNS, rest=b"records"), query)
    assert is_answer(answer_to(DIG_NO_EDNS, question=QUESTION[:-4].lower() + QUESTION[-4:]), query)
    assert not is_answer(answer_to(DIG_NO_EDNS, question=QUESTION.replace(b"org", b"com")), query)
    assert not is_answer(answer_to(DIG_NO_EDNS, question=QUESTION[:-3] + b"\1\0\1"), query)  # A, not AAAA
    assert not is_answer(answer_to(DIG_NO_EDNS, question=QUESTION[:-1]), query)
    assert not is_answer(DIG_NO_EDNS, query)  # a query
    assert not is_answer(b"", query)
    assert not is_answer(DIG_NO_EDNS[:11], query)


def test_types_are_not_letters():
    # HTTPS is type 65 ("A"), 97 is another type ("a").
    message = DIG_NO_EDNS[:-4] + bytes([0, 65, 0, 1])
    query = parse_query_untrusted(message)
    assert is_answer(answer_to(message, question=message[12:]), query)
    assert not is_answer(answer_to(message, question=message[12:-4] + bytes([0, 97, 0, 1])), query)


@pytest.mark.parametrize(("code", "accepted"), [(0, False), (1, True), (2, True)])
def test_an_answer_without_a_question_can_only_be_an_error(code, accepted):
    message = HEADER.pack(1, 0x8180 | code, 0, 0, 0, 0)
    assert is_answer(message, parse_query_untrusted(DIG_NO_EDNS)) is accepted


def test_only_the_identifier_changes():
    assert with_identifier(DIG_DNSSEC, 0x1234) == b"\x12\x34" + DIG_DNSSEC[2:]


@given(st.lists(st.binary(max_size=300), max_size=8), st.data())
def test_framed_messages_come_out_however_the_stream_is_cut(messages, data):
    stream = b"".join(map(frame, messages))
    deframer, out = Deframer(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        out += deframer.receive(stream[:size])
        stream = stream[size:]
    assert out == messages


def test_the_longest_message_fits():
    deframer = Deframer()
    assert deframer.receive(frame(bytes(65535))[:-1]) == []
    assert deframer.receive(b"\0") == [bytes(65535)]


@pytest.mark.parametrize("name", ["a.example", "www.example.org", ".".join(["a" * 60] * 4)])
def test_a_query_that_is_encrypted_has_the_length_of_others(name):
    sent = padded(query_of(parse_query_untrusted(question(name, 1))))
    assert len(sent) % PADDED_TO == 0
    read = dns.message.from_wire(sent)
    assert (read.edns, read.payload, read.question[0].name.to_text()) == (0, 1232, f"{name}.")
    assert [option.otype for option in read.options] == [dns.edns.OptionType.PADDING]


def test_a_query_without_edns_has_no_place_for_padding():
    sent = without_edns(query_of(parse_query_untrusted(question("a.example", 1))))
    assert padded(sent) == sent
