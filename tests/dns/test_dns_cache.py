"""The cache: lives grow shorter, "no" is kept as RFC 2308 has it, old answers are better than none, room is bounded."""

from __future__ import annotations

import os

from dns_world import answer, parsed, query, text

from tunflow.dns.answers import parse_answer_untrusted
from tunflow.dns.cache import FAILURE_LIFE, LONGEST, STALE_TTL, Cache, Freshness, key_of
from tunflow.dns.messages import parse_query_untrusted

SOA = "example.org 900 SOA ns.example.org. host.example.org. 1 2 3 4 300"
NAMES = int(os.environ.get("TUNFLOW_DNS_NAMES", "20000"))
"""Distinct names for the test of memory; 1000000 is the full test."""


def asked(*given, **options):
    return parse_query_untrusted(query(*given, **options))


def kept(cache: Cache, *records: str, at: float = 0.0, **options):
    return cache.store(key_of(asked()), parsed(query(), *records, **options), at)


def test_an_answer_ages_and_is_the_clients_own():
    cache = Cache()
    kept(cache, "www.example.org 300 CNAME b.test.", "b.test 100 A 192.0.2.1")
    client = asked("wWw.ExAmPlE.oRg", identifier=77)
    entry, freshness = cache.find(key_of(client), 40.9)
    assert freshness is Freshness.FRESH
    told = text(entry.reply(client, 40.9))
    assert told.id == 77
    assert str(told.question[0].name) == "wWw.ExAmPlE.oRg."
    assert [rrset.ttl for rrset in told.answer] == [260, 60]
    assert told.edns == -1  # RFC 6891 §7: the client sent none


def test_edns_is_for_who_speaks_it():
    cache = Cache()
    entry = kept(cache, "www.example.org 300 A 192.0.2.1", edns=True)
    told = text(entry.reply(asked(use_edns=0, payload=4096), 1.0))
    assert told.edns == 0


def test_what_makes_answers_differ_is_kept_apart():
    plain, signed = asked(), asked(use_edns=0, want_dnssec=True)
    other = asked(kind="AAAA")
    assert len({key_of(plain), key_of(signed), key_of(other)}) == 3
    # Type 65 is the letter A: only the name goes by letters.
    assert key_of(asked(kind="TYPE65")) != key_of(asked(kind="TYPE97"))


def test_no_is_kept_as_long_as_the_soa_says():
    cache = Cache()
    kept(cache, authority=[SOA], code=3)
    assert cache.find(key_of(asked()), 299.0)[1] in {Freshness.FRESH, Freshness.DUE}
    assert cache.find(key_of(asked()), 300.0)[1] is Freshness.STALE


def test_what_may_not_be_kept_is_not():
    cache = Cache()
    for options in ({}, {"code": 2}):
        kept(cache, **options)
    kept(cache, "www.example.org 0 A 192.0.2.1")
    assert len(cache) == 0


def test_a_life_is_bounded():
    cache = Cache(stale=0)
    kept(cache, "www.example.org 2000000000 A 192.0.2.1")
    assert cache.find(key_of(asked()), LONGEST - 1.0) is not None
    assert cache.find(key_of(asked()), LONGEST) is None


def test_the_last_tenth_of_a_life_is_due_once():
    cache = Cache()
    kept(cache, "www.example.org 100 A 192.0.2.1")
    states = [cache.find(key_of(asked()), now)[1] for now in (89.0, 91.0, 92.0)]
    assert states == [Freshness.FRESH, Freshness.DUE, Freshness.FRESH]


def test_stale_answers_have_a_short_life():
    # RFC 8767 §4: 30 seconds.
    cache = Cache(stale=1000)
    kept(cache, "www.example.org 100 A 192.0.2.1")
    entry, freshness = cache.find(key_of(asked()), 500.0)
    assert freshness is Freshness.STALE
    assert text(entry.reply(asked(), 500.0)).answer[0].ttl == STALE_TTL
    assert cache.find(key_of(asked()), 1100.0) is None
    assert (len(cache), cache.bytes_held) == (0, 0)


def test_failures_are_remembered_for_a_moment():
    cache = Cache()
    key = key_of(asked())
    cache.fail(key, 10.0)
    assert cache.failed_lately(key, 10.0 + FAILURE_LIFE - 0.1)
    assert not cache.failed_lately(key, 10.0 + FAILURE_LIFE)


def test_the_longest_unused_makes_room():
    cache = Cache(entries=3)
    for number in range(3):
        cache.store(
            key_of(asked(f"n{number}.test")), parsed(query(f"n{number}.test"), f"n{number}.test 60 A 192.0.2.1"), 0
        )
    cache.find(key_of(asked("n0.test")), 1.0)
    cache.store(key_of(asked("n3.test")), parsed(query("n3.test"), "n3.test 60 A 192.0.2.1"), 1.0)
    assert [cache.find(key_of(asked(f"n{number}.test")), 1.0) is not None for number in range(4)] == [1, 0, 1, 1]


def test_a_flood_of_names_is_bounded_in_entries_and_bytes():
    cache = Cache(entries=5000, size=2 << 20)
    message = answer(query("n0000000.test"), "n0000000.test 60 A 192.0.2.1", "n0000000.test 60 A 192.0.2.2")
    for number in range(NAMES):
        label = b"n%07d" % number
        wire = message.replace(b"n0000000", label)
        made = parse_answer_untrusted(wire)
        cache.store((wire[12:27], wire[27:31], 0), made, 0.0)
        assert cache.bytes_held <= 2 << 20
    assert 1000 < len(cache) <= 5000
    cache.clear()
    assert (len(cache), cache.bytes_held) == (0, 0)
