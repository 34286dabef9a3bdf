"""DNSSEC: what is believed, what need not be signed, and what is bogus."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from dns_world import query
from signed_world import NOW, Signed

from tunflow.dns.proof import Unproved
from tunflow.dns.validation import MOST_QUESTIONS, ROOT_ANCHORS, Signatures, Validator, parse_anchors
from tunflow.errors import LocalError


class World:
    def __init__(self, now: float = NOW, anchors=None, **options) -> None:
        self.signed = Signed(**options)
        self.validator = Validator(anchors if anchors is not None else [self.signed.anchor], lambda: now)

    def judge(self, name: str, kind: str = "A", change=None, wants_signatures: bool = True) -> dns.message.Message:
        """The judged answer, after `change` of the answers on the way. Raises Unproved."""
        message = self._answer(query(name, kind, want_dnssec=True), change)
        judgement = Signatures(self.validator).judge(message, wants_signatures)
        asked, answer = 0, None
        while True:
            made, question = judgement.go_on(answer)
            if made is not None:
                return dns.message.from_wire(made)
            asked += 1
            assert asked <= MOST_QUESTIONS
            read = dns.message.from_wire(question)
            assert read.flags & dns.flags.CD
            assert read.ednsflags & dns.flags.DO
            answer = self._answer(question, change)

    def _answer(self, question: bytes, change) -> bytes | None:
        message = self.signed.answer(question)
        if change is None:
            return message
        read = dns.message.from_wire(message)
        changed = change(read)
        return None if changed is False else read.to_wire(max_size=65535)

    def is_secure(self, name: str, kind: str = "A", change=None) -> bool:
        return bool(self.judge(name, kind, change).flags & dns.flags.AD)

    def why_bogus(self, name: str, kind: str = "A", change=None) -> str:
        with pytest.raises(Unproved) as error:
            self.judge(name, kind, change)
        return str(error.value)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("www.good", "A"),
        ("alias.good", "A"),
        ("x.y.wild.good", "A"),
        ("x.tree.good", "A"),
        ("www.good", "AAAA"),
        ("x.wild.good", "AAAA"),
        ("between.good", "A"),
        ("b.between.good", "TXT"),
        ("nothing.good", "A"),
        ("a.b.nothing.good", "AAAA"),
        ("good", "DNSKEY"),
        ("good", "DS"),
        ("www.three", "A"),
        ("x.wild.three", "A"),
        ("www.three", "AAAA"),
        ("x.wild.three", "MX"),
        ("nothing.three", "A"),
        ("a.b.nothing.three", "A"),
        ("nothing", "A"),
        (".", "NS"),
        ("plain", "DS"),
    ],
)
def test_what_is_signed_from_the_root_down_is_authentic(name: str, kind: str) -> None:
    assert World().is_secure(name, kind)


@pytest.mark.parametrize(("name", "kind"), [("www.plain", "A"), ("nothing.plain", "A"), ("out.good", "A")])
def test_what_need_not_be_signed_passes_without_the_mark(name: str, kind: str) -> None:
    assert not World().is_secure(name, kind)


def test_names_outside_of_all_anchors_are_not_signed() -> None:
    signed = Signed()
    world = World(anchors=[f"good. DS {signed.digests['good.'].to_text()}"])
    world.signed = signed
    assert world.is_secure("www.good")
    assert not world.is_secure("www.three")
    assert ("good.", "DS") not in signed.asked


def forged(message: dns.message.Message) -> None:
    for rrset in message.answer:
        if rrset.rdtype == dns.rdatatype.A:
            message.answer[message.answer.index(rrset)] = dns.rrset.from_text(rrset.name, 300, "IN", "A", "203.0.113.9")


def unsigned(message: dns.message.Message) -> None:
    if message.question[0].rdtype != dns.rdatatype.A:
        return
    for section in (message.answer, message.authority):
        section[:] = [each for each in section if each.rdtype != dns.rdatatype.RRSIG]


def unproved(message: dns.message.Message) -> None:
    message.authority[:] = [
        each for each in message.authority if each.rdtype not in {dns.rdatatype.NSEC, dns.rdatatype.NSEC3}
    ]


def denied(message: dns.message.Message) -> None:
    """What an attacker makes who has records of the zone, but no key."""
    if message.question[0].rdtype == dns.rdatatype.A:
        message.answer.clear()
        message.set_rcode(dns.rcode.NXDOMAIN)


def without_digests(message: dns.message.Message) -> None:
    if message.question[0].rdtype == dns.rdatatype.DS:
        message.answer.clear()


def silent_about_keys(message: dns.message.Message) -> bool | None:
    return False if message.question[0].rdtype == dns.rdatatype.DNSKEY else None


@pytest.mark.parametrize(
    ("name", "kind", "change", "why"),
    [
        ("www.good", "A", forged, "www.good. A: "),
        ("www.three", "A", forged, "www.three. A: "),
        ("www.good", "A", unsigned, "is not signed, and its zone is"),
        ("www.good", "AAAA", unproved, "is not signed, and its zone is"),
        ("nothing.good", "A", unproved, "is not signed, and its zone is"),
        ("nothing.three", "A", unproved, "is not signed, and its zone is"),
        ("x.wild.good", "A", unproved, "a wildcard stands for x.wild.good."),
        ("x.wild.three", "A", unproved, "a wildcard stands for x.wild.three."),
        ("www.good", "A", denied, "is not signed, and its zone is"),
        ("www.good", "A", without_digests, "is not signed, and its zone is"),
        ("www.good", "A", silent_about_keys, "nobody gives . DNSKEY"),
    ],
)
def test_what_its_owner_did_not_say_is_bogus(name: str, kind: str, change, why: str) -> None:
    assert why in World().why_bogus(name, kind, change)


def test_a_name_that_is_there_cannot_be_denied_with_the_zones_own_records() -> None:
    world = World()

    def replayed(message: dns.message.Message) -> None:
        if message.question[0].name == dns.name.from_text("www.good") and message.answer:
            message.answer.clear()
            message.set_rcode(dns.rcode.NXDOMAIN)
            other = dns.message.from_wire(world.signed.answer(query("nothing.good", "A", want_dnssec=True)))
            message.authority[:] = other.authority

    assert "nothing proves that there is no www.good. A" in world.why_bogus("www.good", "A", replayed)


def test_a_wildcards_own_record_says_nothing_of_the_name_that_it_comes_by() -> None:
    """unbound gives it by the name that was asked for; its signature is about the wildcard's."""
    world = World()

    def renamed(message: dns.message.Message) -> None:
        wild, asked = dns.name.from_text("*.wild.good"), dns.name.from_text("x.wild.good")
        if message.question[0].name == asked:
            keeps = [rrset for rrset in message.authority if rrset.name == wild]
            message.authority[:] = [dns.rrset.from_rdata_list(asked, rrset.ttl, list(rrset)) for rrset in keeps]
            for made, rrset in zip(message.authority, keeps, strict=True):
                made.covers = rrset.covers

    assert world.is_secure("x.wild.good", "A", renamed)  # the wildcard's record spans x, which proves it

    def denied_by_it(message: dns.message.Message) -> None:
        renamed(message)
        if message.question[0].rdtype == dns.rdatatype.A:
            message.answer.clear()

    assert "nothing proves that there is no x.wild.good. A" in world.why_bogus("x.wild.good", "A", denied_by_it)


@pytest.mark.parametrize(("days", "why"), [(-30, "not yet valid"), (30, "expired")])
def test_signatures_have_their_time(days: int, why: str) -> None:
    assert why in World(NOW + days * 86400).why_bogus("www.good")


def test_another_roots_keys_are_not_ours() -> None:
    assert "no key of . is the one" in World(anchors=ROOT_ANCHORS).why_bogus("www.good")


def test_a_zone_that_opts_names_out_proves_nothing_about_them() -> None:
    assert not World(opt_out=True).is_secure("nothing.three")
    assert World(opt_out=True).is_secure("www.three")


def test_hashes_that_cost_too_much_count_as_unsigned() -> None:
    assert not World(iterations=151).is_secure("nothing.three")
    assert World(iterations=150).is_secure("nothing.three")


def test_zones_are_asked_for_their_keys_once() -> None:
    world = World()
    world.judge("www.good")
    asked = len(world.signed.asked)
    world.judge("x.wild.good")
    assert world.signed.asked[asked:] == [("x.wild.good.", "A")]


def test_who_did_not_ask_for_signatures_gets_none() -> None:
    world = World()
    with_them, without = world.judge("www.good"), world.judge("www.good", wants_signatures=False)
    assert [rrset.rdtype for rrset in with_them.answer] == [dns.rdatatype.A, dns.rdatatype.RRSIG]
    assert [rrset.rdtype for rrset in without.answer] == [dns.rdatatype.A]
    nothing = world.judge("nothing.good", wants_signatures=False)
    assert [rrset.rdtype for rrset in nothing.authority] == [dns.rdatatype.SOA]


def test_a_chain_without_end_is_cut_off() -> None:
    world = World()
    name = ".".join(["a"] * 100) + ".good"

    def no_zone_anywhere(message: dns.message.Message) -> None:
        if message.question[0].rdtype == dns.rdatatype.DS and len(message.question[0].name.labels) > 2:
            message.answer[:] = [dns.rrset.from_text(message.question[0].name, 60, "IN", "CNAME", "www.good.")]
            message.authority.clear()
        elif message.question[0].rdtype == dns.rdatatype.A:
            unproved(message)

    assert "too many questions" in world.why_bogus(name, "A", no_zone_anywhere)


@pytest.mark.parametrize("text", ["", ". DNSKEY 1 2 3", ". DS 1 8 2 XYZ", "a..b. DS 1 8 2 AB"])
def test_what_is_no_anchor_is_told(text: str) -> None:
    with pytest.raises(LocalError, match="a trust anchor reads"):
        parse_anchors([text])
    assert set(parse_anchors(ROOT_ANCHORS)) == {dns.name.root}
